"""The state of one training: the objects that it works on, and its progress. Checkpoints save and restore it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from seqtrain.config.json_values import make
from seqtrain.contract import Batch, State
from seqtrain.decoding.decoder import Decoder
from seqtrain.engine import optimizer
from seqtrain.engine.average import Average
from seqtrain.engine.checkpoint import Checkpoint, Checkpoints, put_weights, random_state, set_random_state, weights_of
from seqtrain.engine.loader import Loader
from seqtrain.engine.objective import Objective, Parallel
from seqtrain.engine.processes import Team
from seqtrain.engine.recorder import Recorder
from seqtrain.engine.sharding import Sharded, collected
from seqtrain.engine.streaming import Streaming, joined
from seqtrain.machine.kernels import Kernels
from seqtrain.machine.signals import Interruption, Pruned
from seqtrain.tasks.base import Task
from seqtrain.trees import map_tensors, weave


@dataclass
class Progress:
    """The progress of a training.

    position: batches of the epoch that were trained on. best: the monitor (times its sign) and the negative loss of the
    best evaluation. stale: evaluations since then. items: target items trained on. seconds: time without evaluations.
    padding, positions: positions that were padding, and all positions. skipped: bad steps that were skipped. bound:
    positions of the largest batch that fits in memory; None: not known yet. first_loss: the loss of the first step.
    losses: the summed loss and the count of items since the last evaluation. curve: the metrics of each evaluation.
    """

    step: int = 0
    epoch: int = 0
    position: int = 0
    best: list[float] | None = None
    stale: int = 0
    items: int = 0
    padding: int = 0
    positions: int = 0
    seconds: float = 0.0
    skipped: int = 0
    bound: int | None = None
    first_loss: float | None = None
    losses: list[float] = field(default_factory=lambda: [0.0, 0.0])
    curve: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def read(cls, training: dict[str, Any]) -> Progress:
        """Reads the progress in a checkpoint. Raises an exception for values that no training produces."""
        progress = make(cls, training["progress"])
        if progress.bound == 0 or not math.isfinite(progress.seconds):
            raise ValueError("progress: wrong bound or seconds")
        if len(progress.losses) != 2 or not all(map(math.isfinite, progress.losses)):
            raise ValueError("progress: wrong losses")
        return progress

    def count(self, items: int, padding: int, positions: int) -> None:
        self.items += items
        self.padding += padding
        self.positions += positions

    def speed(self) -> dict[str, float]:
        """Returns target items per second, and the share of positions that were padding."""
        share = self.padding / max(self.positions, 1)
        return {"items_per_s": self.items / max(self.seconds, 1e-9), "padding_share": share}


@dataclass
class Job:
    """The objects that one training works on."""

    task: Task
    model: nn.Module
    kernels: Kernels
    objective: Objective | Parallel | Sharded  # of the model
    optimizer: torch.optim.Optimizer
    schedule: Any
    average: Average
    train: Loader | Streaming
    valid: Loader
    decoder: Decoder
    device: torch.device
    recorder: Recorder
    checkpoints: Checkpoints
    progress: Progress = field(default_factory=Progress)
    carried: State = None  # the model's state after the last batch, of this process's rows, if the next continues it
    gradient_norm: Tensor | float = math.nan  # of the last update, before it was clipped
    team: Team = field(default_factory=Team)
    interruption: Interruption = field(default_factory=Interruption)
    data: str = ""  # the fingerprint of the data
    judge: Callable[[list[float], str], bool] | None = None  # of a search: whether to stop, by the monitor so far

    def join(self, team: Team, gradients: str, shard: bool) -> None:
        """Makes this process one of several that train together. gradients: see `Parallel`. shard: whether they share
        out the weights; then the optimizer's state has to be restored."""
        self.team = team
        self.train.join(team)
        assert isinstance(self.objective, Objective)
        if not shard:
            self.objective = Parallel(self.objective, gradients)
            return
        before = list(self.model.parameters())
        self.objective = Sharded(self.objective, gradients, self.device, lambda: self.train.example().to(self.device))
        shards = dict(zip(before, self.model.parameters(), strict=True))
        optimizer.share_out(self.optimizer, shards)
        self.average = Average(self.model, self.average.ema, self.average.last)

    def whole(self) -> AbstractContextManager[None]:
        """A `with` block in which this process can use the model alone."""
        return self.objective.whole() if isinstance(self.objective, Sharded) else nullcontext()

    def batches(self) -> Iterator[Batch]:
        """Yields all batches from the present position on, with the rows of this process."""
        return self.train.stream(self.progress.epoch, self.progress.position, self.team.part, self.device)

    def advance(self, batches: int) -> None:
        """Updates the progress after an update of the weights. batches: how many it was made of."""
        progress = self.progress
        progress.step += 1
        progress.position += batches
        if self.train.advance(progress.epoch, progress.position):
            progress.epoch, progress.position, self.carried = progress.epoch + 1, 0, None

    def check_judge(self) -> None:
        """Raises `Pruned` in all processes where the search stops this job after an evaluation."""
        values = [point[self.task.monitor] for point in self.progress.curve]
        if self.team.share(self.judge is not None and self.judge(values, self.task.direction)):
            raise Pruned(self.task.monitor, self.task.direction, values[-1])

    def save(self, best: bool = False) -> None:
        """Saves a checkpoint of this step. best: whether its evaluation was the best so far."""
        self.recorder.flush()
        checkpoint = self.checkpoint()
        self.team.lead(lambda: self.checkpoints.save(self.progress.step, checkpoint, best))

    def checkpoint(self) -> Checkpoint:
        """Collects the state of all processes. The random states of all but the first are under "others"."""
        own = {"carried": map_tensors(Tensor.cpu, self.carried), "shards": self.train.state()}
        states = self.team.gather({**own, **random_state(self.device)})
        first = self.team.rank == 0
        with self.average.applied():
            weights = map_tensors(lambda weight: weight.cpu().clone(), collected(weights_of(self.model), first))
        training = {
            "weights": weights_of(self.model),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state(),
            "average": self.average.state(),
            "progress": asdict(self.progress),
            **states[0],
            "carried": weave([state.pop("carried") for state in states]),
            "shards": joined([state.pop("shards") for state in states]),
            "others": states[1:],
            "kernels": self.kernels.state(),
            "data": self.data,
        }
        return Checkpoint(weights, collected(training, first), self.task.state())

    def restore(self, checkpoint: Checkpoint) -> None:
        """Restores the state of a checkpoint. Raises an exception where it does not fit this job."""
        training = checkpoint.training
        self.kernels.load_state(training.get("kernels"))
        put_weights(self.model, training["weights"])
        optimizer.load_state(self.optimizer, training["optimizer"])
        self.schedule.load_state(training["schedule"])
        self.average.load_state(training["average"])
        self.progress = Progress.read(training)
        self.train.load_state(training.get("shards"))
        if not all({"step", "seconds", "loss", self.task.monitor} <= row.keys() for row in self.progress.curve):
            raise ValueError("progress: its curve lacks metrics")
        self.carried = map_tensors(lambda tensor: tensor[self.team.part].to(self.device), training["carried"])
        if self.train.over(self.progress.epoch, self.progress.position):  # with larger batches than before
            self.progress.epoch, self.progress.position, self.carried = self.progress.epoch + 1, 0, None
        self.try_carried()
        states = [training, *training.get("others", ())]
        if self.team.rank < len(states):
            set_random_state(states[self.team.rank], self.device)
        else:  # every process draws masks of its own
            torch.manual_seed(hash((torch.initial_seed(), self.team.rank, self.progress.step)))

    def try_carried(self) -> None:
        """Runs the model on the next batch with the carried state, which raises an error where it does not fit."""
        batch = next(self.batches()) if self.carried is not None else None
        if batch and batch.continues:
            self.model.eval()
            with self.whole(), torch.inference_mode():
                if batch.size:
                    self.model(batch, self.carried)
