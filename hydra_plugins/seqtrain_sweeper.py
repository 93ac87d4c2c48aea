"""Where Hydra looks for sweepers: in the package of this name, and nowhere else."""

from seqtrain.commands.sweeper import OptunaSweeper


class SeqtrainSweeper(OptunaSweeper):
    """The sweeper of hydra/sweeper=optuna."""
