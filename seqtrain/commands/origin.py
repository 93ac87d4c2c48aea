"""The run that a training with `init` begins from."""

from __future__ import annotations

from functools import partial

from torch import nn

from seqtrain.commands.assembly import Assembly, Config, check_size
from seqtrain.commands.inherited import INHERITED
from seqtrain.commands.run_folder import differences, find, read_config
from seqtrain.config import UserError
from seqtrain.config.schema import show
from seqtrain.contract import Spec
from seqtrain.engine.checkpoint import Checkpoints
from seqtrain.engine.transfer import transfer


class Origin(Assembly):
    """The configuration of the new run, with what the run that `init` names has learned. That run may be a stranger's:
    no class that it names is called."""

    def __init__(self, cfg: Config):
        folder = find(cfg["init"], "init")
        self.stored = read_config(folder)
        super().__init__(cfg, folder, Checkpoints(folder).load_best())

    def check(self) -> None:
        """Raises UserError where the run is damaged, or its weights are not of the sizes that the settings say; these
        are then named."""
        settings = {axis: self.cfg[axis] for axis in INHERITED if self.cfg.get(axis)}
        different = [
            f"{name} of the run is {show(was)}, here {show(value)}"
            for name, was, value in differences(self.stored, settings)
            if not isinstance(value, float)  # which no size depends on
        ]
        try:
            self.restore(partial(check_size, self), self.state.weights)
            shapes, weights = self.shapes(self.task.spec), self.state.weights
            for name in shapes.keys() & weights.keys():
                if weights[name].shape != shapes[name]:
                    found, expected = tuple(weights[name].shape), tuple(shapes[name])
                    raise UserError(f"{self.run}: its weight {name} is of shape {found}, here {expected}")
        except UserError as error:
            raise UserError(f"init={self.cfg['init']}: {'; '.join(different)}") if different else error from None

    def give(self, model: nn.Module, spec: Spec) -> str:
        """Copies the weights into a model for other data; returns what to tell of it."""
        copied = partial(transfer, model=model, shapes=self.shapes, old=self.task.spec, new=spec)
        return f"init={self.cfg['init']}: {self.restore(copied, self.state.weights)}"
