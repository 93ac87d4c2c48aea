"""Trackers of other projects, which keep settings and metrics of runs beside TensorBoard. Each keeps them on this
machine, unless its own environment variables name a server."""

from __future__ import annotations

import importlib.util
import logging
import os
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from seqtrain.config import UserError

log = logging.getLogger(__name__)
PROJECT = "seqtrain"
Values = Mapping[str, float]


class Tracker(ABC):
    """Keeps one run. folder: its run folder, whose name is that of the run; a run that is resumed goes on there.
    settings: by dotted names."""

    @abstractmethod
    def __init__(self, folder: Path, settings: Mapping[str, Any]): ...

    @abstractmethod
    def log(self, step: int, values: Values) -> None: ...

    @abstractmethod
    def close(self, finished: bool) -> None:
        """finished: whether the run has ended, or may go on later."""


class Mlflow(Tracker):
    """MLflow, in `mlflow.db` of the current folder, or where MLFLOW_TRACKING_URI says; the experiment is `seqtrain`, or
    what MLFLOW_EXPERIMENT_NAME says."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]):
        from mlflow import MlflowClient
        from mlflow.entities import Param

        for library in ("mlflow", "alembic"):  # they tell how they make their database
            logging.getLogger(library).setLevel(logging.WARNING)
        self.client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / 'mlflow.db'}")
        name, tags = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT), {"seqtrain.folder": str(folder.absolute())}
        experiment = self.client.get_experiment_by_name(name)
        place = experiment.experiment_id if experiment else self.client.create_experiment(name)
        found = self.client.search_runs([place], f"tags.`seqtrain.folder` = {quoted(tags['seqtrain.folder'])}")
        run = found[0] if found else self.client.create_run(place, run_name=folder.name, tags=tags)
        self.run = run.info.run_id
        self.client.set_terminated(self.run, "RUNNING")
        new = {key: str(value) for key, value in settings.items() if key not in run.data.params}
        self.client.log_batch(self.run, params=[Param(key, value) for key, value in new.items()])

    def log(self, step: int, values: Values) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(self.run, metrics=[Metric(key, value, now, step) for key, value in values.items()])

    def close(self, finished: bool) -> None:
        self.client.set_terminated(self.run, "FINISHED" if finished else "KILLED")


def quoted(text: str) -> str:
    """A text in a filter of MLflow, which has no escapes: a text with both kinds of quotation marks fails."""
    return f'"{text}"' if "'" in text else f"'{text}'"


class Wandb(Tracker):
    """Weights & Biases, in the folder `wandb`; with WANDB_MODE=online, or later by `wandb sync`, at its server."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]):
        import wandb  # pyright: ignore[reportMissingImports]

        mode: Any = os.environ.get("WANDB_MODE", "offline")
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        options = wandb.Settings(silent=True, disable_git=True, console="off")
        name = folder.absolute().name
        self.run = wandb.init(
            project=project, name=name, id=name, resume="allow", config=dict(settings), mode=mode, settings=options
        )

    def log(self, step: int, values: Values) -> None:
        self.run.log(dict(values) | {"step": step})

    def close(self, finished: bool) -> None:
        self.run.finish(exit_code=int(not finished))


class Trackio(Tracker):
    """Trackio, in its folder below ~/.cache/huggingface, or that of TRACKIO_DIR."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]):
        import trackio  # pyright: ignore[reportMissingImports]

        name = folder.absolute().name
        self.run = trackio.init(project=PROJECT, name=name, config=dict(settings), resume="allow", embed=False)

    def log(self, step: int, values: Values) -> None:
        self.run.log(dict(values), step=step)

    def close(self, finished: bool) -> None:
        self.run.finish()


TRACKERS: dict[str, type[Tracker]] = {"mlflow": Mlflow, "wandb": Wandb, "trackio": Trackio}


def check_tracker(name: str) -> None:
    """Raises UserError where the package of a tracker is missing. name: the tracker, or "none"."""
    if name in TRACKERS and importlib.util.find_spec(name) is None:
        raise UserError(f"tracker={name} needs {name}: pip install 'seqtrain[{name}]'")


class Tracking:
    """What a run tells its tracker, if it has one. A failure of the tracker ends the tracking, never the run.

    name: the tracker, or "none". The other arguments are those of `Tracker`.
    """

    def __init__(self, name: str, folder: Path, settings: Mapping[str, Any]):
        self.name, self.folder, self.settings = name, folder, settings

    @cached_property
    def tracker(self) -> Tracker | None:
        """Opened when there is something to log; None after a failure, and after the end."""
        return TRACKERS[self.name](self.folder, self.settings) if self.name in TRACKERS else None

    @contextmanager
    def ending_on_failure(self) -> Iterator[None]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what others write a user of ours can do nothing about
                yield
        except Exception as error:
            log.warning("tracker=%s cannot record any more (%s); the run goes on", self.name, error)
            self.tracker = None

    def log(self, step: int, values: Values) -> None:
        with self.ending_on_failure():
            if self.tracker:
                self.tracker.log(step, values)

    def close(self, finished: bool) -> None:
        with self.ending_on_failure():
            if tracker := vars(self).get("tracker"):  # it has been opened
                tracker.close(finished)
            self.tracker = None
