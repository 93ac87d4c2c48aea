"""Several things that are each there or not, each given those before it: the notes of a chord."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from seqtrain.config import UserError
from seqtrain.likelihoods.bernoulli import Bernoulli


@dataclass
class Autoregressive(Bernoulli):
    """The logit of a value is a score of its own, and for each earlier value that is 1 the product of two vectors, one
    of either value: a fully visible sigmoid belief network (Neal 1992; Frey 1998), of which the model makes the weights
    anew at each position, as Boulanger-Lewandowski et al. 2012 (arXiv:1206.6392) make biases. NaN in the target is
    missing, and counts as 0 for the values after it."""

    rank: int = 8

    @property
    def size(self) -> int:
        return self.outputs * (1 + 2 * self.rank)

    def parts(self, scores: Float[Tensor, "*N O"]) -> tuple[Tensor, Tensor, Tensor]:
        """Own scores (*N, H), and the vectors (*N, H, rank) of a value as a later and as an earlier one."""
        own, vectors = scores.split([self.outputs, 2 * self.outputs * self.rank], -1)
        later, earlier = vectors.unflatten(-1, (2, self.outputs, self.rank)).unbind(-3)
        return own, later, earlier

    def logits(self, scores: Float[Tensor, "N O"], target: Float[Tensor, "N H"]) -> Float[Tensor, "N H"]:
        own, later, earlier = self.parts(scores)
        present = earlier * target[..., None]
        return own + (later * (present.cumsum(-2) - present)).sum(-1)

    def mixed(self, scores: Float[Tensor, "M *N O"]) -> Float[Tensor, "*N O"]:
        raise UserError("likelihood=autoregressive has vectors, which mean something else in each model")

    def pick(
        self, scores: Float[Tensor, "*N O"], thresholds: Float[Tensor, "*N H"] | float = 0.0
    ) -> Float[Tensor, "*N H"]:
        """One value after the other."""
        own, later, earlier = self.parts(scores)
        limits = torch.as_tensor(thresholds, dtype=own.dtype).expand_as(own)
        context, values = torch.zeros_like(earlier[..., 0, :]), []
        for i in range(self.outputs):
            logit = own[..., i] + (later[..., i, :] * context).sum(-1)
            values.append((logit > limits[..., i]).to(own.dtype))
            context = context + values[-1][..., None] * earlier[..., i, :]
        return torch.stack(values, -1)
