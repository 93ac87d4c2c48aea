"""The plain recurrent network (Elman 1990): h' = tanh(Wx + Uh + b)."""

from torch import nn

from seqtrain.backbones.recurrent import Recurrent


class RNN(Recurrent):
    kind = nn.RNN
    parts = 1
