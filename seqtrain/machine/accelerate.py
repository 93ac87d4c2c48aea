"""What makes a model of plain PyTorch fast on the CPU; on other devices it stays as it is."""

from __future__ import annotations

from functools import partial

from torch import nn

from seqtrain import layers
from seqtrain.likelihoods.categorical import Categorical
from seqtrain.machine import cells
from seqtrain.machine.cross_entropy import fastest_cross_entropy
from seqtrain.machine.kernels import Kernels
from seqtrain.machine.linear import Linear
from seqtrain.machine.loops import Loop
from seqtrain.machine.scan import Scan

FASTER: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: Linear,
    nn.LSTM: cells.LSTM,
    nn.GRU: cells.GRU,
    nn.RNN: cells.RNN,
    layers.Scan: Scan,
}


def accelerate(model: nn.Module, kernels: Kernels) -> None:
    """Gives some layers another class, which knows several ways to the same numbers and takes the fastest one here: see
    `Kernels`. So does the cross-entropy of the model's likelihood. The model is the same object with the same
    parameters, names and hooks."""
    if any(parameter.device.type != "cpu" for parameter in model.parameters()):
        return
    loop = Loop()
    for module in model.modules():
        if type(module) in FASTER and fits(module):
            module.__class__ = FASTER[type(module)]
            vars(module).update(kernels=kernels, loop=loop)
    loop.watch(model)
    likelihood = getattr(vars(model).get("spec"), "likelihood", None)
    if isinstance(likelihood, Categorical):
        likelihood.cross_entropy = partial(fastest_cross_entropy, kernels)


def fits(module: nn.Module) -> bool:
    """Whether a recurrent layer is one layer in one direction, batch first, with biases; others stay as they are."""
    if not isinstance(module, nn.RNNBase):
        return True
    plain = (module.num_layers, module.bidirectional, module.proj_size) == (1, False, 0)
    return plain and module.batch_first and module.bias and module.mode != "RNN_RELU"
