"""Several models as one."""

from typing import Any

import pytest
import torch
from small import SPECS, make_batch, make_model

from seqtrain.config import UserError
from seqtrain.contract import Aligned, Reals, Spec, Tokens
from seqtrain.likelihoods.autoregressive import Autoregressive
from seqtrain.likelihoods.crf import Crf
from seqtrain.likelihoods.ctc import Ctc
from seqtrain.models.base import Generator
from seqtrain.models.ensemble import together

CASES = [
    ("attn_seq2seq", "tokens to tokens"),
    ("seq2seq", "reals to reals"),
    ("one_to_many", "nothing to tokens"),
    ("many_to_one", "tokens to label"),
    ("many_to_many", "tokens to tags"),
]


def members(model: str, spec: Any, **changes: Any) -> list[Any]:
    return [make_model(model, spec, seed=seed, backbone=name, **changes) for seed, name in enumerate(["lstm", "tcn"])]


@pytest.mark.parametrize(("model", "spec"), CASES)
@torch.inference_mode()
def test_a_model_with_itself_is_that_model(model: str, spec: str):
    made, batch = make_model(model, spec), make_batch(spec)
    scores, found = made(batch).scores, together([made, made])(batch).scores
    wanted = scores.log_softmax(-1) if SPECS[spec].likelihood.values == "ids" else scores
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(("model", "spec"), CASES)
@torch.inference_mode()
def test_models_of_unlike_backbones_are_averaged(model: str, spec: str):
    both, batch = members(model, spec), make_batch(spec)
    first, second = (one(batch).scores for one in both)
    found = together(both)(batch).scores
    if SPECS[spec].likelihood.values == "ids":
        torch.testing.assert_close(found.exp(), (first.softmax(-1) + second.softmax(-1)) / 2)
    else:
        torch.testing.assert_close(found, (first + second) / 2)


@torch.inference_mode()
def test_step_by_step_an_ensemble_says_what_it_says_at_once():
    spec = "tokens to tokens"
    made, batch = together(members("attn_seq2seq", spec)), make_batch(spec, lengths=(4, 4, 4))
    assert isinstance(made, Generator)
    memory, state = made.start(batch.source, batch.source_lengths)
    steps = []
    for t in range(4):
        scores, state = made.step(batch.inputs[:, t : t + 1], state, memory)
        steps.append(scores)
    torch.testing.assert_close(torch.stack(steps, 1).flatten(0, 1), made(batch).scores)
    weights = made.align(batch)
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:2]))


def test_what_cannot_be_mixed_is_refused():
    aligning = Spec(Tokens(11), True, Tokens(9), Ctc(9), SPECS["tokens to tokens"].form)
    weighed = SPECS["tokens to tags"]._replace(likelihood=Crf(4))
    several = [make_model("many_to_many", spec) for spec in ("tokens to tags", weighed)]
    with pytest.raises(UserError, match="mean different things"):
        together(several)
    with pytest.raises(UserError, match="step by step"):
        together([make_model("many_to_many", "tokens to tags"), make_model("seq2seq", "tokens to tokens")])
    shortened = [make_model("many_to_many", aligning, frontend=name) for name in ("embedding", "conv")]
    with pytest.raises(UserError, match="positions"):
        together(shortened)(make_batch(aligning, lengths=(2, 1, 2)))
    notes = Spec(Reals((5,)), True, None, Autoregressive(5, rank=2), Aligned())
    with pytest.raises(UserError, match="vectors"):
        together([make_model("many_to_many", notes)] * 2)(make_batch(notes))
