"""Convolutions that shorten: over time, or over an image."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from seqtrain.contract import Reals, Spec, Tokens, length_mask
from seqtrain.frontends.base import Frontend

PATCH = 2  # pixels, either way


def is_image(spec: Spec) -> bool:
    return not spec.many and isinstance(spec.source, Reals) and len(spec.source.shape) == 3


class Conv(Frontend):
    """A sequence is embedded, and each of its layers, a convolution of width 3 and stride 2 with a rectifier, halves it
    (Gulati et al. 2020, Conformer, arXiv:2005.08100): of n positions ceil(n / 2) are left by one.

    A single image (C, H, W) is cut into patches of 2 × 2 pixels, which are embedded; every layer but the first then
    halves height and width in the same way, and a residual convolution lets each position see its neighbours. Behind
    each of these the channels of a position are normalized (Ba et al. 2016, arXiv:1607.06450). What is left is a
    sequence of positions row by row (Xu et al. 2015, arXiv:1502.03044), or their mean, a single vector.
    """

    shortens = True

    def __init__(
        self,
        source: Tokens | Reals,
        size: int,
        dropout: float,
        word_dropout: float,
        scaled: bool,
        layers: int,
        one_vector: bool,
    ):
        self.image = isinstance(source, Reals) and len(source.shape) == 3
        self.one_vector = one_vector
        if self.image:
            assert isinstance(source, Reals)
            rows, columns = (-(-side // 2**layers) for side in source.shape[1:])
            self.grid = 1 if one_vector else rows * columns  # positions
            source, layers = Reals((source.shape[0] * PATCH**2,)), layers - 1
        super().__init__(source, size, dropout, word_dropout, scaled)
        kind = nn.Conv2d if self.image else nn.Conv1d
        self.layers = nn.ModuleList(kind(size, size, 3, stride=2, padding=1) for _ in range(layers))
        if self.image:
            self.neighbours = nn.Conv2d(size, size, 3, padding=1)
            self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(layers))
            self.norm = nn.LayerNorm(size)

    @classmethod
    def refuse(cls, spec: Spec) -> str | None:
        fits = spec.many or is_image(spec)
        return super().refuse(spec) or (None if fits else f"it takes a sequence or an image, not {spec.incoming}")

    @classmethod
    def of(cls, spec: Spec, **options: Any) -> Spec:
        return spec._replace(many=True) if is_image(spec) and not options["one_vector"] else spec

    def left(self, lengths: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
        if self.image:
            return torch.full_like(lengths, self.grid)
        for _ in self.layers:
            lengths = (lengths + 1) // 2
        return lengths

    def forward(
        self, x: Num[Tensor, "B S *F"], lengths: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B R E"], Int[Tensor, " B"]]:
        return self.over_image(x[:, 0]) if self.image else self.over_time(x, lengths)

    def over_time(
        self, x: Num[Tensor, "B S *F"], lengths: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B R E"], Int[Tensor, " B"]]:
        vectors = self.embed(x)
        for layer in self.layers:
            real = vectors * length_mask(lengths, vectors.size(1))[..., None]  # no padding reaches a real position
            vectors = torch.relu(layer(real.transpose(1, 2)).transpose(1, 2))
            lengths = (lengths + 1) // 2
        return self.dropout(vectors), lengths

    def over_image(self, image: Num[Tensor, "B C H W"]) -> tuple[Float[Tensor, "B R E"], Int[Tensor, " B"]]:
        rows, columns = -image.size(2) % PATCH, -image.size(3) % PATCH
        image = nn.functional.pad(image, (0, columns, 0, rows))
        patches = nn.functional.pixel_unshuffle(image, PATCH)  # (B, C * PATCH², H / PATCH, W / PATCH)
        grid = torch.relu(self.embed(patches.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        for layer, norm in zip(self.layers, self.norms, strict=True):
            grid = norm(torch.relu(layer(grid)).movedim(1, -1)).movedim(-1, 1)
        grid = grid + torch.relu(self.neighbours(grid))
        vectors = self.norm(grid.movedim(1, -1)).flatten(1, 2)
        if self.one_vector:
            vectors = vectors.mean(1, keepdim=True)
        return self.dropout(vectors), torch.full((image.size(0),), vectors.size(1), device=image.device)
