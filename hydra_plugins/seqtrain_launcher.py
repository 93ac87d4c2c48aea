"""Where Hydra looks for launchers: in the package of this name, and nowhere else."""

from seqtrain.commands.launcher import Launcher


class SeqtrainLauncher(Launcher):
    """The launcher of a sweep."""
