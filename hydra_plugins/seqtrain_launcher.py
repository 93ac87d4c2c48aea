"""Where Hydra looks for launchers: in the package of this name, and nowhere else."""

from seqtrain.launcher import Packed


class Launcher(Packed):
    """The launcher of `jobs=N`."""
