"""A training on shards: each record once an epoch; interrupted, it goes on to the same bits, in one process or two."""

import gzip
import io
import json
import os
import random
import re
import signal
from collections import Counter
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from test_processes import run
from test_trainer import assert_equal, interrupt

from seqtrain.commands import train
from seqtrain.commands.assembly import Assembly
from seqtrain.config import UserError
from seqtrain.contract import Batch, Batching
from seqtrain.engine.checkpoint import Checkpoints
from seqtrain.engine.processes import Team
from seqtrain.engine.streaming import Streaming, joined, split, woven
from seqtrain.machine.signals import Interrupted

DATA = {"translation": "pairs", "sentiment": "labelled", "summarization": "pairs", "generation": "lines"}
SIZES = [30, 1, 17, 0, 45, 22, 9, 28, 11, 40]
ROWS = sum(SIZES)
WORDS = ["a", "gated", "unit", "keeps", "what", "was", "read"]


@pytest.fixture(autouse=True, scope="module")
def no_figures() -> Iterator[None]:
    with tiny.no_figures():
        yield


@pytest.fixture(autouse=True)
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw = random.Random(0)

    def lines(name: str, count: int) -> str:
        made = []
        for i in range(count):
            text = f"{name} {i} " + " ".join(draw.choices(WORDS, k=draw.randint(1, 9)))
            more = {"source": text, "target": text[::-1], "label": draw.choice("xyz")}
            made.append(json.dumps({"text": text, **more}) + "\n")
        return "".join(made)

    Path("shards").mkdir()
    for n, size in enumerate(SIZES):
        Path(f"shards/{n}.jsonl.gz").write_bytes(gzip.compress(lines(str(n), size).encode()))
    for name in ("valid", "test"):
        Path(f"{name}.jsonl").write_text(lines(name, 10))


def start(place: str, task: str, axes: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    files = {"train": "shards/*.gz", "valid": "valid.jsonl", "test": "test.jsonl", "fit_records": 150, "buffer": 60}
    settings = {f"data__{key}": value for key, value in files.items()}
    return tiny.start(Path(place), task, {"data": DATA[task]} | (axes or {}), **settings | changes)


def loader(cfg: dict[str, Any], state: Any = None, team: Team | None = None) -> Streaming:
    made = Assembly(cfg).job.train
    assert isinstance(made, Streaming)
    made.join(team or Team())
    if state is not None:
        made.load_state(state)
    return made


def last(place: str) -> Any:
    return Checkpoints(Path(place)).load("last")


class Sources:
    """What is prepared, record by record."""

    def __init__(self, streaming: Streaming):
        self.texts: list[str] = []
        self.prepare = streaming.preparing.prepare
        streaming.preparing.prepare = self

    def __call__(self, records: Any) -> Any:
        self.texts += [record.source for record in records]
        return self.prepare(records)


# ---------------------------------------------------------------------------------------------------- batches


def test_each_record_comes_once_an_epoch_in_another_order() -> None:
    streaming = loader(start("run", "translation", trainer__batch_size=7))
    position, epoch, seen, ends = 0, 0, [Counter[str](), Counter[str]()], []
    batches = streaming.stream(0, 0)
    first = []
    while epoch < 2:
        batch = next(batches)
        first.append(batch.source)
        assert batch.source is not None
        rows = ["".join(map(chr, row)) for row in batch.source.tolist()]
        seen[epoch] += Counter(row.rstrip("\0") for row in rows)
        position += 1
        if streaming.advance(epoch, position):
            ends.append(position)
            epoch, position = epoch + 1, 0
    assert seen[0] == seen[1]
    assert seen[0].total() == ROWS == len(seen[0])
    one, other = first[: ends[0]], first[ends[0] :]
    assert [len(batch) for batch in one] != sorted(len(batch) for batch in one)
    assert any(not torch.equal(a, b) for a, b in zip(one, other, strict=False))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_from_any_place_on_and_with_workers(workers: int) -> None:
    cfg = start("run", "translation", trainer__batch_size=7)
    whole, states = loader(cfg), []
    expected, position, epoch = [], 0, 0
    for batch in islice(whole.stream(0, 0), 50):
        states.append((whole.state(), epoch, position))
        expected.append(batch)
        position += 1
        if whole.advance(epoch, position):
            epoch, position = epoch + 1, 0
    assert epoch == 1
    assert len({state["number"] for state, *_ in states}) > 5
    assert any(row for state, *_ in states for _, row in state["places"].values())  # in the middle of a shard
    cfg["trainer"]["workers"] = workers
    for i in (0, 3, 17, 40) if workers else range(0, 50, 7):
        state, epoch, position = states[i]
        streaming = loader(cfg, state)
        again = islice(streaming.stream(epoch, position), min(12, 50 - i))
        assert_equal(list(again), expected[i : i + 12])
        streaming.close()


def test_a_batch_is_bounded_by_positions_too() -> None:
    streaming = loader(start("run", "translation", trainer__batch_size=None, trainer__batch_tokens=200))
    for batch in islice(streaming.stream(0, 0), 20):
        assert batch.target is not None
        assert batch.target.numel() <= 200


def test_a_place_that_is_none_is_refused() -> None:
    streaming = loader(start("run", "translation"))
    for state in (
        {},
        {"first": 0, "number": 0, "count": 2, "places": {0: [1]}},
        {"first": -1},
        {"places": {5: [0, 0]}},
    ):
        with pytest.raises(ValueError, match="no places"):
            streaming.load_state({"first": 0, "number": 0, "count": 2} | state if state else {})


class Alike(Team):
    """One of several processes, which takes the others to be where it is."""

    def __init__(self, rank: int, size: int):
        super().__init__()
        self.rank, self.size = rank, size

    def gather(self, value: Any) -> list[Any]:
        return [value] * self.size


@pytest.mark.parametrize("size", [2, 3])
def test_each_process_reads_shards_of_its_own(size: int) -> None:
    cfg, read = start("run", "translation"), []
    for rank in range(size):
        streaming = loader(cfg, team=Alike(rank, size))
        texts = Sources(streaming).texts
        batches, before, position = streaming.stream(0, 0), [*texts], 0
        for position in count(1):
            next(batches)
            if streaming.advance(0, position):
                break
            before = before if streaming.pools[-1].epoch else [*texts]
        read.append({text.split()[0] for text in before})
    assert sum(map(len, read)) == sum(size > 0 for size in SIZES)
    assert set.union(*read) == {str(n) for n, size in enumerate(SIZES) if size}


def test_a_batch_is_shared_out_and_woven_together() -> None:
    teams = [Alike(rank, 3) for rank in range(3)]
    assert [split(Batching(8, None), team).examples for team in teams] == [3, 3, 2]
    assert split(Batching(None, 100), teams[0]).positions == 33
    states = [{"first": 3, "number": 1, "count": 4, "places": {n: (n, 0), n + 2: (9, n)}} for n in range(2)]
    assert joined(states)["places"] == {0: (0, 0), 1: (1, 0), 2: (9, 0), 3: (9, 1)}
    assert joined([None, None]) is None
    parts = [torch.tensor([[1, 2], [3, 0]]), torch.tensor([[4, 5, 6]])]
    made = woven([Batch(part, torch.tensor([2] * len(part)), None, part, None) for part in parts])
    assert made.source is not None
    assert made.source.tolist() == [[1, 2, 0], [4, 5, 6], [3, 0, 0]]


# ---------------------------------------------------------------------------------------------------- runs


HARD = tiny.HARD | {"trainer__max_steps": 12, "trainer__eval_every": 6, "optimizer__lr": 0.05, "data__buffer": 30}


@pytest.mark.parametrize("task", DATA)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_by_bit(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    axes = {"schedule": "plateau"}
    train.train(start("whole", task, axes, **HARD), Path("whole"))
    cfg = start("cut", task, axes, **HARD)
    with monkeypatch.context() as context:
        interrupt(context, step=9)
        with pytest.raises(SystemExit):
            train.train(cfg, Path("cut"))
    stopped = last("cut").training
    assert any(row for _, row in stopped["shards"]["places"].values())  # in the middle of a shard
    assert task != "generation" or stopped["carried"] is not None
    torch.manual_seed(99)
    train.train(cfg, Path("cut"), resume=True)
    assert_equal(last("cut")._asdict(), last("whole")._asdict())
    one, other = ({**tiny.metrics(Path(name)), "speed": None} for name in ("cut", "whole"))
    assert_equal(one, other)


def kill(number: int, function: Any) -> Any:
    if number == 13:
        os.kill(os.getpid(), signal.SIGTERM)  # to the launcher, it might come after the last step
    return function()


def test_two_processes_go_on_to_the_same_bits(capfd: pytest.CaptureFixture[str]) -> None:
    settings = HARD | {"data__train": str(Path("shards").resolve()), "trainer__max_steps": 16}
    run(start("whole", "generation", {"schedule": "plateau"}, **settings), Path("whole"))
    cfg = start("cut", "generation", {"schedule": "plateau"}, **settings)
    with pytest.raises(Interrupted):
        run(cfg, Path("cut"), spy=("update", kill))
    places = last("cut").training["shards"]["places"]
    assert sorted(places) == [*range(8)]
    assert any(row for _, row in places.values())
    run(cfg, Path("cut"), resume=True)
    assert_equal(last("cut")._asdict(), last("whole")._asdict())
    cfg["trainer"]["max_steps"] = 18
    train.train(cfg, Path("cut"), resume=True)  # one process goes on with all readers
    assert last("cut").training["progress"]["step"] == 18
    assert not capfd.readouterr().err


@pytest.mark.parametrize("task", ["sentiment", "generation"])
def test_an_example_is_there_for_a_process_without_rows(task: str) -> None:
    assert loader(start("run", task, data__train="shards")).example().size == 1


def test_epochs_count_without_a_known_length(caplog: pytest.LogCaptureFixture) -> None:
    changes = {"trainer__max_steps": None, "trainer__epochs": 2, "trainer__eval_every": None, "trainer__batch_size": 20}
    cfg = start("run", "sentiment", {"schedule": "constant"}, **changes)
    caplog.set_level("INFO")
    train.train(cfg, Path("run"))
    progress = last("run").training["progress"]
    assert (progress["epoch"], progress["position"]) == (2, 0)
    first, both = (point["step"] for point in progress["curve"])
    assert (both, first) == (progress["step"], both - first + 1)  # the very first pool is small: it has a batch more
    assert "10 train shards of 0.0 MB, 10 valid, 10 test records" in caplog.text
    assert "of train, this is about the first 150 records of the shards" in caplog.text
    figures = json.loads(Path("run/data.json").read_text())
    assert (figures["train"]["records"], figures["train"]["fit_records"]) == (None, 150)


def test_a_schedule_that_needs_the_length_and_folds_are_refused() -> None:
    for changes, problem in (
        ({"trainer__max_steps": None}, r"schedule=cosine goes down to the last update, .+ add trainer\.max_steps=N"),
        ({"data__folds": 3}, r"data\.folds=3 deals out all records, and shards are not read as a whole"),
    ):
        cfg = tiny.config("translation", {"data": "pairs", "schedule": "cosine"}, **changes)
        cfg["data"] |= {"train": "shards", "valid": "valid.jsonl", "test": "test.jsonl"}
        with pytest.raises(UserError, match=problem):
            Assembly(cfg).check()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_shard_keeps_the_run_which_goes_on_when_it_is_mended(workers: int) -> None:
    settings: dict[str, Any] = {
        "trainer__max_steps": 60,
        "trainer__eval_every": 50,
        "data__fit_records": 10,
        "trainer__workers": workers,
    }
    train.train(start("whole", "sentiment", **settings), Path("whole"))
    file = Path("shards/4.jsonl.gz")
    content = file.read_bytes()
    cfg = start("cut", "sentiment", **settings)
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError) as caught:
        train.train(cfg, Path("cut"))
    step = last("cut").training["progress"]["step"]
    assert step > 0
    assert re.match(r"shards/4\.jsonl\.gz, line \d+: the gzipped file is damaged or cut off", str(caught.value))
    assert f"the run is kept at step {step}, to go on: seqtrain resume=cut" in str(caught.value)
    file.write_bytes(content)
    train.train(cfg, Path("cut"), resume=True)
    assert_equal(last("cut")._asdict(), last("whole")._asdict())


def test_a_label_that_was_not_learned_is_told_with_its_line() -> None:
    with gzip.open("shards/6.jsonl.gz", "at") as file:
        file.write(json.dumps({"text": "a", "label": "new"}) + "\n")
    cfg = start("run", "sentiment", data__fit_records=20, trainer__max_steps=500)
    with pytest.raises(
        UserError, match=r"^shards/6\.jsonl\.gz, line 10: the label 'new' is not in .+ data\.fit_records"
    ):
        train.train(cfg, Path("run"))


def test_other_shards_are_other_data() -> None:
    cfg = start("run", "sentiment")
    train.train(cfg, Path("run"))
    Path("shards/new.jsonl.gz").write_bytes(Path("shards/0.jsonl.gz").read_bytes())
    with pytest.raises(UserError, match="their content is not what it was"):
        train.train(cfg, Path("run"), resume=True)


def test_a_process_without_a_shard_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    cfg = start("run", "sentiment", data__train=str(Path("shards/0*.gz").resolve()))
    with pytest.raises(
        UserError, match=r"device\.processes=2: each process reads shards of its own, and data\.train has 1"
    ):
        run(cfg, Path("run"))


class Failing(io.FileIO):
    """A file of the hub whose connection is lost after so many reads of all."""

    left = 10**6

    def read(self, size: int | None = -1) -> bytes:
        Failing.left -= 1
        if Failing.left < 0:
            raise ConnectionError("lost")
        return super().read(size)


def test_shards_of_the_hub_go_on_where_the_network_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    fsspec = pytest.importorskip("fsspec")
    from fsspec.implementations.dirfs import DirFileSystem

    place = tmp_path / "datasets/own/set"
    place.mkdir(parents=True)
    for n in (0, 2, 4, 5, 7):
        pandas.read_json(f"shards/{n}.jsonl.gz", lines=True).to_parquet(place / f"{n}.parquet", row_group_size=4)
    folder = DirFileSystem(str(tmp_path), fsspec.filesystem("file"))
    folder.open = lambda path, *_, **__: Failing(tmp_path / path)
    monkeypatch.setattr("seqtrain.reading.hub.filesystem", lambda: folder)
    monkeypatch.setattr("seqtrain.reading.hub.BLOCK", 256)
    axes, settings = (
        {"schedule": "plateau"},
        HARD | {"data__train": "hf://datasets/own/set/*.parquet", "trainer__max_steps": 40},
    )
    train.train(start("whole", "translation", axes, **settings), Path("whole"))
    cfg = start("cut", "translation", axes, **settings)
    Failing.left = (10**6 - Failing.left) * 9 // 10
    with pytest.raises(UserError, match=r"hf://datasets/own/set/\d\.parquet: the hub cannot be reached.+is kept at"):
        train.train(cfg, Path("cut"))
    Failing.left = 10**6
    assert 0 < last("cut").training["progress"]["step"] < 40
    train.train(cfg, Path("cut"), resume=True)
    assert_equal(last("cut")._asdict(), last("whole")._asdict())
