"""Starts real runs cheaply: a process that has imported everything once, and forks one child for each command line.

It reads a JSON object a line and answers with one. {"argv", "cwd", "log", "kill"} forks a child that runs the command
and answers its pid; with `kill` the child gets SIGKILL at its n-th operation on files inside a save. {"wait": pid}
answers its exit code, negative for a signal, and how many such operations it had counted is in the child's log.
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
    from seqtrain.checkpoint import Checkpoints

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
    import statsmodels.api  # noqa: F401
    from torch.utils.tensorboard.writer import SummaryWriter  # noqa: F401

    import seqtrain.cli
    import seqtrain.plots
    import seqtrain.replay
    import seqtrain.run
    import seqtrain.use

    for name in ("attention", "forecast", "confusion"):  # drawing takes longer than all else of a tiny run
        setattr(seqtrain.plots, name, lambda *_, **__: matplotlib.figure.Figure(figsize=(1, 1)))
    with redirect_stdout(StringIO()):
        seqtrain.cli.main(["--cfg", "job"])  # fills the caches of Hydra's parser
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        elif not (answer := os.fork()):
            os._exit(child(**request))
        print(answer, flush=True)


if __name__ == "__main__":
    serve()
