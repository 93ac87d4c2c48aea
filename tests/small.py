"""Small models and batches, made from the shipped YAML files, that tests share."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from seqtrain.config import build, locate
from seqtrain.contract import Aligned, Batch, Fixed, Free, Reals, Spec, Tokens
from seqtrain.likelihoods.categorical import Categorical
from seqtrain.likelihoods.point import Point
from seqtrain.machine.processor import runs_bfloat16

needs_bfloat16 = pytest.mark.skipif(not runs_bfloat16(), reason="oneDNN has no bfloat16 on this processor")
PRECISIONS = ["float32", pytest.param("bfloat16", marks=needs_bfloat16)]
CONFIGS = Path(__file__).parents[1] / "configs"

SPECS = {
    "tokens to label": Spec(Tokens(11), True, None, Categorical(3), Fixed(1)),
    "tokens to tokens": Spec(Tokens(11), True, Tokens(9), Categorical(9), Free()),
    "text to text": Spec(Tokens(9), True, Tokens(9), Categorical(9), Free(), one_vocab=True),
    "nothing to tokens": Spec(None, False, Tokens(9), Categorical(9), Free()),
    "one to tokens": Spec(Tokens(5), False, Tokens(9), Categorical(9), Free()),
    "image to tokens": Spec(Reals((1, 4, 4)), False, Tokens(9), Categorical(9), Free()),
    "reals to reals": Spec(Reals((4,)), True, Reals((2 + 3,)), Point(2), Fixed(5), known=3),
    "reals to tokens": Spec(Reals((4,)), True, Tokens(9), Categorical(9), Free()),
    "tokens to tags": Spec(Tokens(11), True, None, Categorical(4), Aligned()),
}


def options(axis: str) -> list[str]:
    return sorted(file.stem for file in (CONFIGS / axis).glob("*.yaml"))


def read(axis: str, option: str) -> dict[str, Any]:
    """What an option's file says; of one that is only another name, the file of that one."""
    found = yaml.safe_load((CONFIGS / axis / f"{option}.yaml").read_text(encoding="utf-8"))
    return read(axis, found["defaults"][0]) if found.keys() == {"defaults"} else found


def model_class(model: str) -> Any:
    return locate(read("model", model)["_target_"], trust=False)


def make_model(
    model: str, spec: Spec | str, backbone: str = "lstm", seed: int = 0, frontend: str = "embedding", **changes: Any
) -> Any:
    """A shipped model, made small, in evaluation mode and without dropout."""
    torch.manual_seed(seed)
    settings = read("model", model) | {"embedding_size": 6, "hidden_size": 8, "dropout": 0.0} | changes
    layers, embedding = partial(build, read("backbone", backbone)), partial(build, read("frontend", frontend))
    spec = SPECS[spec] if isinstance(spec, str) else spec
    return build(settings, spec=spec, frontend=embedding, backbone=layers).eval()


def make_batch(
    spec: Spec | str, source_lengths: tuple[int, ...] = (5, 3, 7), lengths: tuple[int, ...] = (4, 6, 1), seed: int = 0
) -> Batch:
    """Random examples of a form. What stands at padding is as random as the rest: nothing may depend on it."""
    spec = SPECS[spec] if isinstance(spec, str) else spec
    random = torch.Generator().manual_seed(seed)

    def fill(positions: Tokens | Reals, width: int) -> Tensor:
        if isinstance(positions, Tokens):
            return torch.randint(1, positions.size, (len(source_lengths), width), generator=random)
        return torch.randn(len(source_lengths), width, *positions.shape, generator=random)

    source_lengths = source_lengths if spec.many else (1,) * len(source_lengths)
    if isinstance(spec.form, Fixed):
        lengths = (spec.form.length,) * len(source_lengths)
    elif isinstance(spec.form, Aligned):
        lengths = source_lengths
    target = Reals((spec.likelihood.size,)) if isinstance(spec.inputs, Reals) else Tokens(spec.likelihood.size)
    return Batch(
        source=None if spec.source is None else fill(spec.source, max(source_lengths)),
        source_lengths=None if spec.source is None else torch.tensor(source_lengths),
        inputs=None if spec.inputs is None else fill(spec.inputs, max(lengths)),
        target=fill(target, max(lengths)),
        target_lengths=torch.tensor(lengths),
    )


def repeated(batch: Batch, times: int) -> Batch:
    """Every source `times` times, side by side."""

    def repeat(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.repeat_interleave(times, 0)

    return batch._replace(source=repeat(batch.source), source_lengths=repeat(batch.source_lengths))


def one_row(batch: Batch, row: int) -> Batch:
    """An example alone, without padding."""
    sizes = [0 if lengths is None else int(lengths[row]) for lengths in (batch.source_lengths, batch.target_lengths)]

    def cut(tensor: Any, size: int) -> Any:
        return None if tensor is None else tensor[row : row + 1, :size]

    return batch._replace(
        source=cut(batch.source, sizes[0]),
        source_lengths=None if batch.source_lengths is None else batch.source_lengths[row : row + 1],
        inputs=cut(batch.inputs, sizes[1]),
        target=cut(batch.target, sizes[1]),
        target_lengths=None if batch.target_lengths is None else batch.target_lengths[row : row + 1],
    )


def with_padding(batch: Batch, source: int, target: int) -> Batch:
    """More padding, filled with what must not matter."""

    def pad(tensor: Tensor | None, size: int) -> Tensor | None:
        if tensor is None:
            return None
        more = tensor.new_full((len(tensor), size, *tensor.shape[2:]), 1 if tensor.dtype == torch.long else 100)
        return torch.cat([tensor, more], 1)

    inputs, padded = pad(batch.inputs, target), pad(batch.target, target)
    return batch._replace(source=pad(batch.source, source), inputs=inputs, target=padded)


def same(a: Any, b: Any, tolerance: float = 1e-5) -> None:
    """Demands that tensors, or trees of them, are equal but for rounding."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        same(tuple(a.values()), tuple(b.values()), tolerance)
    elif isinstance(a, tuple | list):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            same(one, other, tolerance)
    elif isinstance(a, Tensor):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
    else:
        assert a is b
