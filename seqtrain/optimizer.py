"""torch's optimizers without torch's compiler, which their wrappers import at the first call: 1 to 1.4 s a start."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from seqtrain.products import by_columns

for name in ("add_param_group", "state_dict", "load_state_dict", "zero_grad"):
    plain: Any = inspect.unwrap(getattr(Optimizer, name))
    setattr(plain, "__dynamo_disable", plain)  # where the wrapper looks for what the compiler has made of it


def make_optimizer(make: Any, model: nn.Module) -> Optimizer:
    """Weight decay is for matrices; vectors go without. Each group remembers its highest learning rate."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1]},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = make(params=groups)
    for group in optimizer.param_groups:
        group["peak_lr"] = group["lr"]
    return optimizer


def step(optimizer: Optimizer, scale: Tensor) -> None:
    """One update by the optimizer's own method, of gradients times `scale`, by which they are changed. Fused optimizers
    divide gradients as they read them, as GradScaler asks them to: a pass over all of them less."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    method = inspect.unwrap(type(optimizer).step)
    with torch.no_grad():
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            vars(optimizer)["grad_scale"] = 1 / scale
            turned = [weight for weight in weights if by_columns(weight)]
            turn(optimizer, turned)
            method(optimizer)
            turn(optimizer, turned)
        else:
            for weight in weights:
                if weight.grad is not None:
                    weight.grad *= scale
            method(optimizer)


def turn(optimizer: Optimizer, weights: list[Tensor]) -> None:
    """Transposes weights and all that belongs to them: what does not lie in memory by rows, a fused optimizer copies
    before and after, in as long as the update takes."""
    for weight in weights:
        gradient, weight.grad = weight.grad, None
        weight.data = weight.data.t()
        rows = weight.is_contiguous()
        turned = {"grad": gradient, **optimizer.state.get(weight, {})}
        for name, tensor in turned.items():
            if tensor is not None and tensor.ndim == 2:
                turned[name] = tensor.t().contiguous() if rows else tensor.t()
        weight.grad = turned.pop("grad")
        if turned:
            optimizer.state[weight] = turned
