"""Steps of decoding without what Python adds to them: a step is dozens of operations, each so small that most of its
time goes into calling it. After some plain calls with the same shapes a step is captured, and from then on replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from seqtrain.batch import leaves, map_tensors, tensors

WARMUP = 16  # plain calls with the same shapes before a capture, which takes the time of several


def graphed(function: Callable[..., Any], device: torch.device, on_cuda: bool) -> Callable[..., Any]:
    """The function, captured when it has been called often enough: on CPU, on CUDA if so wished, where nothing is to be
    differentiated."""
    if torch.is_inference_mode_enabled():
        if device.type == "cpu":
            return Graphed(function, Recording)
        if device.type == "cuda" and on_cuda:
            return Graphed(function, Graph)
    return function


class Graphed:
    """A function from trees of tensors to a tree of tensors. After WARMUP calls in a row with the same shapes, it is
    captured and replayed, until the shapes change.

    The plain calls before are needed: in them weights are laid out and cast, which has no place in a capture. It goes
    with this object, which has to go before a weight is changed.
    """

    def __init__(self, function: Callable[..., Any], capture: Callable[[Callable[..., Any]], Callable[[Any], Any]]):
        self.function, self.capture = function, capture
        self.shapes: list[Any] = []
        self.calls = 0
        self.captured: Callable[[Any], Any] | None = None

    def __call__(self, *given: Any) -> Any:
        # what is no tensor is compared as it is: a capture would take it for a constant
        shapes = [leaf.shape if isinstance(leaf, Tensor) else leaf for leaf in leaves(given)]
        if shapes != self.shapes:
            self.shapes, self.calls, self.captured = shapes, 0, None
        self.calls += 1
        if self.calls <= WARMUP:
            return self.function(*given)
        if self.captured is None:
            self.captured = self.capture(self.function)
        return self.captured(given)


# ---------------------------------------------------------------------------------------- CPU


class Recording:
    """A function whose first call is recorded: the operations of torch that it is made of, and nothing else, are what
    later calls do. Sampling one character after the other is 1.3 times faster by it, 1.4 times in bfloat16.

    The second call is made both ways. If the function does more than those operations (it reads numbers, uses another
    library, counts its calls, draws samples), and so the results differ, it stays a plain one. Hooks of modules are not
    called by what is replayed.
    """

    def __init__(self, function: Callable[..., Any]):
        self.function = function
        self.calls = 0
        self.replay: Callable[[Any], Any] | None = None

    def __call__(self, given: Any) -> Any:
        self.calls += 1
        if self.calls == 1:
            return self.record(given)
        if self.replay is None:
            return self.function(*given)
        found = self.replay(given)
        if self.calls == 2:
            wanted = self.function(*given)
            if not all(map(torch.equal, tensors(found), tensors(wanted))):
                self.replay = None
            return wanted
        return found

    def record(self, given: Any) -> Any:
        given = map_tensors(Tensor.detach, given)  # a tensor may be in it twice
        with Recorder(given) as recorder:
            outputs = self.function(*given)
        self.replay = recorder.replay(outputs) if recorder.pure else None
        return outputs


class Recorder(TorchDispatchMode):
    """Writes each operation down as a line of Python. What none of them made, as weights, is a constant.

    pure: whether they do nothing but make tensors of tensors.
    """

    def __init__(self, given: Any):
        super().__init__()
        self.pure = True
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {}
        self.names: dict[int, str] = {}
        self.kept: list[Tensor] = []  # an identity is one's own only as long as one lives
        self.read(given, "given")

    def read(self, tree: Any, place: str) -> None:
        """Gives a name to each tensor of a tree."""
        if isinstance(tree, Tensor):
            self.lines.append(f"{self.named(tree)} = {place}")
        elif isinstance(tree, tuple | list | dict):
            for key, item in tree.items() if isinstance(tree, dict) else enumerate(tree):
                self.read(item, f"{place}[{key!r}]")

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # to skip it, torch imports it, which takes 1.3 s

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = operation(*args, **kwargs)
        made = tensors(found)
        if operation._schema.is_mutable or not made:
            self.pure = False
        elif not any(found is arg for arg in args):  # else a cast to the type that it has
            words = [self.word(arg) for arg in args] + [f"{key}={self.word(arg)}" for key, arg in kwargs.items()]
            left = self.named(found) if found is made[0] else f"({', '.join(map(self.named, made))},)"
            self.lines.append(f"{left} = {self.constant(operation._op)}({', '.join(words)})")
        return found

    def named(self, tensor: Tensor) -> str:
        self.kept.append(tensor)
        return self.names.setdefault(id(tensor), f"t{len(self.names)}")

    def constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def word(self, value: Any) -> str:
        """What stands for a value, a tree of tensors or not, in a line."""
        if isinstance(value, Tensor) and id(value) in self.names:
            return self.names[id(value)]
        if isinstance(value, tuple | list):
            items = f"[{', '.join(map(self.word, value))}]"
            make = getattr(type(value), "_make", type(value))
            return items if make is list else f"{self.constant(make)}({items})"
        if isinstance(value, dict):
            return f"{{{', '.join(f'{key!r}: {self.word(item)}' for key, item in value.items())}}}"
        return self.constant(value)

    def replay(self, outputs: Any) -> Callable[[Any], Any]:
        """A function of what is given that makes the outputs."""
        exec("\n ".join(["def replay(given):", *self.lines, f"return {self.word(outputs)}"]), self.constants)
        return self.constants["replay"]


# ---------------------------------------------------------------------------------------- CUDA


class Graph:
    """A function whose first call is captured as a CUDA graph, all of whose kernels are launched at once: what is given
    is copied to where the graph reads, what it wrote is cloned."""

    def __init__(self, function: Callable[..., Any]):
        self.function = function
        self.replay: Callable[[], None] | None = None

    def __call__(self, given: Any) -> Any:
        found = tensors(given)
        if self.replay is None:
            inputs = map_tensors(Tensor.clone, given)
            self.given, self.inputs = found, tensors(inputs)
            self.outputs, self.replay = capture(self.function, inputs, found[0].device)
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
