"""What Optuna knows of a search, in a file in the folder of its sweep: the sweep asks for settings and tells results,
and each job tells its evaluations and asks whether to stop.

Samplers: Bergstra et al. (2011) for TPE, Hansen (2016) for CMA-ES, Deb et al. (2002) for NSGA-II. Pruners: Li et al.
(2020) for ASHA, Li et al. (2018) for Hyperband. Importance: Watanabe et al. (2023), PED-ANOVA.
"""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
import warnings
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna import pruners, samplers
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from seqtrain.commands.search_space import Space
from seqtrain.commands.sweep import STUDY
from seqtrain.config import UserError, in_brief
from seqtrain.storage.disk import Folder

log = logging.getLogger(__name__)
NAME = "sweep"
FEWEST = 4  # jobs that are done, from which importance is computed
DISTINCT = (samplers.TPESampler, samplers.RandomSampler)  # whose settings of a finite space differ from each other
DRAWS = 20  # until all that are left are listed
OF_MEDIAN = 4  # jobs that are done, with which others are compared
optuna.logging.set_verbosity(optuna.logging.ERROR)


class Lock:
    """A lock that the system releases however the process ends."""

    def __init__(self, file: str):
        self.file = file
        self.descriptor = -1

    def acquire(self) -> bool:
        self.descriptor = os.open(self.file, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        os.close(self.descriptor)


class Study:
    """The study of a sweep. Its file may be a stranger's: raises `UserError` where it is damaged."""

    def __init__(self, folder: Path, sampler: Any = None, pruner: Any = None):
        self.file = folder / STUDY
        with self.reading():
            Folder(folder).open(STUDY).close()  # raises where it is a link
            self.study = optuna.load_study(study_name=NAME, storage=storage(folder), sampler=sampler, pruner=pruner)

    @contextmanager
    def reading(self) -> Any:
        """Raises `UserError` for any exception of a `with` block: a damaged file makes Optuna raise any kind."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{self.file}: damaged ({type(error).__name__}: {in_brief(error)})") from error

    @property
    def trials(self) -> list[FrozenTrial]:
        with self.reading():
            return self.study.get_trials(deepcopy=False)

    def ask(self, space: Space) -> None:
        """Begins the next setting. Of a finite space TPE and random search would draw some more than once, while others
        were never tried: theirs are drawn again until they are new."""
        known = [trial.params for trial in self.trials]
        with self.reading():
            if not isinstance(self.study.sampler, DISTINCT) or space.combinations() <= len(known):
                self.study.ask(space.searched)
                return
            drafts = optuna.create_study(directions=self.study.directions, sampler=self.study.sampler)
            drafts.add_trials(self.trials)
            params: dict[str, Any] = {}
            for _ in range(DRAWS):
                draft = drafts.ask(space.searched)
                params = draft.params
                if params not in known:
                    break
                drafts.tell(draft, state=TrialState.FAIL)  # which samplers leave out
            else:
                grid = space.grid()
                new = (dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values()))
                left = [setting for setting in new if setting not in known]
                params = left[int(np.random.default_rng(len(known)).integers(len(left)))] if left else params
            begun = {"params": params, "distributions": space.searched}
            self.study.add_trial(optuna.trial.create_trial(state=TrialState.RUNNING, **begun))

    def draw(self, trial: FrozenTrial, space: Space) -> None:
        """Draws the values that a setting lacks."""
        with self.reading():
            drawn = optuna.Trial(self.study, trial._trial_id)
            for key, distribution in space.searched.items():
                drawn._suggest(key, distribution)

    def attribute(self, name: str) -> Any:
        return self.study.user_attrs.get(name)

    def sign(self, direction: str, objective: int = 0) -> int:
        """Returns -1 where a metric is better in another direction than the study was begun with: the task could
        settle its monitor only when it saw the data."""
        larger = self.study.directions[objective] == StudyDirection.MAXIMIZE
        return 1 if larger == (direction == "max") else -1

    def importance(self) -> dict[str, float]:
        """Returns the share of each key in how good the jobs are that are done; empty where there are too few."""
        done = [trial for trial in self.trials if trial.state == TrialState.COMPLETE]
        keys = {key for trial in done for key in trial.params}
        if len(done) < FEWEST or len(keys) < 2 or len({trial.values[0] for trial in done}) < 2:
            return {}
        sign = -1 if self.study.directions[0] == StudyDirection.MAXIMIZE else 1
        target = (lambda trial: sign * trial.values[0]) if len(self.study.directions) > 1 else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the target is to be minimized
            with suppress(ValueError, RuntimeError):
                return get_param_importances(self.study, evaluator=PedAnovaImportanceEvaluator(), target=target)
        return {}


def storage(folder: Path) -> JournalStorage:
    file = str(folder / STUDY)
    lock: Any = Lock(file)
    return JournalStorage(JournalFileBackend(file, lock))


def begin(folder: Path, directions: Sequence[str], attributes: dict[str, Any]) -> None:
    """Makes the study of a new sweep, or mends that of one which was killed while it wrote a line. directions: "min" or
    "max" of each objective."""
    file = folder / STUDY
    if not Folder(folder).has(STUDY):
        words: Any = ["maximize" if direction == "max" else "minimize" for direction in directions]
        study = optuna.create_study(study_name=NAME, storage=storage(folder), directions=words)
        for name, value in attributes.items():
            study.set_user_attr(name, value)
    Folder(folder).open(STUDY).close()  # raises where it is a link
    lock = Lock(str(file))
    lock.acquire()
    try:
        content = Folder(folder).read(STUDY)
        os.truncate(lock.descriptor, content.rfind(b"\n") + 1)
    finally:
        lock.release()


class Grid(samplers.GridSampler):
    """All combinations in random order."""

    def after_trial(self, study: Any, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Does not stop `Study.optimize` after the last one: it is not used here."""


def make_sampler(settings: dict[str, Any], space: Space, made: int) -> samplers.BaseSampler:
    """Makes a sampler. made: how many settings the study has: one that goes on must not draw the same again."""
    seed = int(np.random.SeedSequence([settings["seed"], made]).generate_state(1)[0])
    startup = settings["startup"]
    match settings["sampler"]:
        case "tpe":
            return samplers.TPESampler(n_startup_trials=startup, seed=seed)
        case "cmaes":
            return samplers.CmaEsSampler(n_startup_trials=max(startup, 1), seed=seed, warn_independent_sampling=False)
        case "grid":
            return Grid(space.grid(), seed=settings["seed"])
        case "nsga2":
            return samplers.NSGAIISampler(population_size=max(startup, 2), seed=seed)
        case _:
            return samplers.RandomSampler(seed=seed)


def make_pruner(name: str, min_evaluations: int, reduction: int) -> pruners.BasePruner:
    match name:
        case "median":
            return pruners.MedianPruner(n_startup_trials=OF_MEDIAN, n_warmup_steps=min_evaluations)
        case "asha":
            return pruners.SuccessiveHalvingPruner(min_resource=min_evaluations, reduction_factor=reduction)
        case "hyperband":
            return pruners.HyperbandPruner(min_resource=min_evaluations, reduction_factor=reduction)
        case _:
            return pruners.NopPruner()


@dataclass
class Judge:
    """Tells a job whether to stop. It is asked with the monitor of all evaluations so far; a failure costs the pruning
    only."""

    folder: Path  # of the sweep
    number: int  # of the job
    failed: bool = False

    @classmethod
    def of(cls, folder: Path, number: int) -> Judge | None:
        """None where the sweep stops no jobs, or only another job of the same setting."""
        study = Study(folder)
        pruned = study.attribute("pruner")[0] != "none" and number % study.attribute("repeats") == 0
        return cls(folder, number) if pruned else None

    def __call__(self, values: Sequence[float], direction: str) -> bool:
        try:
            return not self.failed and self.asked(values, direction)
        except Exception as error:
            self.failed = True
            log.warning("%s cannot be asked whether to stop (%s); the run goes on", self.folder / STUDY, error)
            return False

    def asked(self, values: Sequence[float], direction: str) -> bool:
        study = Study(self.folder)
        study.study.pruner = make_pruner(*study.attribute("pruner"))
        trial = study.trials[self.number // study.attribute("repeats")]
        if trial.state != TrialState.RUNNING:
            return False
        sign, known = study.sign(direction), trial.intermediate_values
        for step, value in enumerate(values, 1):
            if step not in known:
                study.study._storage.set_trial_intermediate_value(trial._trial_id, step, sign * value)
        trial = study.study._storage.get_trial(trial._trial_id)
        return bool(study.study.pruner.prune(study.study, trial))
