import subprocess
import sys
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from seqtrain.config import UserError
from seqtrain.engine.optimizer import freeze, make_optimizer, step

KINDS = {
    "adam": partial(torch.optim.Adam, lr=0.1, weight_decay=0.1, fused=True),
    "adamw": partial(torch.optim.AdamW, lr=0.1, weight_decay=0.1),
    "sgd_fused": partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True, fused=True),
    "sgd": partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True),
}


def trained(make: Any, update: Any) -> nn.Module:
    torch.manual_seed(0)
    model, x = nn.Linear(4, 3), torch.randn(5, 4)
    optimizer = make_optimizer(make, model)
    for _ in range(3):
        model(x).square().sum().backward()
        update(optimizer)
        optimizer.zero_grad()
    return model


@pytest.mark.parametrize("scale", [1.0, 0.25])
@pytest.mark.parametrize("kind", list(KINDS))
def test_an_update_is_that_of_torch_with_scaled_gradients(kind: str, scale: float):
    def scaled(optimizer: Any) -> None:
        for group in optimizer.param_groups:
            for weight in group["params"]:
                weight.grad *= scale
        optimizer.step()

    ours, theirs = (trained(KINDS[kind], how) for how in (lambda o: step(o, torch.tensor(scale)), scaled))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)


def test_vectors_are_not_decayed():
    groups = make_optimizer(KINDS["adamw"], nn.Linear(4, 3)).param_groups
    assert [(group["weight_decay"], [p.ndim for p in group["params"]]) for group in groups] == [(0.1, [2]), (0.0, [1])]
    assert [group["peak_lr"] for group in groups] == [0.1, 0.1]


@pytest.mark.parametrize(
    "make",
    [
        partial(torch.optim.SGD, lr=0.1, nesterov=True),
        partial(torch.optim.AdamW, lr=0.1, betas=[0.9]),  # pyright: ignore[reportArgumentType]
        partial(torch.optim.AdamW, lr=0.1, betas=[0.9, 0.9, 0.9]),  # pyright: ignore[reportArgumentType]
        partial(torch.optim.LBFGS, lr=0.1),
    ],
)
def test_settings_that_do_not_go_together_are_the_users_mistake(make: Any):
    with pytest.raises(UserError, match="optimizer: its settings do not go together"):
        make_optimizer(make, nn.Linear(4, 3))


def test_training_and_its_state_do_without_torchs_compiler():
    code = """
import sys, torch
from seqtrain.engine.optimizer import freeze, make_optimizer, step
model = torch.nn.Linear(2, 2)
optimizer = make_optimizer(lambda params: torch.optim.AdamW(params, lr=0.1), model)
model(torch.ones(1, 2)).sum().backward()
step(optimizer, torch.tensor(1.0))
optimizer.zero_grad()
optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_frozen_parts_get_no_gradient_and_others_may_thaw_later():
    model = nn.ModuleDict({"encoder": nn.Linear(4, 4), "inner": nn.ModuleDict({"encoder": nn.Linear(4, 4)})})
    model["output"] = nn.Linear(4, 2)
    freeze(model, ["encoder", "output.b*"])
    assert [name for name, weight in model.named_parameters() if weight.requires_grad] == ["output.weight"]
    optimizer = make_optimizer(KINDS["adamw"], model)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 6  # a resumed run may thaw them
    with pytest.raises(
        UserError, match=r"no part encodr; did you mean encoder\?; it has encoder, inner, inner.encoder, out"
    ):
        freeze(model, ["encodr"])
    with pytest.raises(UserError, match="leaves no weight to train"):
        freeze(model, ["*"])


def test_the_learning_rate_of_a_part_is_multiplied():
    model = nn.ModuleDict({"encoder": nn.Linear(4, 4), "output": nn.Linear(4, 2)})
    groups = make_optimizer(KINDS["adamw"], model, {"encoder": 0.1, "encoder.bias": 0.5}).param_groups
    rates = {id(weight): (group["peak_lr"], group["weight_decay"]) for group in groups for weight in group["params"]}
    found = {name: rates[id(weight)] for name, weight in model.named_parameters()}
    assert found == {
        "encoder.weight": (pytest.approx(0.01), 0.1),
        "encoder.bias": (pytest.approx(0.05), 0.0),
        "output.weight": (0.1, 0.1),
        "output.bias": (0.1, 0.0),
    }
    for value in (0, -1, "x", float("inf")):
        with pytest.raises(UserError, match="expected a number above 0"):
            make_optimizer(KINDS["adamw"], model, {"encoder": value})
