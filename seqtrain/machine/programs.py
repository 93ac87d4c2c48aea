"""Programs of torch.export: what a plain model computes, without its code, for batches and lengths of any size."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from seqtrain.contract import Batch, Output
from seqtrain.models.base import Generator, Model
from seqtrain.trees import map_tensors, tensors

RECURRENT = torch.ops.aten.lstm.input, torch.ops.aten.gru.input, torch.ops.aten.rnn_tanh.input


class Start(nn.Module):
    def __init__(self, model: Generator):
        super().__init__()
        self.model = model

    def forward(self, source: Any, lengths: Any) -> Any:
        return self.model.start(source, lengths)


class Step(nn.Module):
    """Of any number of positions; of a model that feeds attention back into a loop, of the number in the example."""

    def __init__(self, model: Generator):
        super().__init__()
        self.model = model

    def forward(self, inputs: Any, state: Any, memory: Any) -> Any:
        return self.model.step(inputs, state, memory)


class Scores(nn.Module):
    """The scores of a model that reads no outputs of its own, or as many as it writes in one go. calibrated: what makes
    its probabilities true."""

    def __init__(self, model: Model, calibrated: Callable[[Output], Output]):
        super().__init__()
        self.model, self.calibrated = model, calibrated

    def forward(self, source: Any, lengths: Any, inputs: Any = None) -> Any:
        return self.calibrated(self.model(Batch(source, lengths, inputs))).scores


def program(module: nn.Module, inputs: tuple[Any, ...], others: tuple[Any, ...]) -> torch.export.ExportedProgram:
    """What a module does with such inputs, which are trees of tensors. others: the same with more rows and positions;
    sizes that differ between the two are free, and none of these may be 1, which would be taken for a constant."""
    larger = iter(tensors(others))
    free = map_tensors(lambda tensor: differing(tensor, next(larger)), inputs)
    with torch.no_grad(), whole_layers(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The tensor attribute.* assigned during export")  # by torch's own RNNs
        return torch.export.export(module.eval(), inputs, dynamic_shapes=free, strict=False)


def differing(one: Tensor, other: Tensor) -> dict[int, Any]:
    return {i: torch.export.Dim.AUTO for i, size in enumerate(one.shape) if size != other.size(i)}


@contextmanager
def whole_layers() -> Iterator[None]:
    """Recurrent layers become one operation each. To learn the sizes of what it returns, torch would write out its
    steps, as many as the example has, and the length would be a constant; here sizes are told without steps."""
    kernels = [dict(operation.py_kernels) for operation in RECURRENT]
    for operation in RECURRENT:
        operation.py_kernels.update(dict.fromkeys(operation.py_kernels, sizes))
        operation._dispatch_cache.clear()
    try:
        yield
    finally:
        for operation, own in zip(RECURRENT, kernels, strict=True):
            operation.py_kernels.update(own)
            operation._dispatch_cache.clear()


def sizes(x: Tensor, state: Any, *_: Any) -> tuple[Tensor, ...]:
    """Tensors like those that one recurrent layer returns."""
    parts = [state] if isinstance(state, Tensor) else state
    return x.new_empty(x.size(0), x.size(1), parts[0].size(2)), *map(torch.empty_like, parts)
