"""What is trained on, and the exchange of its gradient."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from seqtrain.contract import Batch, Output
from seqtrain.engine.objective import Objective, Parallel, backward
from seqtrain.likelihoods.categorical import Categorical


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """Processes that train together, of which there is one."""
    dist.init_process_group("gloo", store=dist.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.scores, self.spare = nn.Embedding(7, 4), nn.Linear(4, 3), nn.Linear(2, 2)

    def forward(self, batch: Batch, state: object = None) -> Output:
        assert batch.target_lengths is not None
        return Output(batch.real(self.scores(self.table(batch.source))), batch.target_lengths)


def gradients(model: nn.Module) -> list[Tensor | None]:
    found = [weight.grad for weight in model.parameters()]
    model.zero_grad()
    return found


def run_short(gradient: Tensor) -> None:
    raise MemoryError


def test_an_exchange_goes_on_after_one_that_failed_or_had_no_rows(group: None) -> None:
    """A model that does not use all of its weights, two batches an update."""
    lengths, target = torch.tensor([2, 3]), torch.randint(3, (2, 3))
    batch = Batch(torch.randint(7, (2, 3)), lengths, None, target, lengths)
    model = Small()
    alone = Objective(model, Categorical(3))
    backward(alone, [batch, batch], None)
    expected = gradients(model)
    assert [weight is None for weight in expected] == [False] * 3 + [True] * 2
    together = Parallel(alone, "float32")
    for way in ("whole", "fails", "empty", "whole"):
        hook = model.table.weight.register_hook(run_short) if way == "fails" else None
        if hook:
            with pytest.raises(MemoryError):
                backward(together, [batch, batch], None)
            hook.remove()
        else:
            backward(together, [batch, batch] if way == "whole" else [], None)
        used, found = together.complete(), gradients(model)
        if way == "whole":
            assert used == [weight is not None for weight in expected]
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, torch.zeros_like(one) if other is None else other)
        elif way == "empty":
            assert not any(used)
            assert not any(weight.any() for weight in found)
