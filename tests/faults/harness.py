"""What the tests of faults share: tiny runs as processes, and how two runs are compared."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from seqtrain.engine.checkpoint import Checkpoints

HERE = Path(__file__).parent
OWN = HERE.parent / "data" / "own"
WORDS = [
    *("device=cpu", "device.threads=1", "model.hidden_size=8", "model.dropout=0.3", "optimizer.lr=0.02"),
    *("trainer.batch_size=4", "trainer.max_steps=14", "trainer.eval_every=5", "trainer.save_every=2"),
    *("trainer.accumulate=2", "trainer.ema=0.9", "trainer.average=2", "trainer.log_every=1"),
    *(
        "schedule=plateau",
        "schedule.patience=0",
        "schedule.warmup_steps=0",
        "decode.max_length=8",
        "decode.beam_size=2",
    ),
]
OF_TASK = {
    "sentiment": ["data.size=24", "data.valid_size=10", "data.test_size=8", "model.embedding_size=8"],
    "translation": ["data=pairs", f"data.train={OWN / 'pairs.tsv'}", "model.embedding_size=8"],
    "generation": ["data=text", f"data.train={OWN / 'text.txt'}", "model.embedding_size=8", "task.window=8"],
    "forecasting": [
        "data.valid_share=0.02",
        "data.test_share=0.03",
        "task.context=8",
        "task.horizon=4",
        "task.period=4",
    ],
    "speech": [
        "data=recordings",
        *(f"data.{split}={OWN / 'recordings.csv'}" for split in ("train", "valid", "test")),
        "model.embedding_size=8",
    ],
    "captioning": ["data.size=12", "data.valid_size=5", "data.test_size=5", "model.embedding_size=8"],
    "tunes": ["data=abc", f"data.train={OWN / 'tunes.abc'}", "model.embedding_size=8", "task.window=16"],
    "summarization": ["data.size=24", "data.valid_size=9", "data.test_size=7", "model.embedding_size=8"],
    "tagging": ["data=tagged", f"data.train={OWN / 'tagged.conll'}", "model.embedding_size=8"],
    "music": ["data=scores", f"data.train={OWN / 'scores'}", "data.steps=2", "model.embedding_size=8"],
}
TASKS = ("sentiment", "translation", "generation", "forecasting")  # of the short form
MORE = tuple(task for task in OF_TASK if task not in TASKS)


def words(task: str, place: Path, *more: str) -> list[str]:
    """The command line of a tiny run with everything that has a state."""
    return [f"task={task}", *WORDS, *OF_TASK[task], f"hydra.run.dir={place}", *more]


class Process:
    """A command line in a process of its own, forked by the server or started afresh."""

    def __init__(self, server: "Server", argv: list[str], cwd: Path, kill: int | None, fresh: bool):
        self.log = cwd / f"log-{server.started}"
        server.started += 1
        self.server, self.process = server, None
        if fresh:
            with self.log.open("wb") as out:
                command = [sys.executable, "-m", "seqtrain", *argv]
                self.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, env=server.environment
                )
            self.pid = self.process.pid
        else:
            self.pid = server.ask(argv=argv, cwd=str(cwd), log=str(self.log), kill=kill)

    def wait(self) -> int:
        """The exit code; negative: the signal that ended it."""
        return self.process.wait() if self.process else self.measure()[0]

    def measure(self) -> tuple[int, float, float]:
        """The exit code, and the seconds of a processor and the MiB that the process took; of those of the server."""
        return self.server.ask(wait=self.pid)

    def kill(self, number: int) -> None:
        with suppress(ProcessLookupError):  # it has ended
            os.kill(self.pid, number)

    @property
    def told(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""


class Server:
    def __init__(self) -> None:
        path = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        self.environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
        self.started = 0
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self.environment,
            text=True,
            bufsize=1,
        )

    def ask(self, **request: Any) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        return json.loads(self.process.stdout.readline())

    def start(self, argv: list[str], cwd: Path, kill: int | None = None, fresh: bool = False) -> Process:
        return Process(self, argv, cwd, kill, fresh)

    def run(self, argv: list[str], cwd: Path, fresh: bool = False) -> tuple[int, str]:
        """Exit code and output of a command line."""
        process = self.start(argv, cwd, fresh=fresh)
        return process.wait(), process.told


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        assert server.process.stdin
        assert server.process.stdout
        server.process.stdin.close()
        server.process.wait()
        server.process.stdout.close()


def timeless(tree: Any) -> Any:
    """A tree of JSON without the seconds that things took."""
    if isinstance(tree, dict):
        return {key: timeless(value) for key, value in tree.items() if key not in ("seconds", "speed", "items_per_s")}
    if isinstance(tree, list):
        pair = len(tree) == 2 and tree[0] == "seconds"  # as a checkpoint keeps dictionaries
        return ["seconds", None] if pair else [timeless(item) for item in tree]
    return tree


def differences(run: Path, whole: Path) -> list[str]:
    """In what a run that was killed and resumed differs from an uninterrupted one: nothing, to the last bit."""
    found = []
    mine, other = Checkpoints(run), Checkpoints(whole)
    for pointer in ("last", "best"):
        a, b = (Path(str(each.named(pointer))) for each in (mine, other))
        if a.stem != b.stem:
            found.append(f"{pointer}: {a}, {b}")
        found += [
            f"{pointer}: {file}"
            for file in ("model.safetensors", "training.safetensors", "task.json")
            if (mine.folder / a / file).read_bytes() != (other.folder / b / file).read_bytes()
        ]
        texts = [
            json.loads((each.folder / name / "training.json").read_bytes()) for each, name in ((mine, a), (other, b))
        ]
        if timeless(texts[0]) != timeless(texts[1]):
            found.append(f"{pointer}: training.json")
    if timeless(metrics(run)) != timeless(metrics(whole)):
        found.append("metrics.json")
    if left := [path.name for folder in (run, run / "checkpoints") for path in folder.glob(".*")]:
        found.append(f"left over: {left}")
    if scalars(run) != scalars(whole):
        found.append("TensorBoard")
    return found


def metrics(run: Path) -> Any:
    return json.loads((run / "metrics.json").read_bytes())


def scalars(run: Path) -> dict[str, list[int]]:
    """The steps of every curve that TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
