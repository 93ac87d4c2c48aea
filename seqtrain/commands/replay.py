"""mode=replay: repeats a step whose loss or gradient was not finite, and names the first layer where that happened."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seqtrain.commands.assembly import Assembly, Config
from seqtrain.config import UserError
from seqtrain.contract import Batch
from seqtrain.engine import objective
from seqtrain.engine.checkpoint import DAMAGE, Checkpoint, Checkpoints, parse_name, set_random_state
from seqtrain.trees import map_tensors


def replay(cfg: Config, folder: Path) -> None:
    """Repeats the last bad step of a run, with its weights, batch and random numbers, and prints where the first value
    that is not finite comes from."""
    checkpoints = Checkpoints(folder)
    found = checkpoints.bad_steps()
    if not found:
        raise UserError(f"checkpoint={folder}: no step of this run went wrong, there is nothing to replay")
    try:
        training, task_state = checkpoints.read(found[0])[1:]
    except DAMAGE as error:
        raise UserError(f"{checkpoints.folder / found[0]}: damaged ({error})") from None
    step = parse_name(found[0].removeprefix("bad-"))[0]
    print(f"step {step}: {checkpoints.restore(partial(first_bad, cfg, folder, task_state), training)}")


def first_bad(cfg: Config, folder: Path, task_state: dict[str, Any], training: dict[str, Any]) -> str:
    """Repeats a step, and returns a sentence that says where the first value that is not finite comes from."""
    parts = Assembly(cfg, folder, Checkpoint(training["weights"], training, task_state))
    model, device, likelihood = parts.model, parts.device, parts.task.spec.likelihood
    group = [Batch(**{name: batch[name] for name in Batch._fields}) for batch in training["batches"]]
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
        training_objective = parts.trainer.objective(model, likelihood)
        loss, count, _ = objective.backward(training_objective, group, carried, training["progress"]["bound"])
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
    """One call of a layer. The flags say whether its output or one of its gradients was not finite."""

    name: str
    output: bool = False
    output_gradient: bool = False
    input_gradient: bool = False


class Watch:
    """Watches every layer of a model during one step, by hooks."""

    def __init__(self, model: nn.Module):
        self.model = model
        self.calls: list[Call] = []  # in the order in which they ended: a layer comes after its inner layers
        self.last: dict[str, Call] = {}  # the last call of each layer

    def __enter__(self) -> Watch:
        self.hooks = [
            layer.register_forward_hook(partial(self.record, name)) for name, layer in self.model.named_modules()
        ]
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def record(self, name: str, layer: nn.Module, inputs: Any, outputs: Any) -> None:
        """Records a call of a layer: a forward hook."""
        call = self.last[name] = Call(name)
        self.calls.append(call)

        def watch_input(tensor: Tensor) -> Tensor:
            watch(tensor, partial(mark, call, "input_gradient"))
            return tensor

        def watch_output(tensor: Tensor) -> Tensor:
            call.output |= not finite(tensor)
            watch(tensor, partial(mark, call, "output_gradient"))
            return tensor

        map_tensors(watch_input, inputs)
        map_tensors(watch_output, outputs)

    def forward(self) -> str | None:
        """Returns the first layer whose output was not finite, if any."""
        return next((self.describe(call) for call in self.calls if call.output), None)

    def backward(self) -> str | None:
        """Returns the layer in which the gradient stopped being finite, if any: its output's gradient is finite, that
        of its input or weights is not. Of nested layers it is the inner one, and of several the last one called, which
        the backward pass reaches first."""
        for name, parameter in self.model.named_parameters(remove_duplicate=False):
            if parameter.grad is not None and not finite(parameter.grad):
                # The layer that has the weight, and all layers around it.
                layers = {name.rsplit(".", n)[0] for n in range(1, name.count(".") + 1)}
                for layer in layers & self.last.keys():
                    self.last[layer].input_gradient = True
        lost = [call for call in self.calls if call.input_gradient and not call.output_gradient]
        names = {call.name for call in lost}
        inner = [call for call in lost if not any(name != call.name and within(name, call.name) for name in names)]
        return self.describe(inner[-1]) if inner else None

    def describe(self, call: Call) -> str:
        """Returns name and class of a layer."""
        return f"{call.name or 'the model'} ({type(self.model.get_submodule(call.name)).__name__})"


def within(name: str, outer: str) -> bool:
    """Whether a layer is part of another one; "" is the model itself."""
    return not outer or name.startswith(f"{outer}.")


def watch(tensor: Tensor, note: Any) -> None:
    if tensor.requires_grad:
        tensor.register_hook(note)


def mark(call: Call, name: str, gradient: Tensor) -> None:
    if not finite(gradient):
        setattr(call, name, True)
