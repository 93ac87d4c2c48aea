"""Every key of a stored configuration, every file of a run folder and of the cache, and every value and tensor of a
checkpoint as a stranger may have made it: nothing outside is written, deleted, read or run, and the answer comes soon,
in words. The short form tries a few of them, spread over all."""

import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import hostile
import pytest
from harness import MORE, OWN, TASKS, Server, serving, words
from hostile import Case

from seqtrain.codecs.prepared import Column, fitted, tokenized
from seqtrain.codecs.text import END
from seqtrain.config import UserError
from seqtrain.data.kinds import Pair

SECONDS, MIB, PATIENCE = 2.0, 1024, 60.0  # of a processor, beyond what the command takes of a good folder; of the clock
INPUT = {
    **{"sentiment": "good\n", "translation": "one\n", "generation": "the\n", "forecasting": f"{list(range(20))}\n"},
    **{"speech": f"{OWN / 'recordings' / '00.wav'}\n", "captioning": f"{OWN / 'handwriting' / '00.png'}\n"},
    **{"tunes": "M:4/4\\nK:C\\nC D\n", "summarization": "one two\n", "tagging": "two soups\n", "music": "C4+E4\n"},
}
DEVICE = ("device.name=cpu", "device.threads=1")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEQTRAIN_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        with serving() as found:
            yield found


class Walk:
    """Runs a command on spoiled folders and counts how it ended."""

    def __init__(self, server: Any, place: Path):
        self.server, self.place = server, place
        self.counts: Counter[tuple[str, str]] = Counter()
        self.allowed = 0.0
        self.faults: list[str] = []

    def outside(self) -> dict[str, bytes | None]:
        """What lies beside a run folder, with its content and the times of reading where the disk keeps them."""
        out = self.place / "out"
        if out.exists():
            shutil.rmtree(out)
        (out / ".step-3").mkdir(parents=True)
        (out / "step-2").mkdir()
        os.mkfifo(out / "pipe")
        for name in ("file", ".hidden", ".last", "config.yaml", ".step-3/file", "step-2/file"):
            (out / name).write_text("CANARY\n")
        return self.seen()

    def seen(self) -> dict[str, bytes | None]:
        found = sorted((self.place / "out").rglob("*"))
        return {str(path): path.read_bytes() if path.is_file() else None for path in found if "moved" not in path.parts}

    def run(self, case: Case, run: Path, argv: list[str], swapped: str | None = None) -> str:
        """The output of a command on a copy of a run folder."""
        copy = self.place / "run"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(run, copy)
        before = self.outside()
        case.spoil(copy, self.place / "out")
        with swapping(copy, swapped, self.place / "out"):
            process = self.server.start(argv, self.place)
            timer = threading.Timer(PATIENCE, lambda: process.kill(signal.SIGKILL))
            timer.start()
            code, seconds, memory = process.measure()
            timer.cancel()
        told = process.told
        process.log.unlink(missing_ok=True)
        diverged = code == 1 and "a lower optimizer.lr may help" in told
        problems = [
            f"exit code {code}" if code not in (0, 2) and not diverged else None,
            f"told {hostile.told_badly(told)}" if hostile.told_badly(told) else None,
            f"{seconds:.1f} s" if seconds > self.allowed + SECONDS else None,
            f"{memory:.0f} MiB" if memory > MIB else None,
            "changed what is outside" if self.seen() != before else None,
        ]
        ended = "diverged" if diverged else {0: "used", 2: "refused"}.get(code, "FAULT")
        if any(problems):
            ended = "FAULT"
            told = told if len(told) < 1500 else f"{told[:700]} … {told[-700:]}"
            self.faults.append(f"{case.kind}: {case.name} [{argv[0]}]: {', '.join(filter(None, problems))}\n{told}")
            print(self.faults[-1], flush=True)
        self.counts[case.kind, ended] += 1
        return told

    def report(self) -> None:
        self.tell()
        assert not self.faults, "\n\n".join(self.faults)

    def tell(self) -> None:
        """Prints how many were tried of each kind, and how they ended."""
        kinds = sorted({kind for kind, _ in self.counts})
        for kind in kinds:
            ends = {end: count for (name, end), count in sorted(self.counts.items()) if name == kind}
            print(f"{kind}: {sum(ends.values())} tried, {', '.join(f'{n} {end}' for end, n in ends.items())}")
        print(f"in all: {self.counts.total()} tried, {len(self.faults)} faults", flush=True)


@contextmanager
def swapping(run: Path, name: str | None, out: Path) -> Iterator[None]:
    """Turns a file or folder into a link out and back again, all the time."""
    if name is None:
        yield
        return
    end, path = threading.Event(), run / name
    link, hidden = path.with_name("swapped"), path.with_name("hidden")
    link.symlink_to(out if path.is_dir() else out / "file")

    def swap() -> None:
        while not end.is_set():
            for old, new in ((path, hidden), (link, path), (path, link), (hidden, path)):
                try:
                    os.rename(old, new)
                except OSError:  # what the command has just replaced
                    shutil.rmtree(hidden, ignore_errors=True)

    thread = threading.Thread(target=swap, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


@pytest.fixture(scope="module", params=[*TASKS, *MORE])
def task(request: pytest.FixtureRequest, scale: int) -> str:
    if not scale and request.param != TASKS[0]:
        pytest.skip("in the long form")
    return request.param


@pytest.fixture(scope="module")
def run(server: Server, tmp_path_factory: pytest.TempPathFactory, task: str) -> Path:
    place = tmp_path_factory.mktemp("walk")
    few = ["trainer.max_steps=2", "trainer.eval_every=1", "trainer.save_every=null", "trainer.accumulate=1"]
    argv = [*{word.partition("=")[0]: word for word in [*words(task, place / task), *few]}.values()]
    code, told = server.run(argv, place)
    assert code == 0, told
    return place / task


@pytest.fixture
def walk(server: Server, tmp_path: Path) -> Walk:
    return Walk(server, tmp_path)


def commands(walk: Walk, task: str) -> dict[str, list[str]]:
    (walk.place / "in.txt").write_text(INPUT[task])
    run = walk.place / "run"
    return {
        "predict": ["mode=predict", f"checkpoint={run}", "input=in.txt", "format=jsonl", *DEVICE],
        "resume": [f"resume={run}", "trainer.max_steps=3", *DEVICE],
    }


def unspoiled(walk: Walk, run: Path, commands: dict[str, list[str]]) -> None:
    """What the commands take where nothing is wrong, which is what they are measured by."""
    for argv in commands.values():
        (walk.place / "out").mkdir(exist_ok=True)
        shutil.rmtree(walk.place / "run", ignore_errors=True)
        shutil.copytree(run, walk.place / "run")
        process = walk.server.start(argv, walk.place)
        code, seconds, memory = process.measure()
        assert code == 0, process.told
        assert memory < MIB
        walk.allowed = max(walk.allowed, seconds)


def sample(cases: list[Any], scale: int, few: int) -> list[Any]:
    """All cases, or a few of them, from everywhere."""
    return cases if scale else cases[:: -(-len(cases) // few) or 1]


def test_a_run_folder(walk: Walk, task: str, run: Path, scale: int) -> None:
    made = commands(walk, task)
    unspoiled(walk, run, made)
    cases = list(hostile.of_a_run(run, common=task == TASKS[0]))
    for number, case in enumerate(sample(cases, scale, 10)):
        resumed = number % (2 if "training" in case.name else 5) == 0
        walk.run(case, run, made["resume" if resumed else "predict"])
        if scale and case.kind.startswith("file"):
            walk.run(case, run, made["predict" if resumed else "resume"])
        if number % 50 == 49:
            walk.tell()
    names = sorted(str(path.relative_to(run)) for path in run.rglob("*")) if task == TASKS[0] else []
    for number, name in enumerate(sample(names, scale, 2)):
        walk.run(Case("swapped", name, lambda run, out: None), run, made["resume" if number % 2 else "predict"], name)
    walk.report()


class Kept(list[Any]):
    """Records whose ids are kept in the cache."""

    key, large = "content", True


def test_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: int) -> None:
    """Whatever lies in it, the ids are right, or the cache is refused."""
    monkeypatch.setenv("SEQTRAIN_CACHE", str(tmp_path / "cache"))
    walk, records = Walk(None, tmp_path), Kept([Pair("a b c", "x"), Pair("c", "z")])
    options = {"unit": "word", "lowercase": False, "nfc": False, "min_count": 1, "vocab_size": 300}

    def ids() -> list[int]:
        tokenizer = fitted(Column(records, "source"), options)
        found = tokenized(Column(records, "source"), tokenizer, [], [END], 3)
        return [*found.values.tolist(), *found.lengths.tolist()]

    right = ids()
    names = [path.relative_to(tmp_path) for path in (tmp_path / "cache").rglob("*")]  # itself it may be a link
    for name, kind in sample([*product(sorted(names), hostile.FILES)], scale, 20):
        assert ids() == right
        before = walk.outside()
        hostile.FILES[kind](tmp_path / name, tmp_path / "out")
        try:
            ended = "used" if ids() == right else "FAULT"
        except UserError:
            ended = "refused"
            hostile.gone(tmp_path / "cache" / "prepared")
        if ended == "FAULT" or walk.seen() != before:
            walk.faults.append(f"{name}: {kind}")
        walk.counts[f"cache, {kind}", ended] += 1
    walk.report()
