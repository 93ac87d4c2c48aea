"""Micro-batches: one thread owns the model, and answers all requests that wait together."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from threading import Condition, Thread
from typing import Any

log = logging.getLogger(__name__)
Check = Callable[[], None]  # raises `Gone` when nobody waits for an answer any more
Work = Callable[[Sequence[Any], Check], Sequence[Any]]  # the answers to inputs


class Full(Exception):
    """So many requests wait that no other may."""


class Gone(Exception):
    """Those who asked have gone, or their time is over."""


class Job:
    """A request. work: makes the answers, one for each input. key: jobs of the same key may be answered in one call of
    the work of any of them; None: this one is answered alone. gone: set when nobody waits for the result."""

    def __init__(self, work: Work, inputs: Sequence[Any], key: Hashable = None):
        self.work, self.inputs, self.key = work, inputs, key
        self.result: Future[Sequence[Any]] = Future()
        self.gone = False

    def leave(self) -> None:
        """Nobody waits any more."""
        self.gone = True
        self.result.cancel()


class Batcher:
    """A bounded queue of jobs, and the thread that answers them.

    most_waiting: jobs in the queue. most_inputs: of the jobs that are answered together. answered: is told of how many
    inputs each batch was made.
    """

    def __init__(self, most_waiting: int, most_inputs: int, answered: Callable[[int], None]):
        self.most_waiting, self.most_inputs, self.answered = most_waiting, most_inputs, answered
        self.waiting: deque[Job] = deque()
        self.changed = Condition()
        self.closed = False
        self.thread = Thread(target=self.run, name="model", daemon=True)
        self.thread.start()

    def put(self, job: Job) -> None:
        """Queues a job; raises `Full`."""
        with self.changed:
            if self.closed or len(self.waiting) >= self.most_waiting:
                raise Full
            self.waiting.append(job)
            self.changed.notify()

    def close(self) -> None:
        """Ends the thread when all that waits is answered."""
        with self.changed:
            self.closed = True
            self.changed.notify()
        self.thread.join()

    def run(self) -> None:
        while jobs := self.take():
            if jobs := [job for job in jobs if job.result.set_running_or_notify_cancel()]:
                self.answered(sum(len(job.inputs) for job in jobs))
                self.answer(jobs)

    def take(self) -> list[Job]:
        """The job that has waited longest, and those that can be answered with it. Waits for one; at the end: none."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.closed)
            if not self.waiting:
                return []
            jobs, others = [self.waiting.popleft()], deque[Job]()
            room = self.most_inputs - len(jobs[0].inputs)
            for job in self.waiting:
                joins = job.key is not None and job.key == jobs[0].key and len(job.inputs) <= room
                (jobs if joins else others).append(job)
                room -= len(job.inputs) * joins
            self.waiting = others
            return jobs

    def answer(self, jobs: list[Job]) -> None:
        """Answers jobs in one call. Where that fails, it answers each half by itself, so that a mistake in one of them
        is told to that one alone."""

        def check() -> None:
            if all(job.gone for job in jobs):
                raise Gone

        try:
            found = jobs[0].work([value for job in jobs for value in job.inputs], check)
        except Exception as error:
            if len(jobs) == 1 or isinstance(error, Gone):
                for job in jobs:
                    job.result.set_exception(error)
                return
            middle = len(jobs) // 2
            self.answer(jobs[:middle])
            self.answer(jobs[middle:])
            return
        begin = 0
        for job in jobs:
            job.result.set_result(found[begin : begin + len(job.inputs)])
            begin += len(job.inputs)
