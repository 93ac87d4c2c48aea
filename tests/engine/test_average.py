from copy import deepcopy

import pytest
import torch
from small import same
from torch import nn

from seqtrain.engine.average import Average


def make(**how) -> tuple[nn.Linear, Average]:
    model = nn.Linear(1, 1, bias=False)
    set_to(model, 0.0)
    return model, Average(model, **{"ema": 0.0, "last": 1, **how})


def set_to(model: nn.Linear, value: float) -> None:
    with torch.no_grad():
        model.weight.fill_(value)


def shown(model: nn.Linear, average: Average) -> float:
    with average.applied():
        return model.weight.item()


def test_off_it_shows_the_trained_weights():
    model, average = make()
    set_to(model, 3.0)
    average.update()
    average.snapshot()
    assert shown(model, average) == 3
    assert average.state() == {"mean": [], "snapshots": [], "updates": 0}


def test_the_moving_average_forgets_its_start_soon():
    model, average = make(ema=0.5)
    wanted = 0.0
    for update in range(1, 21):
        set_to(model, float(update**2))
        average.update()
        decay = min(0.5, (1 + update) / (10 + update))
        wanted = decay * wanted + (1 - decay) * update**2
        assert shown(model, average) == pytest.approx(wanted)
    assert model.weight.item() == 400


def test_the_mean_of_the_last_evaluations():
    model, average = make(last=3)
    assert shown(model, average) == 0
    for value, mean in ((1.0, 1.0), (2.0, 1.5), (6.0, 3.0), (10.0, 6.0)):
        set_to(model, value)
        average.update()
        average.snapshot()
        assert shown(model, average) == mean
        assert model.weight.item() == value


def test_the_mean_of_moving_averages():
    model, average = make(ema=0.5, last=2)
    means = []
    for value in (4.0, 8.0):
        set_to(model, value)
        average.update()
        means.append(average.mean[0].item())
        average.snapshot()
    assert shown(model, average) == pytest.approx(sum(means) / 2)


def test_the_trained_weights_come_back_after_an_error():
    model, average = make(last=2)
    set_to(model, 1.0)
    average.snapshot()
    set_to(model, 5.0)
    with pytest.raises(KeyboardInterrupt, match=r"^1.0$"), average.applied():
        raise KeyboardInterrupt(model.weight.item())
    assert model.weight.item() == 5


@pytest.mark.parametrize("how", [{"ema": 0.9}, {"last": 3}, {"ema": 0.9, "last": 2}])
def test_it_goes_on_from_its_state(how):
    model, average = make(**how)
    for value in (1.0, 2.0, 3.0):
        set_to(model, value)
        average.update()
        average.snapshot()
    other, restored = make(**how)
    restored.load_state(deepcopy(average.state()))
    for one, its in ((model, average), (other, restored)):
        set_to(one, 7.0)
        its.update()
        its.snapshot()
    assert shown(model, average) == shown(other, restored) != 7


def test_shared_weights_are_averaged_once():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    average = Average(model, ema=0.5, last=1)
    assert len(average.mean) == 1
    with average.applied():
        same(model[0].weight, model[1].weight, 0)
