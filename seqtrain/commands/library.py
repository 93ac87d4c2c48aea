"""`seqtrain.train`: a training as a function, for scripts and notebooks."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from seqtrain.commands import modes, run_folder, sweep_table
from seqtrain.commands import train as command
from seqtrain.commands.loaded import Loaded, load
from seqtrain.config import UserError, compose, sources
from seqtrain.config.quoting import in_hydra
from seqtrain.machine.threads import launched
from seqtrain.storage import disk


def train(overrides: str | Sequence[str] = (), folder: str | Path | None = None) -> Loaded:
    """Trains as the command line with these words does, and returns the model with its best weights.

    overrides: the words in one text, or a list of them: `"task=sentiment data.train=texts.csv"`. folder: the new run
    folder; without it, it is named as by the command. The log goes to standard output and to the folder. Raises
    `UserError` for what the command would refuse, FloatingPointError where the training diverges, and SystemExit where
    it is interrupted: it has saved its state then, and the command `seqtrain resume=FOLDER` goes on.
    """
    run_folder.register_resolvers()
    lines = shlex.split(overrides) if isinstance(overrides, str) else list(overrides)
    if folder is not None:
        lines.append(f"hydra.run.dir={in_hydra(Path(folder))}")
    composed = compose.compose(sources.Configs(), lines)
    if composed.config["mode"] != "train" or composed.config["resume"] or launched():
        raise UserError("seqtrain.train begins a new training; for all else there is the command line")
    modes.check(composed.config, sweeps=bool(composed.swept))
    if sweep_table.of_each_fold(composed.config["data"], composed.swept, composed.config["trust"]):
        raise UserError(
            "seqtrain.train trains once, and data.folds several times: add data.fold=1, or use the command line"
        )
    if composed.swept:
        raise UserError(f"seqtrain.train trains once, and {', '.join(composed.swept)} has several values")
    with run_folder.reserved(composed.hydra, composed.overrides, "run"):
        run = Path(composed.hydra.hydra.run.dir)
        with disk.locked(run), logged(run):
            run_folder.claim(run, composed.config, composed.schema)
            command.train(composed.config | {"trust": True}, run.absolute())
    return load(run)


@contextmanager
def logged(run: Path) -> Iterator[None]:
    """Within it the log goes where the log of a command goes; then where it went before."""
    root, raises = logging.getLogger(), logging.raiseExceptions
    handlers, level = list(root.handlers), root.level
    root.handlers.clear()  # else they would be closed
    try:
        run_folder.log_to_run(run)
        yield
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers[:], logging.raiseExceptions = handlers, raises
        root.setLevel(level)
