"""Every task, data, model and backbone together: a training step on the CPU, or a refusal that says what works."""

import math
from typing import Any

import pytest
import small
import tiny
import torch

from seqtrain.commands import assembly
from seqtrain.commands.assembly import Assembly
from seqtrain.config import UserError, locate
from seqtrain.engine.evaluate import evaluate


@pytest.fixture(autouse=True)
def few_topics():
    with tiny.few_topics():
        yield


class Prepared(Exception):
    pass


def prepare(*args: Any) -> None:
    raise Prepared


def step(cfg: dict[str, Any]) -> None:
    trainer, job, _ = tiny.job(cfg)
    before = {name: p.detach().clone() for name, p in job.model.named_parameters()}
    loss, count = trainer.update(job, [next(job.train.epoch())])
    assert torch.isfinite(loss)
    assert count > 0
    for name, parameter in job.model.named_parameters():
        assert torch.isfinite(parameter).all(), name
        assert not torch.equal(parameter, before[name]), f"{name} does not learn"
    totals = evaluate(job.model, job.task, job.valid.first_batches(1), job.decoder, job.device)
    assert math.isfinite(job.task.score(totals)[job.task.monitor])


KINDS = {name: locate(small.read("data", name)["_target_"], trust=False).kind for name in small.options("data")}
TAKES = {
    name: locate(small.read("task", name)["task"]["_target_"], trust=False).kinds for name in small.options("task")
}
FIRST = {task: data for task, takes in reversed(TAKES.items()) for data in reversed(tiny.DATA) if KINDS[data] in takes}
PAIRS = [(task, data) for task, takes in TAKES.items() for data, kind in KINDS.items() if kind in takes]


@pytest.mark.parametrize(("task", "data"), PAIRS)
def test_takes_a_step_or_is_refused_before_data_is_prepared(task: str, data: str, monkeypatch: pytest.MonkeyPatch):
    works, refused = [], {}
    for model in small.options("model"):
        cfg = tiny.config(task, {"model": model, "data": data})
        try:
            parts = Assembly(cfg)
            assert parts.unfitted_task
            with monkeypatch.context() as patch:
                patch.setattr(assembly, "build", prepare)
                assert parts.source
        except UserError as error:
            refused[model] = str(error)
        except Prepared:
            works.append(model)
            if data not in tiny.DATA:
                continue  # a public set, which has tests of its own
            step(tiny.config(task, {"model": model, "data": data}))
            for backbone in small.options("backbone") if data == FIRST[task] else ():
                step(tiny.config(task, {"model": model, "data": data, "backbone": backbone}))
    assert len(works) + len(refused) == len(small.options("model"))
    assert works
    for message in refused.values():
        assert "\n" not in message
        assert message.endswith(f"; models that fit: {', '.join(works)}")


@pytest.mark.parametrize("task", TAKES)
def test_a_task_refuses_data_of_another_kind_and_names_what_fits(task: str):
    cfg = tiny.config(task)
    fits = [data for data, kind in KINDS.items() if kind in TAKES[task]]
    for data in KINDS.keys() - fits:
        with pytest.raises(UserError) as caught:
            assert Assembly(cfg | {"data": small.read("data", data)}).source
        assert str(caught.value).startswith("data of the kind ")
        assert str(caught.value).endswith(f"; data that fits: {', '.join(fits)}")


def test_the_refusal_is_one_sentence():
    with pytest.raises(UserError) as caught:
        tiny.job(tiny.config("translation", {"model": "many_to_one"}))
    assert str(caught.value) == (
        "model=many_to_one does not fit this task: it writes a fixed number of positions, "
        "not a sequence that ends by itself; models that fit: attn_seq2seq, many_to_many, seq2seq"
    )
