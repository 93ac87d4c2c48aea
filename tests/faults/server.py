"""Starts real runs cheaply: a process that has imported everything once, and forks one child for each command line.

It reads a JSON object a line and answers with one. {"argv", "cwd", "log", "kill"} forks a child that runs the command
and answers its pid; with `kill` the child gets SIGKILL at its n-th operation on files inside a save. {"wait": pid}
answers its exit code, negative for a signal, the seconds of a processor and the MiB of memory that it took.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import wraps
from io import StringIO
from typing import Any

UNIT = 1 if sys.platform == "darwin" else 1024  # of a process's memory, in bytes
OPERATIONS = ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir", "open")


def child(argv: list[str], cwd: str, log: str, kill: int | None) -> int:
    from seqtrain import cli

    os.chdir(cwd)
    for number, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        os.dup2(os.open(log if number else os.devnull, flags | (os.O_CREAT | os.O_APPEND if number else 0)), number)
    if kill is not None:
        count_operations(kill)
    try:
        code = cli.main(argv)
    except BaseException:
        traceback.print_exc()
        code = 99  # what no run may end with
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def count_operations(kill: int) -> None:
    """Kills this process before its n-th operation inside a save."""
    from seqtrain.engine.checkpoint import Checkpoints

    count, saving = 0, False

    def counted(operation: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(operation)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += saving
            if saving and count == kill:
                os.kill(os.getpid(), signal.SIGKILL)
            return operation(*args, **kwargs)

        return wrapped

    save = Checkpoints.save

    def noted(*args: Any, **kwargs: Any) -> None:
        nonlocal saving
        saving = True
        save(*args, **kwargs)
        saving = False

    Checkpoints.save = noted
    for name in OPERATIONS:
        setattr(os, name, counted(getattr(os, name)))


def serve() -> None:
    import matplotlib.figure
    from torch.utils.tensorboard.writer import SummaryWriter  # noqa: F401

    import seqtrain.cli
    import seqtrain.commands.predict
    import seqtrain.commands.replay
    import seqtrain.commands.train
    import seqtrain.evaluation.plots

    for name in ("attention", "forecast", "confusion", "curves"):  # drawing takes longer than all else of a tiny run
        setattr(seqtrain.evaluation.plots, name, lambda *_, **__: matplotlib.figure.Figure(figsize=(1, 1)))
    with redirect_stdout(StringIO()):
        seqtrain.cli.main(["--cfg", "job"])  # fills the caches of Hydra's parser
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status, used = os.wait4(request["wait"], 0)
            seconds, memory = used.ru_utime + used.ru_stime, used.ru_maxrss * UNIT / 2**20
            answer = [os.waitstatus_to_exitcode(status), seconds, memory]
        elif not (answer := os.fork()):
            os._exit(child(**request))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
