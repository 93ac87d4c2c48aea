"""The fastest way is taken where it gains enough, the same one in all runs on a machine."""

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from small import make_batch, make_model, needs_bfloat16

from seqtrain.machine import kernels, linear
from seqtrain.machine.accelerate import accelerate
from seqtrain.machine.kernels import BUDGET, Kernels, Ways, like, race, sample
from seqtrain.storage.cache import cached_value

WAYS = ("plain", "other", "third")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEQTRAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kernels, "cached_value", cached_value)  # which other tests do without
    return tmp_path / "cache"


class Clock:
    """Time that passes only while a way is at work."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def ways(self, *seconds: float | Sequence[float]) -> Callable[[], Ways]:
        """Makes WAYS of which each call takes so many seconds, or those of a list in turn."""

        def timed(some: float | Sequence[float]) -> Callable[[], None]:
            each = itertools.cycle([some] if not isinstance(some, Sequence) else some)

            def way() -> None:
                self.now += next(each)

            return way

        return lambda: {name: timed(some) for name, some in zip(WAYS, seconds, strict=False)}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(kernels, "time", made)
    return made


def never() -> Ways:
    raise AssertionError("nothing is to be tried")


def idle() -> Ways:
    return {name: lambda: None for name in WAYS}


@pytest.mark.parametrize(
    ("plain", "other", "third", "best"),
    [(1.0, 0.9, 0.8, "third"), (1.0, 0.8, 0.9, "other"), (1.0, 0.98, 0.99, "plain"), (1.0, 0.96, 1.5, "other")],
)
def test_another_way_is_taken_where_it_saves_three_percent(
    plain: float, other: float, third: float, best: str, clock: Clock
) -> None:
    found = Kernels()
    assert found.choose("work", WAYS, clock.ways(plain / 1000, other / 1000, third / 1000)) == best
    assert found.trials["work"].milliseconds == pytest.approx({"plain": plain, "other": other, "third": third})


def test_what_slows_some_rounds_does_not_decide(clock: Clock) -> None:
    """Neither a single quick round of a slow way nor many slow rounds of both."""
    plain, other = [0.001, 0.001, 0.005, 0.001, 0.001], [0.0012, 0.0012, 0.0012, 0.0005, 0.0012]
    assert race(clock.ways(plain, other), clock.now + 1).chosen == "plain"
    plain, other = [0.001, 0.009, 0.003, 0.009, 0.003, 0.009], [0.0008, 0.007, 0.0024, 0.007, 0.0024, 0.007]
    assert race(clock.ways(plain, other), clock.now + 1).chosen == "other"


def test_ways_are_told_apart_by_the_clock() -> None:
    ways: Ways = {"slow": lambda: time.sleep(0.004), "quick": lambda: time.sleep(0.001), "none": lambda: None}
    trial = race(lambda: ways, time.perf_counter() + 60)
    times = trial.milliseconds
    assert trial.chosen == "none"
    assert times["none"] < times["quick"] < times["slow"]


@pytest.mark.parametrize("seconds", [0.2, 0.3, 0.6, 2.0])
def test_trials_end_when_their_time_is_over_and_are_not_kept(seconds: float, clock: Clock) -> None:
    """By a call at the most, the first one, of which nothing is known before."""
    first = Kernels()
    assert first.choose("slow work", WAYS, clock.ways(seconds, seconds / 2, seconds / 2)) == "plain"
    assert clock.now <= max(BUDGET, seconds)
    assert first.trials == {}
    first.seconds_left = 0
    assert first.choose("other work", WAYS, never) == "plain"
    later = Kernels()
    assert later.choose("slow work", WAYS, clock.ways(0.002, 0.001, 0.001)) == "other"
    assert later.choose("other work", WAYS, clock.ways(0.002, 0.001, 0.001)) == "other"


def test_all_trials_of_a_run_share_its_time(clock: Clock) -> None:
    """And what is known from runs before takes none of it."""
    work = [f"work {i}" for i in range(20)]
    runs, chosen = [Kernels() for _ in range(3)], list[list[str]]()
    for run in runs:
        begin = clock.now
        chosen.append([run.choose(name, WAYS, clock.ways(0.02, 0.01, 0.02)) for name in work])
        assert clock.now - begin <= BUDGET + 0.021  # a call
    counts = [found.count("other") for found in chosen]
    assert 0 < counts[0] < counts[1]
    assert [len(run.trials) for run in runs] == counts


def test_what_was_tried_once_is_known_to_later_runs() -> None:
    first = Kernels()
    way = first.choose("work", WAYS, idle)
    assert first.choose("work", WAYS, never) == way
    assert Kernels().choose("work", WAYS, never) == way
    with pytest.raises(AssertionError, match="nothing is to be tried"):
        Kernels().choose("other work", WAYS, never)
    with pytest.raises(AssertionError, match="nothing is to be tried"):
        Kernels().choose("work", WAYS[:2], never)


@pytest.mark.parametrize("change", ["threads", "processor", "torch", "oneDNN"])
def test_another_machine_tries_anew(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Kernels().choose("work", WAYS, idle)
    state = Kernels().state()
    kernels.described.cache_clear()
    with monkeypatch.context() as patch:
        if change == "threads":
            patch.setattr(torch, "get_num_threads", lambda: 77)
        elif change == "processor":
            patch.setattr(kernels.processor, "description", lambda: "another one")
        elif change == "torch":
            patch.setattr(torch, "__version__", "9.9")
        else:
            patch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
        with pytest.raises(AssertionError, match="nothing is to be tried"):
            Kernels().choose("work", WAYS, never)
        assert Kernels().state()["machine"] != state["machine"]
    kernels.described.cache_clear()


def test_without_a_cache_the_plain_way_is_taken(own_cache: Path) -> None:
    """Or each run would choose by what it measures, and none would have the bits of another."""
    own_cache.write_text("a file where the folder should be")
    assert Kernels().choose("work", WAYS, never) == "plain"


def test_a_single_way_needs_no_trial() -> None:
    assert Kernels().choose("work", WAYS[:1], never) == "plain"


def test_a_resumed_run_takes_the_same_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = Kernels(), Kernels(), Kernels()
    first.chosen = {"work": "third"}
    state = first.state()
    second.load_state(state)
    assert second.choose("work", WAYS, never) == "third"
    monkeypatch.setattr(kernels, "machine", lambda: "another one")
    third.load_state(state)
    with pytest.raises(AssertionError, match="nothing is to be tried"):
        third.choose("work", WAYS, never)


@pytest.mark.parametrize(
    "state", [None, [], {}, {"machine": 3}, {"ways": {"work": "third"}}, {"machine": "here", "ways": {"work": ["x"]}}]
)
def test_what_is_no_such_state_is_left_alone(state: Any) -> None:
    found = Kernels()
    if isinstance(state, dict) and state.get("machine") == "here":
        state = state | {"machine": kernels.machine()}
    found.load_state(state)
    assert found.chosen == {}


def test_a_way_that_does_not_exist_is_not_taken() -> None:
    found = Kernels()
    found.load_state(found.state() | {"ways": {"work": "__import__"}})
    assert found.choose("work", WAYS, idle) in WAYS


def test_trials_draw_no_random_numbers() -> None:
    before = torch.get_rng_state()
    x = sample(64, 8)
    assert x.shape == (64, 8)
    assert x.isfinite().all()
    assert torch.equal(torch.get_rng_state(), before)


def test_rows_stand_for_others() -> None:
    assert [like(rows) for rows in (1, 8, 9, 64, 128, 129, 10_000)] == [1, 1, 64, 64, 64, 256, 256]


@pytest.mark.parametrize("precision", [torch.float32, pytest.param(torch.bfloat16, marks=needs_bfloat16)])
@pytest.mark.parametrize("backbone", ["lstm", "gru", "rnn"])
def test_all_that_a_model_can_do_is_tried(
    backbone: str, precision: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a loop that is trained, in a batch, in single steps; the likelihood, too."""
    monkeypatch.setattr(linear, "LARGE", 1)
    monkeypatch.setattr(kernels, "SECONDS", 0)
    monkeypatch.setattr(kernels, "BUDGET", 1e9)
    model, found = make_model("attn_seq2seq", "tokens to tokens", backbone, input_feeding=True).train(), Kernels()
    accelerate(model, found)
    batch = make_batch("tokens to tokens")
    assert batch.inputs is not None
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        model.spec.likelihood.loss(model(batch), batch).sum().backward()
        with torch.inference_mode():
            memory, state = model.start(batch.source, batch.source_lengths)
            model.step(batch.inputs[:, :1], state, memory)
    tried = {work.rpartition(": ")[2] for work in found.trials if not work.startswith("cross-entropy")}
    assert tried >= {"product", "product in training", "gradient of the input", "steps of a loop", "step"}
    assert any(work.startswith("cross-entropy") for work in found.trials)
