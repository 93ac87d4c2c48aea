"""The sweeper of hydra/sweeper=optuna: it asks a study for settings, has a launcher train them, and tells the study how
good they are. What is known is in the folder of the sweep, so that a killed one goes on."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from seqtrain.commands import sweep
from seqtrain.commands.launcher import Launcher
from seqtrain.config import UserError
from seqtrain.config.compose import Composed
from seqtrain.config.quoting import typed
from seqtrain.config.sources import Configs
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.terminal.streams import say

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from seqtrain.commands.search_space import Space

log = logging.getLogger(__name__)
OF_THE_RUN = ("parameters", "seconds")  # objectives that are no metrics
Numbered = tuple[int, list[str]]


def searches(composed: Composed) -> bool:
    return composed.hydra.hydra.sweeper._target_ == sweep.OPTUNA


def check(composed: Composed, configs: Configs, resumed: bool = False) -> None:
    """Raises `UserError` for a search that cannot work; returns at once for another sweep. resumed: its folder may be a
    stranger's."""
    if not searches(composed):
        return
    settings = read_settings(composed.hydra)
    missing = [name for name in ("optuna", "cmaes") if importlib.util.find_spec(name) is None]
    if "optuna" in missing or (settings["sampler"] == "cmaes" and missing):
        raise UserError(f"hydra/sweeper=optuna needs {missing[0]}: pip install 'seqtrain[optuna]'")
    if resumed and settings["sampler"] == "cmaes" and composed.config["trust"] is not True:
        raise UserError("resume: the study of hydra.sweeper.sampler=cmaes holds a pickle, which can run code; if you "
                        f"know the folder, add {typed('trust', True)}")  # fmt: skip
    from seqtrain.commands.search_space import CategoricalDistribution, read_space

    space = read_space([*given(settings), *composed.overrides], configs.loader)
    if settings["sampler"] == "grid":
        space.grid()
    numbers = [key for key, values in space.searched.items() if not isinstance(values, CategoricalDistribution)]
    if settings["sampler"] == "cmaes" and len(numbers) < 2:
        raise UserError(
            "hydra.sweeper.sampler=cmaes learns from two numbers or more: give settings as interval or range"
        )
    if settings["objectives"] is not None:
        directions(settings["objectives"])


def read_settings(config: DictConfig) -> dict[str, Any]:
    """Returns the settings of the section hydra.sweeper."""
    settings: Any = OmegaConf.to_container(config.hydra.sweeper, resolve=False)
    return settings | {"seed": config.hydra.sweeper.seed}  # which names that of the jobs


def given(settings: dict[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in (settings["params"] or {}).items()]


def directions(objectives: Sequence[str]) -> list[str]:
    """Returns "min" or "max" for each objective. Raises `UserError` for an unknown one."""
    from seqtrain.evaluation.metrics import METRICS

    known = {name: metric.direction for name, metric in METRICS.items()} | dict.fromkeys(OF_THE_RUN, "min")
    if len(objectives) < 2:
        raise UserError("hydra.sweeper.objectives: give two or more; without it the monitor is the only one")
    for name in objectives:
        if name not in known:
            raise UserError(f"hydra.sweeper.objectives: there is no metric {name}{did_you_mean(near(name, known))}")
    return [known[name] for name in objectives]


class OptunaSweeper(Sweeper):
    """settings: those of configs/hydra/sweeper/optuna.yaml."""

    def __init__(self, **settings: Any):
        self.settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hydra.core.plugins import Plugins

        self.config, self.loader = config, hydra_context.config_loader
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        try:
            self.search(arguments)
        except UserError as error:  # Hydra would show where it was raised
            say(f"seqtrain: {error}")
            raise SystemExit(2) from None

    def search(self, arguments: list[str]) -> None:
        from seqtrain.commands.search_space import read_space

        assert self.config is not None
        assert self.launcher is not None
        settings = read_settings(self.config)
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        monitor = self.config.task.get("monitor")
        search = Search(folder, settings, read_space([*given(settings), *arguments], self.loader), monitor)
        if isinstance(self.launcher, Launcher):
            self.launcher.run(search.jobs(), search.size, search.tell)
            return
        for batch in batches(search.jobs(), settings["batch"]):
            self.launcher.launch([overrides for _, overrides in batch], initial_job_idx=batch[0][0])
            for number, _ in batch:
                search.tell(number)


def batches(jobs: Iterator[Numbered], size: int) -> Iterator[list[Numbered]]:
    """Yields at most `size` jobs at a time, whose numbers follow each other, as Hydra's launchers take them. The next
    job is asked for when those before have been told."""
    waiting: list[Numbered] = []
    while waiting := waiting or [*islice(jobs, size)]:
        gap = next((i for i in range(1, len(waiting)) if waiting[i][0] != waiting[i - 1][0] + 1), len(waiting))
        yield waiting[:gap]
        waiting = waiting[gap:]


class Search:
    """The jobs of a search. Setting t of the study, with repeat r of k, is job k t + r of the sweep."""

    def __init__(self, folder: Path, settings: dict[str, Any], space: Space, monitor: str | None):
        from seqtrain.commands import study
        from seqtrain.evaluation.metrics import METRICS

        self.folder, self.space, self.objectives = folder, space, settings["objectives"]
        self.repeats, self.wanted = len(space.repeats), settings["n_trials"]
        if settings["sampler"] in ("grid", "tpe", "random"):
            self.wanted = int(min(self.wanted, space.combinations()))
        pruner = ["none" if self.objectives else settings["pruner"], settings["min_evaluations"], settings["reduction"]]
        ways = (
            directions(self.objectives)
            if self.objectives
            else [METRICS[monitor].direction if monitor in METRICS else "max"]
        )
        study.begin(folder, ways, {"pruner": pruner, "repeats": self.repeats})
        made = len(study.Study(folder).trials)
        self.study = study.Study(folder, study.make_sampler(settings, space, made), study.make_pruner(*pruner))
        for trial in self.study.trials:
            if not trial.distributions.items() <= space.searched.items():
                raise UserError(f"{self.study.file}: damaged (it is of another search)")
            if trial.distributions != space.searched:  # the sweep was killed while it drew them
                self.study.draw(trial, space)

    @property
    def size(self) -> int:
        return self.wanted * self.repeats

    def jobs(self) -> Iterator[Numbered]:
        """Yields number and overrides of each job: first those that have begun before and not ended, then new ones."""
        for trial in self.study.trials:
            self.tell(trial.number * self.repeats)
        begun = self.study.trials
        if ended := sweep.ended(self.folder):
            log.info("%d of %d jobs have ended before", len(ended), self.size)
        for trial in begun:
            yield from self.of_trial(trial, ended)
        for _ in range(len(begun), self.wanted):
            self.study.ask(self.space)
            yield from self.of_trial(self.study.trials[-1], ended)

    def of_trial(self, trial: FrozenTrial, ended: set[int]) -> Iterator[Numbered]:
        """Yields the jobs of a setting that have not ended. Where one of them was stopped the others need not begin."""
        for repeat in range(self.repeats):
            number = trial.number * self.repeats + repeat
            rows = self.rows(trial.number)
            stopped = any(row["status"] in ("pruned", "diverged") for row in rows.values())
            open_yet = not stopped and not trial.state.is_finished()
            if number not in ended and (number in rows or open_yet):
                yield number, self.space.overrides(trial.params, repeat)

    def rows(self, trial: int) -> dict[int, sweep.Row]:
        """Returns the records of the jobs of a setting that have begun, by number."""
        rows = {row["number"]: row for row in sweep.gather(self.folder) if "number" in row}
        return {n: row for n in range(trial * self.repeats, (trial + 1) * self.repeats) if (row := rows.get(n))}

    def tell(self, number: int) -> None:
        """Tells the study how good a setting is once its jobs have ended: the mean of their results. One that was
        pruned or diverged makes its setting a pruned one; a job that failed leaves it open."""
        from optuna.trial import TrialState

        trial = self.study.trials[number // self.repeats]
        if trial.state != TrialState.RUNNING:
            return
        rows = list(self.rows(trial.number).values())
        if any(row["status"] in ("pruned", "diverged") for row in rows):
            self.study.study.tell(trial.number, state=TrialState.PRUNED)
        elif len(rows) == self.repeats and all(row["status"] == "done" for row in rows):
            found = [self.values(row) for row in rows]
            self.study.study.tell(trial.number, [sum(each) / len(each) for each in zip(*found, strict=True)])

    def values(self, row: sweep.Row) -> list[float]:
        """Returns the objectives of a job that is done."""
        if not self.objectives:
            return [self.study.sign(row["direction"]) * row["value"]]
        found = sweep.metrics(Path(row["run"]))
        known = {**found["valid"], "parameters": found["parameters"], "seconds": found["speed"]["seconds"]}
        for name in self.objectives:
            if name not in known:
                there = ", ".join(known)
                raise UserError(f"hydra.sweeper.objectives: {name} is no metric of this task; there are: {there}")
        return [known[name] for name in self.objectives]
