"""Evaluation of a model on a split."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from seqtrain.decoding.decoder import Decoder
from seqtrain.engine.loader import Loader
from seqtrain.engine.processes import Team
from seqtrain.evaluation import metrics
from seqtrain.evaluation.metrics import Totals
from seqtrain.machine.signals import Interruption
from seqtrain.tasks.base import Task
from seqtrain.terminal.progress import bar


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    task: Task,
    loader: Loader,
    decoder: Decoder,
    device: torch.device,
    interruption: Interruption | None = None,
    team: Team | None = None,
) -> Totals:
    """Returns the totals of a split, from which `task.score` computes metrics. They do not depend on the batches, nor
    on the number of processes. A signal interrupts only a single process: several would stop at different batches."""
    team = team or Team()
    model.eval()
    measures: list[Totals] = []
    state = None
    decoder = replace(decoder)  # a copy begins with its seed again, and so draws the same samples each time
    with bar(loader.size(), "batch", "evaluate") as progress:
        for rows, batch in zip(loader.plan(0), loader.epoch(0, team.part, device), strict=True):
            if interruption is not None and team.size == 1:
                interruption.check()
            if not batch.size:
                continue
            output = model(batch, state if batch.continues else None)
            state = output.state
            measures.append(task.measure(model, rows[team.part], batch, output, loader.examples, decoder))
            progress.update()
    return metrics.joined(team.gather(metrics.joined(measures)))
