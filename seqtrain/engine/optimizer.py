"""Uses torch's optimizers without importing torch's compiler, which their wrappers do at the first call: 1 to 1.4 s."""

from __future__ import annotations

import inspect
import math
from collections import defaultdict
from collections.abc import Mapping
from copy import copy
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from seqtrain.config import UserError, in_brief
from seqtrain.config.schema import is_number
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.engine.sharding import like
from seqtrain.trees import map_tensors

# The optimizers that change each number by itself.
BY_NUMBER = ("AdamW", "Adam", "SGD", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "RMSprop", "ASGD")

for name in ("add_param_group", "state_dict", "load_state_dict", "zero_grad"):
    plain: Any = inspect.unwrap(getattr(Optimizer, name))
    setattr(plain, "__dynamo_disable", plain)  # the wrapper looks here for a compiled version, and finds the plain one


def make_optimizer(make: Any, model: nn.Module, factors: dict[str, Any] | None = None) -> Optimizer:
    """Makes an optimizer for a model, with weight decay for matrices only; biases and other vectors have none.

    make: the class with its settings. factors: by what the learning rate of some parts is multiplied, see `weights_in`.
    Each group keeps the highest learning rate as "peak_lr". Raises `UserError` for settings that contradict each other,
    such as Nesterov without momentum, or three betas.
    """
    factor = dict.fromkeys(model.parameters(), 1.0)
    for part, value in (factors or {}).items():
        if not is_number(value) or not 0 < value < math.inf:
            cure = "; trainer.freeze takes a part out of training" if value == 0 else ""
            raise UserError(f"trainer.rates.{part}={value}: expected a number above 0{cure}")
        factor |= dict.fromkeys(weights_in(model, part, "trainer.rates"), float(value))
    groups = []
    for value in dict.fromkeys((1.0, *factor.values())):
        parameters = [p for p in factor if factor[p] == value]  # those that are frozen have no gradient, and no state
        groups += [
            {"params": [p for p in parameters if p.ndim > 1], "peak_lr": value},
            {"params": [p for p in parameters if p.ndim < 2], "peak_lr": value, "weight_decay": 0.0},
        ]
    try:
        optimizer = make(params=groups)
        for group in optimizer.param_groups:
            group["peak_lr"] *= group["lr"]
            for weight in group["params"][:1]:
                state_after_step(optimizer, group, weight)  # some settings are only checked in a step
    except (TypeError, ValueError, LookupError) as error:
        raise UserError(f"optimizer: its settings do not go together ({error})") from error
    return optimizer


def check_sharding(make: Any) -> None:
    """Raises `UserError` for an optimizer that needs whole weights: device.shard=true gives it a part of each."""
    if make.__name__ not in BY_NUMBER:
        raise UserError(f"optimizer={make.__name__} does not go with device.shard=true, which gives it a part of each "
                        f"weight; these do: {', '.join(BY_NUMBER)}")  # fmt: skip


def share_out(optimizer: Optimizer, shards: Mapping[nn.Parameter, nn.Parameter]) -> None:
    """Gives an optimizer the shards in place of the weights; its state is lost. shards: by weight."""
    for group in optimizer.param_groups:
        group["params"] = [shards[weight] for weight in group["params"]]
        if group.get("fused") and not isinstance(optimizer, torch.optim.Adam):  # torch shares out no other kernel
            group["fused"] = False
            vars(optimizer)["_step_supports_amp_scaling"] = False
    optimizer.state.clear()


def freeze(model: nn.Module, parts: list[str]) -> None:
    """Takes the weights of some parts of a model out of training, see `weights_in`. Raises `UserError` where nothing is
    left."""
    for part in parts:
        for weight in weights_in(model, part, "trainer.freeze"):
            weight.requires_grad_(False)
    if not any(weight.requires_grad for weight in model.parameters()):
        raise UserError(f"trainer.freeze=[{','.join(parts)}] leaves no weight to train")


def weights_in(model: nn.Module, part: str, setting: str) -> list[nn.Parameter]:
    """The weights of all parts of a model that have a name: that of a module or a weight, or some of its words in a
    row; * is any text. Raises `UserError`, with the setting, where there is no such part."""
    weights = dict(model.named_parameters())
    if found := [weight for name, weight in weights.items() if fnmatchcase(f".{name}.", f"*.{part}.*")]:
        return found
    names = [name for name, _ in model.named_modules() if name]
    shown = [name for name in names if name.count(".") < 2 and any(n.startswith(f"{name}.") for n in weights)]
    raise UserError(f"{setting}: the model has no part {in_brief(part)}{did_you_mean(near(part, names))}; "
                    f"it has {', '.join(shown)}")  # fmt: skip


def load_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Restores the state that an optimizer has for each weight, but not its settings.

    Raises ValueError where that state is not of the shapes and types that a step leaves: fused optimizers would read
    memory beyond a tensor that is too small.
    """
    settings = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    own = {i: map_tensors(lambda value: like(value, weights[i]), kept) for i, kept in state["state"].items()}  # noqa: B023
    optimizer.load_state_dict(state | {"state": own})
    for group, current in zip(optimizer.param_groups, settings, strict=True):
        group.update(current)  # the settings of the present configuration
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if stored := optimizer.state.get(weight):
                expected = state_after_step(optimizer, group, weight)
                same_names = stored.keys() == expected.keys()
                if not same_names or not all(same_form(stored[name], expected[name]) for name in expected):
                    raise ValueError("optimizer: its state does not fit")


def state_after_step(optimizer: Optimizer, group: dict[str, Any], weight: Tensor) -> dict[str, Any]:
    """Returns the state that an optimizer has for a weight of this shape after one step, made by a copy of it."""
    trial = copy(optimizer)
    parameter = nn.Parameter(torch.zeros_like(weight))
    parameter.grad = torch.zeros_like(parameter)
    trial.state = defaultdict(dict)
    trial.param_groups = [{**group, "params": [parameter]}]
    with torch.no_grad():
        inspect.unwrap(type(trial).step)(trial)
    return trial.state[parameter]


def same_form(value: Any, expected: Any) -> bool:
    """Whether two tensors have the same shape and dtype, or other values the same type."""
    if isinstance(value, Tensor) and isinstance(expected, Tensor):
        return value.shape == expected.shape and value.dtype == expected.dtype
    return type(value) is type(expected)


def step(optimizer: Optimizer, scale: Tensor) -> None:
    """Updates the weights with the gradients times `scale`; the gradients may be changed.

    Fused optimizers can divide gradients while they read them, as for GradScaler, which saves a pass over all of them.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    method = inspect.unwrap(type(optimizer).step)
    with torch.no_grad():
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            vars(optimizer)["grad_scale"] = 1 / scale
            method(optimizer)
        else:
            for weight in weights:
                if weight.grad is not None:
                    weight.grad *= scale
            method(optimizer)
