"""The launcher by which Hydra runs the jobs of a sweep: one after the other in this process, or N at a time (jobs=N).

With jobs=N each job is the ordinary command in a process of its own; its output is shown after the job's number."""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, Popen
from threading import Thread

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides
from omegaconf import open_dict
from tqdm import tqdm

from seqtrain.commands import sweep
from seqtrain.config import UserError
from seqtrain.config.compose import Composed
from seqtrain.config.quoting import in_hydra
from seqtrain.machine import threads
from seqtrain.machine.signals import PARENT, Interruption

log = logging.getLogger(__name__)
BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
OURS = "hydra_plugins.seqtrain_launcher.SeqtrainLauncher"
Numbered = tuple[int, Sequence[str]]  # a job: its number and its overrides
OF_THE_SWEEP = ("hydra.launcher", "hydra/launcher", "hydra.sweep", "hydra/sweeper", "hydra.mode", "hydra.run.dir")


def settings(composed: Composed) -> list[str]:
    """Returns the overrides that make Hydra use this launcher, and that tell it which settings all jobs share."""
    if "jobs" in composed.swept:
        raise UserError("jobs says how many jobs of the sweep run at a time: give one value")
    basic = composed.hydra.hydra.launcher._target_ == BASIC
    if composed.config["jobs"] != 1 and not basic:
        raise UserError("jobs goes with Hydra's own launcher: leave out either jobs or hydra/launcher")
    keys = [line.lstrip("+~").partition("=")[0] for line in composed.overrides]
    fixed = ",".join(key for key in keys if key not in composed.swept and not key.startswith("hydra"))
    ours = [f"hydra.launcher._target_={OURS}"] if basic else []
    return [*ours, f"hydra.job.config.override_dirname.exclude_keys=[{fixed}]"]


def heading(number: int, jobs: int, ended: int, since: float, overrides: Sequence[str]) -> str:
    """Returns a line that names a job, and estimates how long the sweep still takes from the jobs that have ended since
    the time `since`."""
    left = (time.monotonic() - since) / max(ended, 1) * (jobs - ended)
    about = f", about {tqdm.format_interval(round(left))} left" if ended else ""
    return f"job {number + 1} of {jobs}{about}: {' '.join(filter_overrides(overrides))}"


class Launcher(BasicLauncher):
    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        assert self.config is not None
        jobs = initial_job_idx + len(job_overrides)
        numbered = list(enumerate(job_overrides, initial_job_idx))
        if before := sweep.ended(Path(self.config.hydra.sweep.dir)) & {number for number, _ in numbered}:
            configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
            log.info("%d of %d jobs have ended before", len(before), jobs)
            numbered = [(number, overrides) for number, overrides in numbered if number not in before]
        if not numbered:
            return []
        done = self.run(numbered, jobs, lambda number: None)
        return [done[number] for number in sorted(done)]

    def run(self, numbered: Iterable[Numbered], jobs: int, tell: Callable[[int], None]) -> dict[int, JobReturn]:
        """Runs jobs, given with their numbers; returns what each has returned. The next job is asked for when there is
        room for it. jobs: how many the sweep has. tell: called with the number of each job that has ended."""
        assert self.config is not None
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        logging.getLogger(BasicLauncher.__module__).setLevel(logging.WARNING)  # it counts from 0, and up to 1
        if self.config.jobs != 1:
            return self.run_together(iter(numbered), jobs, tell)
        since, ended = time.monotonic(), dict[int, JobReturn]()
        for number, overrides in numbered:
            log.info("%s", heading(number, jobs, len(ended), since, overrides))
            (ended[number],) = super().launch([overrides], number)
            tell(number)
        return ended

    def run_together(
        self, numbered: Iterator[Numbered], jobs: int, tell: Callable[[int], None]
    ) -> dict[int, JobReturn]:
        """Runs several jobs at a time; each gets an equal share of the cores."""
        assert self.config is not None
        wanted = threads.granted() if self.config.jobs == "auto" else self.config.jobs
        most = min(wanted, jobs)
        share = threads.allotted(most)
        log.info("%d jobs, %d at a time with %d thread(s) each", jobs, most, share)
        since, running, all_begun = time.monotonic(), list[Job](), False
        ended: dict[int, JobReturn] = {}
        with Interruption() as interruption, interruption.held():
            try:
                while running or not (all_begun or interruption.signal):
                    while len(running) < most and not (all_begun or interruption.signal):
                        if (job := next(numbered, None)) is None:
                            all_begun = True
                            break
                        log.info("[%d] %s", job[0], heading(job[0], jobs, len(ended), since, job[1]))
                        running.append(self.start(*job, share))
                    if interruption.signal:
                        for job in running:
                            job.interrupt(interruption.signal)
                    time.sleep(0.05)
                    for job in [job for job in running if job.has_ended()]:
                        running.remove(job)
                        ended[job.number] = job.result()
                        tell(job.number)
            except KeyboardInterrupt:  # a second Ctrl-C
                for job in running:
                    job.process.send_signal(signal.SIGINT)
                raise
            finally:
                for job in running:
                    job.process.terminate()
                    job.process.wait()
        interruption.check()
        return ended

    def start(self, number: int, overrides: Sequence[str], share: int) -> "Job":
        """Starts the command of one job, in the folder that Hydra would give it."""
        assert self.hydra_context is not None
        assert self.config is not None
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        HydraConfig.instance().set_config(config)  # the name of the folder may refer to it
        hydra = config.hydra
        folder = Path(hydra.sweep.dir, hydra.sweep.subdir)
        folder.mkdir(parents=True, exist_ok=True)
        fixed = list(hydra.job.config.override_dirname.exclude_keys)
        sweep.begin(folder, list(hydra.overrides.task), fixed, number)  # now: the process might die before it does so
        config_folders = {source.provider: source.path for source in hydra.runtime.config_sources}
        flags = [f"--config-path={config_folders['main']}", f"--config-name={hydra.job.config_name}"]
        if "command-line" in config_folders:
            flags.append(f"--config-dir={config_folders['command-line']}")
        of_hydra = [line for line in hydra.overrides.hydra if not line.lstrip("+").startswith(OF_THE_SWEEP)]
        of_hydra += [f"hydra.job.num={number}", f"hydra.job.id='{number}'", f"hydra.run.dir={in_hydra(folder)}"]
        arguments = ["-m", "seqtrain", *flags, *overrides, *of_hydra, "jobs=1"]
        return Job(number, list(overrides), folder, arguments, share)


class Job:
    """One job in its own process. It is in a process group of its own, so that a Ctrl-C in the terminal reaches it only
    through the sweep, once: after a second one it could not save its state. share: the cores that it may use."""

    def __init__(self, number: int, overrides: list[str], folder: Path, arguments: list[str], share: int):
        self.number, self.overrides, self.folder = number, overrides, folder
        self.interrupted = False
        environment = {PARENT: str(os.getpid()), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.process = Popen(
            [sys.executable, "-P", *arguments],  # -P: do not import modules from the current folder
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            env=os.environ | threads.environment(share) | environment,
            process_group=0,
        )
        self.reader = Thread(target=self.show, daemon=True)
        self.reader.start()

    def show(self) -> None:
        """Shows what the process writes, line by line."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            last_state = line.decode(errors="replace").rstrip().rpartition("\r")[2]  # of a progress bar
            log.info("[%d] %s", self.number, last_state)

    def interrupt(self, number: int) -> None:
        """Lets the process save its state and end."""
        if not self.interrupted:
            self.interrupted = True
            self.process.send_signal(number)

    def has_ended(self) -> bool:
        """Whether the process, and all that it has started, have ended."""
        return self.process.poll() is not None and not self.reader.is_alive()

    def result(self) -> JobReturn:
        """Returns the result for Hydra's sweeper: the worst possible objective where the process has died."""
        with self.process:
            code = self.process.returncode
        if self.interrupted:
            sweep.interrupt(self.folder)
        elif code < 0:
            log.error("[%d] killed by signal %d", self.number, -code)
        done = JobReturn(overrides=self.overrides, status=JobStatus.COMPLETED)
        done.return_value = sweep.objective(self.folder)
        return done
