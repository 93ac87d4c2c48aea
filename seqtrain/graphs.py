"""CUDA graphs for the steps of decoding: a step is dozens of kernels so small that the GPU waits for their launches; a
graph launches all of them at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from seqtrain.batch import map_tensors, tensors

WARMUP = 16  # plain steps of a shape before it is captured: a capture takes the time of several


def graphed(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """The function, by CUDA graphs where there is a GPU and nothing is to be differentiated."""
    return Graphed(function) if device.type == "cuda" and torch.is_inference_mode_enabled() else function


class Graphed:
    """A function from trees of tensors to a tree of tensors. After WARMUP calls in a row with the same shapes, it is
    captured on tensors of its own and replayed, until the shapes change.

    The plain calls before are needed: in them weights are laid out and cast, which has no place in a graph. The graph
    goes with this object, which has to go before a weight is changed.
    """

    def __init__(self, function: Callable[..., Any]):
        self.function = function
        self.shapes: Any = None
        self.calls = 0
        self.graph: Graph | None = None

    def __call__(self, *given: Any) -> Any:
        # what is no tensor is compared as it is: a graph would take it for a constant
        shapes = map_tensors(lambda tensor: (tensor.shape, tensor.dtype, tensor.device), given)
        if shapes != self.shapes:
            self.shapes, self.calls, self.graph = shapes, 0, None
        self.calls += 1
        if self.calls <= WARMUP:
            return self.function(*given)
        if self.graph is None:
            self.graph = Graph(self.function, given)
        return self.graph(given)


class Graph:
    """One call of a function, captured: what is given is copied to where the graph reads, what it wrote is cloned."""

    def __init__(self, function: Callable[..., Any], given: Any):
        self.given = tensors(given)
        inputs = map_tensors(Tensor.clone, given)
        self.inputs = tensors(inputs)
        self.outputs, self.replay = capture(function, inputs, self.inputs[0].device)

    def __call__(self, given: Any) -> Any:
        found = tensors(given)
        for place, tensor, before in zip(self.inputs, found, self.given, strict=True):
            if tensor is not before:  # the memory is the same at every step
                place.copy_(tensor)
        self.given = found
        self.replay()
        return map_tensors(Tensor.clone, self.outputs)


def capture(function: Callable[..., Any], inputs: Any, device: torch.device) -> tuple[Any, Callable[[], None]]:
    """Where the outputs will be, and what computes them from the inputs as they are then."""
    graph = torch.cuda.CUDAGraph()
    # "thread_local": what other threads do on the GPU in the meantime, as those of NCCL, is no error
    with torch.cuda.device(device), torch.cuda.graph(graph, capture_error_mode="thread_local"):
        outputs = function(*inputs)
    return outputs, graph.replay
