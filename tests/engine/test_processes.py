"""Several processes train what one would have trained."""

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import preloaded
import pytest
import small
import tiny
import torch
from processes import LONG, TORCHRUN, command, family, told, wait_for
from test_trainer import assert_equal

from seqtrain import cli
from seqtrain.commands import assembly, run_folder, train
from seqtrain.config import UserError
from seqtrain.engine import objective, processes, rendezvous
from seqtrain.engine.checkpoint import Checkpoints
from seqtrain.engine.processes import Team
from seqtrain.engine.trainer import Diverged, Trainer
from seqtrain.machine import device
from seqtrain.machine.kernels import Kernels
from seqtrain.machine.signals import Interrupted, Interruption, Lost
from seqtrain.trees import map_tensors, weave

AXES = {"generation": {"data": "text"}}  # the others cannot be told of fewer topics


@pytest.fixture(autouse=True, scope="module")
def no_figures() -> Iterator[None]:
    with tiny.no_figures():
        yield


def start(place: Path, task: str, axes: Any = None, **changes: Any) -> dict[str, Any]:
    return tiny.start(place, task, AXES.get(task, {}) | (axes or {}), **changes)


Spy = Callable[[int, Any], Any]


def run(
    cfg: dict[str, Any], place: Path, size: int = 2, resume: bool = False, spy: tuple[str, Spy] | None = None
) -> None:
    """Trains in so many processes, which have the libraries already. spy: the name of a function, and what takes its
    place in the first process, given the number of the call and the function with its arguments."""
    with patch.object(sys, "executable", str(preloaded.commands() / "python")):
        processes.launch(size, partial(first, cfg, place, resume, spy), "seqtrain resume=RUN")


def first(cfg: dict[str, Any], place: Path, resume: bool, spy: tuple[str, Spy] | None) -> None:
    """What is done in the first of the processes."""
    name, work = spy or ("update", call)
    holder = {"update": Trainer, "backward": objective}[name]
    function, calls = getattr(holder, name), itertools.count(1)

    def spied(*args: Any) -> Any:
        return work(next(calls), partial(function, *args))

    with tiny.no_figures(), patch.object(holder, name, spied):
        run_folder.log_to_run(place)
        train.train(cfg, place, resume)


def call(number: int, function: Callable[[], Any]) -> Any:
    return function()


def last(place: Path) -> Any:
    return Checkpoints(place).load("last")


# ---------------------------------------------------------------------------------------------------- parts of a batch


@pytest.mark.parametrize("task", tiny.TASKS)
@pytest.mark.parametrize("size", [2, 3, 9])
def test_the_parts_of_a_batch_are_its_rows(task: str, size: int) -> None:
    _, job, _ = tiny.job(tiny.config(task, AXES.get(task, {}), trainer__batch_size=7))
    whole = next(job.train.epoch())
    parts = [whole.select(slice(rank, None, size)) for rank in range(size)]
    assert sum(part.size for part in parts) == whole.size
    for rank, part in enumerate(parts):
        assert torch.equal(part.target_lengths, whole.target_lengths[rank::size])
        alone = [whole.select(slice(row, row + 1)) for row in range(rank, whole.size, size)]
        real = part.real(part.target)
        assert torch.equal(
            real.nan_to_num(), torch.cat([real[:0], *(row.real(row.target) for row in alone)]).nan_to_num()
        )


@pytest.mark.parametrize(("rows", "size"), [(7, 2), (6, 3), (2, 3), (5, 1)])
def test_states_are_woven_into_the_order_of_the_rows(rows: int, size: int) -> None:
    whole = (torch.arange(rows), [torch.randn(rows, 2)])
    parts = [map_tensors(lambda tensor: tensor[rank::size], whole) for rank in range(size)]  # noqa: B023
    parts = [part if len(part[0]) else None for part in parts]
    assert_equal(weave(parts), whole)
    assert weave([None] * size) is None


def test_a_team_of_one_agrees_with_itself() -> None:
    _, job, _ = tiny.job(tiny.config("sentiment"))
    batch, team = next(job.train.epoch()), Team()
    assert torch.equal(batch.target[team.part], batch.target)
    assert team.gather(3) == [3]
    assert team.share(4) == team.lead(lambda: 4) == 4
    assert team.signal(Mock(spec=Interruption, signal=5)) == 5


# ---------------------------------------------------------------------------------------------------- the same training


HARD = {"trainer__rdrop": 1.0, "model__input_feeding": True}  # two passes of the model, many small steps


EACH = ("sentiment", "translation", "generation", "forecasting")  # an output of each kind, and rows that go on


@pytest.mark.parametrize(("task", "more"), [*((task, {}) for task in EACH), ("translation", HARD)])
def test_two_processes_train_what_one_does(
    task: str, more: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two batches an update, the last one of an epoch smaller; the evaluations, too, are of both."""
    how = {"trainer__max_steps": 20, "trainer__eval_every": 8, "trainer__accumulate": 2, "trainer__ema": 0.9} | more
    cfg = [start(tmp_path / name, task, trainer__precision="float32", **how) for name in ("one", "two")]
    train.train(cfg[0], tmp_path / "one")
    run(cfg[1], tmp_path / "two")
    one, two = (last(tmp_path / name) for name in ("one", "two"))
    for name, weight in one.weights.items():
        torch.testing.assert_close(two.weights[name], weight, rtol=1e-5, atol=1e-5, msg=name)
    progress, same = one.training["progress"], two.training["progress"]
    for name in ("step", "epoch", "position", "items"):
        assert progress[name] == same[name]
    real = [found["positions"] - found["padding"] for found in (progress, same)]
    assert real[0] == real[1]
    assert same["padding"] <= progress["padding"]
    for row, other in zip(progress["curve"], same["curve"], strict=True):
        assert {**other, "seconds": 0} == pytest.approx({**row, "seconds": 0}, rel=1e-4)
    assert len(two.training["others"]) == 1
    if one.training["carried"] is not None:
        small.same(two.training["carried"], one.training["carried"], 1e-4)
    assert not capfd.readouterr().err


def test_a_part_may_be_empty_and_dropout_is_not_the_same_in_all(tmp_path: Path) -> None:
    """22 texts in batches of 4: the last one has 2, for 3 processes."""
    cfg = start(tmp_path / "run", "sentiment", data__size=22, model__dropout=0.5, trainer__max_steps=12)
    run(cfg, tmp_path / "run", 3)
    training = last(tmp_path / "run").training
    states = [training, *training["others"]]
    assert training["progress"]["step"] == 12
    assert len({state["random"].numpy().tobytes() for state in states}) == 3


def test_a_run_of_two_goes_on_with_one_and_with_three(tmp_path: Path) -> None:
    how = {"trainer__max_steps": 6, "trainer__precision": "float32"}
    axes = {"schedule": "constant"}  # no part of which is the length of the training
    whole = start(tmp_path / "whole", "generation", axes, **how | {"trainer__max_steps": 14})
    train.train(whole, tmp_path / "whole")
    cfg = start(tmp_path / "cut", "generation", axes, **how)
    run(cfg, tmp_path / "cut")
    assert last(tmp_path / "cut").training["carried"] is not None
    for size, steps in ((1, 10), (3, 14)):
        cfg["trainer"]["max_steps"] = steps
        run(cfg, tmp_path / "cut", size, resume=True)
        assert len(last(tmp_path / "cut").training["others"]) == size - 1
    for name, weight in last(tmp_path / "whole").weights.items():
        torch.testing.assert_close(last(tmp_path / "cut").weights[name], weight, rtol=1e-4, atol=1e-4, msg=name)


def test_two_processes_take_the_ways_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through loops whose weights are laid out, whose gradients come all at the end: by the choice in a checkpoint, and
    so without a trial."""
    monkeypatch.setattr(Kernels, "fastest", lambda self, work, ways, make: ways[-1])
    how = {"trainer__max_steps": 2, "trainer__precision": "float32", "model__input_feeding": True, "device__threads": 1}
    cfg = start(tmp_path / "one", "translation", {"schedule": "constant"}, **how)
    train.train(cfg, tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    cfg["trainer"]["max_steps"] = 12
    train.train(cfg, tmp_path / "one", resume=True)
    run(cfg, tmp_path / "two", resume=True)
    one, two = (last(tmp_path / name) for name in ("one", "two"))
    assert {"laid out"} <= set(one.training["kernels"]["ways"].values())
    assert two.training["kernels"] == one.training["kernels"]
    for name, weight in one.weights.items():
        torch.testing.assert_close(two.weights[name], weight, rtol=1e-5, atol=1e-5, msg=name)


# ---------------------------------------------------------------------------------------------------- what all agree on


def fail_at_once(number: int, function: Callable[[], Any]) -> Any:
    if number == 3:
        raise MemoryError
    return function()


def run_short(gradient: torch.Tensor) -> None:
    raise MemoryError


def fail_backwards(number: int, function: Any) -> Any:
    """When all gradients are known but that of the source's embedding, which comes last."""
    weight = function.args[0].module.model.encoder.embedding.map.weight
    hook = weight.register_hook(run_short) if number == 3 else None
    try:
        return function()
    finally:
        if hook:
            hook.remove()


@pytest.mark.parametrize("way", [fail_at_once, fail_backwards])
def test_what_does_not_fit_in_the_memory_of_one_is_cut_by_all(way: Spy, tmp_path: Path) -> None:
    how = {"trainer__precision": "float32", "trainer__max_steps": 10, "model__dropout": 0.0}
    train.train(start(tmp_path / "whole", "translation", **how), tmp_path / "whole")
    run(start(tmp_path / "cut", "translation", **how), tmp_path / "cut", spy=("backward", way))
    logged = (tmp_path / "cut" / "train.log").read_text()
    assert len(re.findall("step 3: a batch of .* does not fit in memory", logged)) == 1
    assert last(tmp_path / "cut").training["progress"]["bound"] > 0
    for name, weight in last(tmp_path / "whole").weights.items():
        torch.testing.assert_close(last(tmp_path / "cut").weights[name], weight, rtol=1e-5, atol=1e-5, msg=name)


def spoil(number: int, function: Callable[[], Any]) -> Any:
    loss, *rest = function()
    return (loss * torch.nan if number == 3 else loss, *rest)


def test_a_loss_that_is_no_number_in_one_ends_all(tmp_path: Path, capfd: Any) -> None:
    with pytest.raises(Diverged, match="the training loss is nan at step 3"):
        run(start(tmp_path / "run", "generation"), tmp_path / "run", spy=("backward", spoil))
    assert not capfd.readouterr().err
    assert (tmp_path / "run" / "checkpoints" / "bad-step-3").is_dir()


def children(parent: int) -> list[int]:
    """The living processes of seqtrain that a process has started, in that order. Python has helpers of its own beside
    them, such as the one that counts semaphores."""
    words = ["ps", "-eww", "-o", "ppid=,pid=,stat=,args="]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split(maxsplit=3) for line in lines]
    living = [row for row in rows if row[0] == str(parent) and row[2][0] != "Z" and row[3].endswith("-m seqtrain")]
    return sorted(int(row[1]) for row in living)


def interrupt(launcher: int, rank: int, number: int, function: Callable[[], Any]) -> Any:
    """Sends a signal to the launcher (-1) or to one of the processes that it has started."""
    if number == 4:
        os.kill(children(launcher)[rank] if rank >= 0 else launcher, signal.SIGTERM)
        time.sleep(0.5)
    return function()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A run of two processes that nothing has happened to, of a task."""

    @cache
    def trained(task: str) -> Path:
        place = tmp_path_factory.mktemp("whole") / task
        run(start(place, task, {"schedule": "plateau"}, **tiny.HARD), place)
        return place

    return trained


@pytest.mark.parametrize("rank", [-1, 0, 1])
def test_a_signal_to_any_of_them_stops_all_after_the_step_and_the_run_goes_on_to_the_same_bits(
    rank: int, whole: Callable[[str], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    task = ("generation", "translation")[rank % 2]
    cfg = start(tmp_path / "cut", task, {"schedule": "plateau"}, **tiny.HARD)
    with pytest.raises(Interrupted) as caught:
        run(cfg, tmp_path / "cut", spy=("update", partial(interrupt, os.getpid(), rank)))
    assert caught.value.code == 128 + signal.SIGTERM
    assert 4 <= last(tmp_path / "cut").training["progress"]["step"] <= 5
    assert not children(os.getpid())
    run(cfg, tmp_path / "cut", resume=True)
    for pointer in ("best", "last"):
        one, other = (Checkpoints(place).load(pointer) for place in (whole(task), tmp_path / "cut"))
        assert_equal(other._asdict(), one._asdict())
    found = [tiny.metrics(place) for place in (whole(task), tmp_path / "cut")]
    for metrics in found:
        metrics.pop("speed")
    assert_equal(*found)
    assert not capfd.readouterr().err


def test_when_the_first_refuses_the_others_end_with_it(tmp_path: Path) -> None:
    cfg = start(tmp_path / "run", "sentiment", {"data": "labelled"}, data__train="nowhere.csv")
    with pytest.raises(UserError, match=r"nowhere\.csv"):
        train.train(cfg | {"device": cfg["device"] | {"processes": 3}}, tmp_path / "run")
    assert not children(os.getpid())


def other_data(cfg: dict[str, Any], place: Path) -> None:
    with patch.object(assembly, "fingerprint", lambda records: "other data"):
        first(cfg, place, False, None)


def test_an_error_of_another_is_told_by_it(tmp_path: Path, capfd: Any) -> None:
    """Whose data differ, as they may on another machine."""
    cfg = start(tmp_path / "run", "sentiment")
    with pytest.raises(Lost, match=r"^process 1 of 2 has ended \(exit code 2\); to go on: seqtrain resume=RUN$"):
        processes.launch(2, partial(other_data, cfg, tmp_path / "run"), "seqtrain resume=RUN")
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("seqtrain: process 1 of 2: data: their content is not what it was")


def broken() -> None:
    raise RuntimeError("something broke")


def test_an_error_of_the_first_comes_with_its_traceback() -> None:
    with pytest.raises(RuntimeError, match="something broke") as caught:
        processes.launch(2, broken, "")
    assert "in broken" in caught.value.__notes__[0]


def test_every_process_needs_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    with pytest.raises(UserError, match="4 processes need as many devices, and there are 3"):
        device.open_device(tiny.config("sentiment", device__name="cuda")["device"], 0, 4)


# ---------------------------------------------------------------------------------------------------- commands


@pytest.mark.parametrize("rank", [None, 0, 1])
def test_when_one_is_killed_the_others_say_so_and_end(rank: int | None, tmp_path: Path) -> None:
    with command([*LONG, "hydra.run.dir=run", "device.processes=3"], tmp_path) as process:
        wait_for((tmp_path / "run" / "checkpoints" / "last").exists)
        launcher, *others = family()
        assert (launcher, len(others)) == (process.pid, 3)
        os.kill(launcher if rank is None else others[rank], signal.SIGKILL)
        assert process.wait(20) == (-signal.SIGKILL if rank is None else 1)
        wait_for(lambda: not family(), 10)
    what = "the process that started the training" if rank is None else f"process {rank} of 3"
    how = "" if rank is None else " (signal 9)"
    (line,) = [line for line in told(tmp_path).splitlines() if line.startswith("seqtrain: ") or "has ended" in line]
    assert line == f"seqtrain: {what} has ended{how}; to go on: seqtrain resume=run device=cpu device.processes=3"
    assert not re.search("Traceback|frame #", told(tmp_path))


def test_torchrun_starts_them_too(tmp_path: Path) -> None:
    for name in ("one", "two"):
        cfg = start(tmp_path / name, "forecasting", trainer__precision="float32")
    train.train(cfg, tmp_path / "one")
    with command(["resume=two"], tmp_path, TORCHRUN) as process:  # begins anew: nothing was saved
        assert process.wait(60) == 0, told(tmp_path)
    assert told(tmp_path).count("the best weights") == 1
    assert len(last(tmp_path / "two").training["others"]) == 1
    for name, weight in last(tmp_path / "one").weights.items():
        torch.testing.assert_close(last(tmp_path / "two").weights[name], weight, rtol=1e-5, atol=1e-5, msg=name)


def test_what_torchrun_starts_anew_goes_on_from_the_last_checkpoint(tmp_path: Path) -> None:
    """To the same bits as a run that nothing has happened to."""
    words = [
        *LONG[:-2],
        "trainer.save_every=20",
        "trainer.max_steps=200",
        "trainer.eval_every=200",
        "schedule=constant",
    ]
    anew = (*TORCHRUN[:3], "--max-restarts=1", *TORCHRUN[3:])
    for name in ("whole", "killed"):
        with command([*words, f"hydra.run.dir={name}"], tmp_path, anew) as process:
            if name == "killed":
                wait_for((tmp_path / name / "checkpoints" / "last").exists)
                os.kill(family()[-1], signal.SIGKILL)
            assert process.wait(120) == 0, told(tmp_path)
    assert "going on at step" in (tmp_path / "killed" / "train.log").read_text()
    one, other = (last(tmp_path / name) for name in ("whole", "killed"))
    assert_equal(other.weights, one.weights)


def test_gradients_may_be_sent_in_half_the_bits(tmp_path: Path) -> None:
    how = {"trainer__max_steps": 6, "trainer__precision": "float32"}
    for gradients in ("float32", "bfloat16"):
        run(start(tmp_path / gradients, "sentiment", device__gradients=gradients, **how), tmp_path / gradients)
    exact, rounded = (last(tmp_path / name).weights for name in ("float32", "bfloat16"))
    assert any(not torch.equal(rounded[name], weight) for name, weight in exact.items())
    for name, weight in exact.items():
        assert float((rounded[name] - weight).norm()) <= 0.05 * float(weight.norm()) + 1e-2, name


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["trainer.bach_size=3"], "seqtrain: trainer.bach_size: there is no such key"),
        (["task=sentiment", "data=labelled", "data.train=nowhere.csv"], "nowhere.csv"),
    ],
)
def test_under_torchrun_a_refusal_is_said_once_and_ends_all(words: list[str], problem: str, tmp_path: Path) -> None:
    with command(words, tmp_path, TORCHRUN) as process:
        assert process.wait(60) == 1  # torchrun's own
    assert told(tmp_path).count(problem) == 1
    assert not re.search("process . of", told(tmp_path))
    assert "exitcode  : 2" in told(tmp_path)


def test_torchrun_does_not_go_with_a_sweep(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "nowhere", "MASTER_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    assert cli.exit_code(lambda: cli.run(cli.read_arguments(["-m", "seed=1,2"]))) == 2
    assert "--multirun starts its trainings itself: leave torchrun out" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------- strangers


def test_only_this_user_can_reach_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder, store = rendezvous.open_private()
    assert folder.stat().st_mode & 0o777 == 0o700
    store.set("word", "train")
    assert rendezvous.join_private(folder).get("word") == b"train"
    folder.chmod(0o755)
    with pytest.raises(UserError, match="only this user can enter"):
        rendezvous.join_private(folder)
    folder.chmod(0o700)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(UserError, match="only this user can enter"):
        rendezvous.join_private(tmp_path / "link")


STRANGER = """
import sys, torch, torch.distributed as dist
from pathlib import Path
from seqtrain.engine import rendezvous
folder, rank, secret = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
store = rendezvous.join_private(folder)
dist.init_process_group("gloo", store=store, rank=rank, world_size=3)
class Seen:
    get = staticmethod(lambda name: secret.encode() if rank == 1 else store.get(name))
try:
    rendezvous.prove(Seen, rank, 3)
except rendezvous.Stranger as error:
    print(error)
"""


@pytest.mark.parametrize("secret", ["", "00"])
def test_who_cannot_read_the_store_is_found_out_before_anything_is_told(secret: str) -> None:
    """Among three, of which one has another secret, or the same."""
    folder, store = rendezvous.open_private()
    words = [str(folder), secret or store.get("secret").decode()]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "GLOO_SOCKET_IFNAME": "lo"}
    processes = [
        subprocess.Popen([sys.executable, "-c", STRANGER, words[0], str(rank), words[1]], env=env, text=True,
                         stdout=subprocess.PIPE)
        for rank in range(3)
    ]  # fmt: skip
    found = [process.communicate(timeout=60)[0] for process in processes]
    shutil.rmtree(folder)
    stranger = "somebody else has connected in the place of process 1\n"
    assert (found[0], found[2]) == ((stranger, stranger) if secret else ("", ""))
    assert bool(found[1]) == bool(secret)


@pytest.mark.parametrize("rank", [1, 2])
def test_a_process_that_was_stopped_does_not_keep_the_run_from_ending(rank: int, tmp_path: Path) -> None:
    with command([*LONG, "hydra.run.dir=run", "device.processes=2"], tmp_path) as process:
        wait_for((tmp_path / "run" / "checkpoints" / "last").exists)
        os.kill(family()[rank], signal.SIGSTOP)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        wait_for(lambda: not family(), 10)
    assert re.search(
        r"^interrupted at step \d+; to go on: seqtrain resume=run device=cpu device.processes=2$", told(tmp_path), re.M
    )
    assert "Traceback" not in told(tmp_path)


def test_a_second_interrupt_waits_for_nobody(tmp_path: Path) -> None:
    with command([*LONG, "hydra.run.dir=run", "device.processes=2"], tmp_path) as process:
        wait_for((tmp_path / "run" / "checkpoints" / "last").exists)
        for pid in family()[1:]:
            os.kill(pid, signal.SIGSTOP)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.02)
        assert process.wait(5) == 130
        wait_for(lambda: not family(), 5)
    assert "Traceback" not in told(tmp_path)


def test_an_interrupt_before_the_training_begins_ends_it(tmp_path: Path) -> None:
    with command([*LONG, "hydra.run.dir=run", "device.processes=2"], tmp_path) as process:
        wait_for(lambda: len(family()) == 3)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        wait_for(lambda: not family(), 5)
    assert "interrupted before" in told(tmp_path)
    assert "Traceback" not in told(tmp_path)


def test_the_number_of_processes_is_for_the_user_to_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["device.processes=auto"]) == 2
    assert "device.processes=auto" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["--cfg", "job"]])
def test_left_over_variables_of_torchrun_do_not_hold_up_what_only_shows(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    assert cli.main(words) == 0
    assert capsys.readouterr().out


def test_who_waits_for_processes_that_never_come_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rendezvous, "ARRIVAL", timedelta(seconds=2))
    monkeypatch.setattr(rendezvous, "SILENCE", 0.1)
    with pytest.raises(UserError, match=r"waited in vain for .* at 127\.0\.0\.1:1; .* unset RANK trains alone"):
        rendezvous.join_torchrun(1, 2)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("seqtrain:")]
    assert "waiting for the other processes at 127.0.0.1:1" in line


HOSTILE = "import os; open(os.environ['WITNESS'], 'a').write('imported\\n')\nraise ImportError('hostile')\n"


def test_nothing_is_imported_from_the_current_folder(tmp_path: Path) -> None:
    """By the command, those that it starts, the jobs of a sweep, and the doctor."""
    for name in ("yaml", "torch", "hydra", "numpy", "typing_extensions", "_strptime", "sacremoses"):
        (tmp_path / f"{name}.py").write_text(HOSTILE)
    (tmp_path / "hydra_plugins").mkdir()
    (tmp_path / "hydra_plugins" / "mine.py").write_text(HOSTILE)
    env = os.environ | {"WITNESS": str(tmp_path / "witness"), "OMP_NUM_THREADS": "1"}
    env["PYTHONPATH"] = str(Path(__file__).parents[2])
    short = [*LONG, "trainer.max_steps=1", "trainer.eval_every=null", "trainer.save_every=null"]
    for words in (["device.processes=2", "hydra.run.dir=run"], ["-m", "jobs=2", "seed=1,2"], ["mode=doctor"]):
        command = [sys.executable, "-m", "seqtrain", *short, *words]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    assert not (tmp_path / "witness").exists()
