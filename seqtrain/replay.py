"""Replays a step whose loss or gradient was no number, and names the first layer that made it so."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seqtrain.assemble import Config, open_device, open_model
from seqtrain.batch import Batch, map_tensors
from seqtrain.checkpoint import DAMAGE, Checkpoints, number, put_weights, read, set_random_state
from seqtrain.config import UserError, build
from seqtrain.train import Trainer


def replay(cfg: Config, folder: Path) -> None:
    """Takes the last bad step of a run again, with the weights, batch and random numbers it had, and prints where the
    first number that is none arose."""
    checkpoints = Checkpoints(folder)
    found = list(checkpoints.folder.glob("bad-step-*"))
    if not found:
        raise UserError(f"checkpoint={folder}: no step of this run went wrong, there is nothing to replay")
    try:
        training, task_state = read(found[0], folder)[1:]
    except DAMAGE as error:
        raise UserError(f"{found[0]}: damaged ({error})") from None
    step = number(Path(found[0].name.removeprefix("bad-")))[0]
    print(f"step {step}: {checkpoints.restore(partial(first_bad, cfg, training), task_state)}")


def first_bad(cfg: Config, training: dict[str, Any], task_state: dict[str, Any]) -> str:
    """What went wrong first in a step, in words."""
    device = open_device(cfg)
    task, trainer = build(cfg["task"], cfg["trust"]), build(cfg["trainer"], cfg["trust"])
    assert isinstance(trainer, Trainer)
    task.load_state(task_state)
    model = open_model(cfg, task.spec, device)
    put_weights(model, training["weights"])
    group = [Batch(**batch, rows=np.arange(len(batch["target"]))) for batch in training["batches"]]
    carried = map_tensors(lambda tensor: tensor.to(device), training["carried"])
    for name, weight in model.named_parameters():
        if not finite(weight):
            return f"the weight {name} is no number already: the update before made it so"
    for batch in group:
        for name in ("source", "inputs"):
            if (values := getattr(batch, name)) is not None and not finite(values):
                return f"the data: {name} of the batch hold a number that is none"
    model.train()
    set_random_state(training, device)
    with Watch(model) as watch:
        loss, count, _ = trainer.backward(model, task, group, carried, training["progress"]["bound"])
    value = float(loss / count.clamp(min=1))
    if (culprit := watch.forward()) is not None:
        return f"the loss is {value}; first in the output of {culprit}"
    if not finite(loss):
        return f"the loss is {value}, of scores that are numbers all: the loss itself, or the target"
    if (culprit := watch.backward()) is not None:
        return f"the loss is {value:.4g}; its gradient is no number, first in {culprit}"
    if any(parameter.grad is not None and not finite(parameter.grad) for parameter in model.parameters()):
        return f"the loss is {value:.4g}; its gradient is no number, first in the loss itself"
    return f"the loss is {value:.4g} and its gradient are numbers here: it did not happen again"


def finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


@dataclass
class Call:
    """One call of a layer: which of what went out, or of the gradients, held a number that is none."""

    name: str
    output: bool = False
    output_gradient: bool = False
    input_gradient: bool = False


class Watch:
    """Hooks on every layer of a model, for one step."""

    def __init__(self, model: nn.Module):
        self.model = model
        self.calls: list[Call] = []  # in the order in which they ended: inner layers before those they are part of
        self.last: dict[str, Call] = {}

    def __enter__(self) -> Watch:
        self.hooks = [
            layer.register_forward_hook(partial(self.note, name)) for name, layer in self.model.named_modules()
        ]
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def note(self, name: str, layer: nn.Module, inputs: Any, outputs: Any) -> None:
        call = self.last[name] = Call(name)
        self.calls.append(call)

        def came(tensor: Tensor) -> Tensor:
            watch(tensor, partial(mark, call, "input_gradient"))
            return tensor

        def went(tensor: Tensor) -> Tensor:
            call.output |= not finite(tensor)
            watch(tensor, partial(mark, call, "output_gradient"))
            return tensor

        map_tensors(came, inputs)
        map_tensors(went, outputs)

    def forward(self) -> str | None:
        """The first layer whose output held a number that is none."""
        return next((self.told(call) for call in self.calls if call.output), None)

    def backward(self) -> str | None:
        """The layer in which the gradient was lost: right where it came in, wrong where it went on, to the layer's
        input or its weights. Where layers are nested it is the inner one, and of several the last: a gradient goes
        backwards."""
        for name, parameter in self.model.named_parameters(remove_duplicate=False):
            if parameter.grad is not None and not finite(parameter.grad):
                for holder in {name.rsplit(".", n)[0] for n in range(1, name.count(".") + 1)} & self.last.keys():
                    self.last[holder].input_gradient = True
        lost = [call for call in self.calls if call.input_gradient and not call.output_gradient]
        names = {call.name for call in lost}
        inner = [call for call in lost if not any(name != call.name and within(name, call.name) for name in names)]
        return self.told(inner[-1]) if inner else None

    def told(self, call: Call) -> str:
        return f"{call.name or 'the model'} ({type(self.model.get_submodule(call.name)).__name__})"


def within(name: str, holder: str) -> bool:
    return not holder or name.startswith(f"{holder}.")


def watch(tensor: Tensor, note: Any) -> None:
    if tensor.requires_grad:
        tensor.register_hook(note)


def mark(call: Call, name: str, gradient: Tensor) -> None:
    if not finite(gradient):
        setattr(call, name, True)
