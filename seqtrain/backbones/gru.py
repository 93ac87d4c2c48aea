"""The gated recurrent unit (Cho et al. 2014, arXiv:1406.1078)."""

from torch import nn

from seqtrain.backbones.recurrent import Recurrent


class GRU(Recurrent):
    kind = nn.GRU
    parts = 1
