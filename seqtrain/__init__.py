"""Train, evaluate, checkpoint and use sequence models in PyTorch.

What the command line leaves behind is used in Python like this:

    model = seqtrain.load("outputs/translation/attn_seq2seq/...")
    model.predict("3 May 2021")  # or a list of texts, or a pandas Series or DataFrame

`seqtrain.train("task=sentiment data.train=texts.csv")` trains as the command with these words does.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's would import it, and a Ctrl-C could not be heard for that long
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from seqtrain.commands.loaded import Loaded

    __version__: str


def load(folder: str | Path, *others: str | Path) -> Loaded:
    """Brings back the best weights of a run folder, ready to predict. The training data need not exist any more.
    others: runs on the same data, which answer together with it."""
    from seqtrain.commands import loaded

    return loaded.load(folder, *others)


def train(overrides: str | Sequence[str] = (), folder: str | Path | None = None) -> Loaded:
    """Trains as the command line with these words does, in a new run folder, and returns the model with its best
    weights. Raises `seqtrain.config.UserError` for what the command would refuse."""
    from seqtrain.commands import library

    return library.train(overrides, folder)


def __getattr__(name: str) -> Any:
    if name == "__version__":  # looked up when asked for: `import seqtrain` and the command line stay light
        from importlib.metadata import version

        return version("seqtrain")
    raise AttributeError(f"module 'seqtrain' has no attribute {name!r}")
