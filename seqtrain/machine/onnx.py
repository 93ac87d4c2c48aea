"""Programs of torch.export as ONNX."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seqtrain.config import UserError
from seqtrain.reading.lines import one_line

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN_TANH": (0,)}  # torch's gates in the order of ONNX


def require() -> None:
    """Raises `UserError` where what writes and runs ONNX is not installed."""
    for name in PACKAGES:
        if util.find_spec(name) is None:
            raise UserError(f"format=onnx needs {name}: pip install 'seqtrain[onnx]'")


def run(file: Path, given: Sequence[Tensor]) -> list[Tensor]:
    """What an ONNX file makes of tensors."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file))
    named = zip(session.get_inputs(), given, strict=True)
    return [torch.from_numpy(array) for array in session.run(None, {slot.name: x.numpy() for slot, x in named})]


def answers(folder: Path, texts: Sequence[str], search: dict[str, Any]) -> list[str]:
    """The lines that `run.py` of an exported folder writes for texts. search: changes its settings."""
    with runner(folder) as module:
        model = module.Model(folder)
        model.search.update(search)
        return list(model.lines("".join(f"{one_line(text)}\n" for text in texts).encode()))


@contextmanager
def runner(folder: Path) -> Iterator[Any]:
    """The module `run.py` of an exported folder; what stands beside it is forgotten in the end."""
    spec = util.spec_from_file_location("run", folder / "run.py")
    assert spec is not None
    assert spec.loader is not None
    beside, path = {file.stem for file in folder.glob("*.py")} - set(sys.modules), list(sys.path)
    try:
        module = util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path[:] = path
        for name in beside:
            sys.modules.pop(name, None)


def shrink(file: Path) -> None:
    """Makes the weights of matrix products eight bits wide; what goes in is scaled to eight bits at each call."""
    from onnxruntime.quantization import quantize_dynamic

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it logs what it advises against and what it leaves as it is
    try:
        quantize_dynamic(str(file), str(file), op_types_to_quantize=["MatMul", "Gemm", "LSTM"])
    finally:
        logging.disable(before)


# -------------------------------------------------------------------------------- the exporter


SCHEMA = "(str kind, Tensor x, Tensor[] state, Tensor[] weights) -> Tensor[]"


@torch.library.custom_op("seqtrain::recurrent", mutates_args=(), schema=SCHEMA)
def recurrent(kind: str, x: Tensor, state: list[Tensor], weights: list[Tensor]) -> list[Tensor]:
    """One recurrent layer in one direction, batch first, as one operation, which no exporter takes apart: written out
    in steps its length would be a constant. kind: as in nn.RNNBase.mode. Returns its outputs and its last state."""
    settings = (True, 1, 0.0, False, False, True)
    if kind == "LSTM":
        return list(torch.lstm(x, state, weights, *settings))
    return list((torch.gru if kind == "GRU" else torch.rnn_tanh)(x, state[0], weights, *settings))


@recurrent.register_fake
def _(kind: str, x: Tensor, state: list[Tensor], weights: list[Tensor]) -> list[Tensor]:
    return [x.new_empty(x.size(0), x.size(1), state[0].size(2)), *map(torch.empty_like, state)]


@contextmanager
def single_operations(model: nn.Module) -> Iterator[None]:
    """Within it the recurrent layers of a model are called as `recurrent`."""
    layers = [module for module in model.modules() if isinstance(module, nn.RNNBase)]
    for layer in layers:
        layer.forward = partial(as_operation, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def as_operation(layer: nn.RNNBase, x: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
    lstm = layer.mode == "LSTM"
    if hx is None:
        hx = (x.new_zeros(1, x.size(0), layer.hidden_size),) * (2 if lstm else 1)
    y, *state = recurrent(layer.mode, x, list(hx) if isinstance(hx, tuple) else [hx], layer.all_weights[0])
    return y, tuple(state) if lstm else state[0]


def save(program: torch.export.ExportedProgram, file: Path) -> None:
    """Writes a program as an ONNX file."""
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    vars(program)["_guards_code"] = []  # the exporter would call them with inputs that are no tensors, and fail
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own parts
        table: Any = {torch.ops.seqtrain.recurrent.default: translated}
        made: Any = torch.onnx.export(program, dynamo=True, verbose=False, custom_translation_table=table)
    made.save(str(file))


def translated(kind: str, x: Any, state: Sequence[Any], weights: Sequence[Any]) -> Any:
    """`recurrent` in ONNX, which has the time first, gates in another order, and a dimension of directions."""
    from onnxscript import opset18

    op: Any = opset18

    gates = ORDER[kind]

    def ordered(weight: Any) -> Any:
        if len(gates) == 1:
            return weight
        parts = op.Split(weight, num_outputs=len(gates), axis=0)
        return op.Concat(*(parts[i] for i in gates), axis=0)

    from_input, from_state, *biases = map(ordered, weights)
    directions = op.Constant(value_ints=[0])
    three = [op.Unsqueeze(part, directions) for part in (from_input, from_state, op.Concat(*biases, axis=0))]
    more = {"linear_before_reset": 1} if kind == "GRU" else {}
    layer = getattr(op, kind.partition("_")[0])
    y, *last = layer(
        op.Transpose(x, perm=[1, 0, 2]), *three, None, *state, hidden_size=weights[1].shape[1], **more
    )  # fmt: skip
    y = op.Transpose(op.Squeeze(y, op.Constant(value_ints=[1])), perm=[1, 0, 2])
    return [y, *last]
