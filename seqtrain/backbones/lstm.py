"""Long short-term memory (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000)."""

from torch import nn

from seqtrain.backbones.recurrent import Recurrent


class LSTM(Recurrent):
    kind = nn.LSTM
    parts = 2
