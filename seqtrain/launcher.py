"""Hydra's launcher for `jobs=N`: several jobs of a sweep at the same time, each in a process of its own.

A process gets its job through its standard input, which stays open for as long as the sweep lives. What it writes is
shown behind the job's number, line by line; the objective comes back through its standard output.
"""

import logging
import math
import os
import pickle
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, Popen
from threading import Thread

from hydra import version
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, run_job
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from seqtrain import allocator, folder, sweep, threads
from seqtrain.interruption import SIGNALS, Interruption

log = logging.getLogger(__name__)
BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
PACKED = "hydra_plugins.seqtrain_launcher.Launcher"
COMMAND = "from seqtrain import launcher; launcher.work()"


class Packed(Launcher):
    """Runs `jobs` jobs at a time and shares the cores out among them."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        wanted = threads.granted() if self.config.jobs == "auto" else self.config.jobs
        abreast = min(wanted, len(job_overrides))
        share = threads.allotted(abreast)
        log.info("%d jobs, %d at a time with %d thread(s) each", len(job_overrides), abreast, share)
        waiting, running = deque(enumerate(job_overrides, initial_job_idx)), list[Job]()
        ended: dict[int, JobReturn] = {}
        stopped = False
        with Interruption() as interruption, interruption.held():
            try:
                while running or (waiting and not stopped):
                    while waiting and len(running) < abreast and not interruption.signal:
                        running.append(self.start(*waiting.popleft(), share))
                    if interruption.signal and not stopped:
                        stopped = True
                        for job in running:
                            job.process.send_signal(interruption.signal)
                    time.sleep(0.05)
                    for job in [job for job in running if job.ended()]:
                        running.remove(job)
                        ended[job.number] = job.result()
            except KeyboardInterrupt:  # asked a second time
                for job in running:
                    job.process.send_signal(signal.SIGINT)
                raise
            finally:
                for job in running:
                    job.abandon()
        interruption.check()
        return [ended[number] for number in sorted(ended)]

    def start(self, number: int, overrides: Sequence[str], share: int) -> "Job":
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        HydraConfig.instance().set_config(config)  # the name of a folder may ask for it
        place = Path(config.hydra.sweep.dir, config.hydra.sweep.subdir)
        place.mkdir(parents=True, exist_ok=True)
        sweep.begin(place, list(config.hydra.overrides.task))  # it is in the table even if its process never gets there
        log.info("[%d] %s", number, " ".join(filter_overrides(overrides)))
        return Job(number, list(overrides), pickle.dumps((self.hydra_context, self.task_function, config)), share)


class Job:
    """One job in its process. Signals reach it through the sweep only: a Ctrl-C that it got twice would not let it save
    its state."""

    def __init__(self, number: int, overrides: list[str], word: bytes, share: int):
        self.number, self.overrides = number, overrides
        own = threads.environment(share) | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until the new process can heed them
        try:
            command = [sys.executable, "-P", "-c", COMMAND]  # -P: what lies in the current folder is no module
            self.process = Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=os.environ | own, process_group=0)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.teller = Thread(target=self.tell, args=(word,), daemon=True)
        self.teller.start()

    def tell(self, word: bytes) -> None:
        """Hands over the job, then shows what its process writes."""
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        with suppress(BrokenPipeError):  # it has died already
            self.process.stdin.write(word)
            self.process.stdin.flush()
        for line in self.process.stderr:
            shown = line.decode(errors="replace").rstrip().rpartition("\r")[2]  # of a download's bar, how it ended
            log.info("[%d] %s", self.number, shown)

    def ended(self) -> bool:
        """Whether the process, and all that it has started, have ended."""
        return self.process.poll() is not None and not self.teller.is_alive()

    def result(self) -> JobReturn:
        """What the sweeper gets; the worst objective where the process has died."""
        assert self.process.stdout is not None
        with self.process:
            told = self.process.stdout.read()
        if (code := self.process.returncode) < 0:
            log.error("[%d] killed by signal %d", self.number, -code)
        done = JobReturn(overrides=self.overrides, status=JobStatus.COMPLETED)
        done.return_value = float(told) if told else math.inf
        return done

    def abandon(self) -> None:
        """Lets the process save its state and end: it finds its standard input closed."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()


def work() -> None:
    """What the process of a job does."""
    allocator.keep_memory()
    objective = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever is printed is to be shown
    logging.raiseExceptions = False  # a sweep that has gone shows nothing any more
    version.setbase("1.3")
    folder.register_resolvers()
    Plugins.instance()  # Hydra reads configurations by them
    context, task, config = pickle.load(sys.stdin.buffer)
    with Interruption(), objective:
        Thread(target=end_with_the_sweep, daemon=True).start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        done = run_job(task, config, "hydra.sweep.dir", "hydra.sweep.subdir", context)
        objective.write(repr(done.return_value))


def end_with_the_sweep() -> None:
    """Stops this process as soon as the sweep, which holds the other end of its standard input, has gone."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
