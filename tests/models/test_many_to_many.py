"""Position by position: on every backbone, with outputs of their own place and with outputs that align themselves."""

import pytest
import torch
from small import SPECS, make_batch, make_model, model_class, one_row, options, same, with_padding

from seqtrain.contract import Aligned, Fixed, Free, Reals, Spec, Tokens
from seqtrain.likelihoods.bernoulli import Bernoulli
from seqtrain.likelihoods.categorical import Categorical
from seqtrain.likelihoods.ctc import Ctc
from seqtrain.likelihoods.point import Point
from seqtrain.likelihoods.quantiles import Quantiles
from seqtrain.likelihoods.student_t import StudentT

CTC = Spec(Reals((4,)), True, Tokens(9), Ctc(9), Free())
FORMS = {
    "tags": SPECS["tokens to tags"],
    "notes": Spec(Reals((5,)), True, None, Bernoulli(5), Aligned()),
    "quantiles": Spec(Reals((2,)), True, None, Quantiles(2), Aligned()),
    "text": CTC,
}


def fill(spec: Spec, seed: int = 0):
    """A batch whose target has the values of the likelihood."""
    batch = make_batch(spec, source_lengths=(9, 5, 12), seed=seed)
    if spec.likelihood.values == "ids":
        return batch
    values = torch.randn(*batch.target.shape[:2], spec.likelihood.outputs)
    return batch._replace(target=values if spec.likelihood.values == "numbers" else (values > 0).float())


@pytest.mark.parametrize("backbone", options("backbone"))
@pytest.mark.parametrize("form", FORMS)
def test_a_step_reaches_all_parameters_and_lowers_the_loss(form: str, backbone: str):
    spec = FORMS[form]
    made, batch = make_model("many_to_many", spec, backbone, num_layers=2).train(), fill(spec)
    optimizer = torch.optim.SGD(made.parameters(), 0.003)
    loss = spec.likelihood.loss(made(batch), batch).sum()
    loss.backward()
    assert [name for name, p in made.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    optimizer.step()
    assert spec.likelihood.loss(made(batch), batch).sum() < loss


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("backbone", options("backbone"))
@pytest.mark.parametrize("form", FORMS)
def test_neither_padding_nor_the_cut_changes_a_score(form: str, backbone: str, bidirectional: bool):
    spec = FORMS[form]
    made, batch = make_model("many_to_many", spec, backbone, bidirectional=bidirectional), fill(spec)
    output = made(batch)
    same(torch.cat([made(one_row(batch, row)).scores for row in range(3)]), output.scores)
    more = with_padding(batch, source=3, target=3 if isinstance(spec.form, Aligned) else 2)
    same(made(more).scores, output.scores)
    same(spec.likelihood.nll(made(more), more), spec.likelihood.nll(output, batch))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_only_one_direction_leaves_the_past_alone(bidirectional: bool):
    made = make_model("many_to_many", "tokens to tags", bidirectional=bidirectional)
    batch = make_batch("tokens to tags", source_lengths=(6, 6, 6))
    changed = batch.source.clone()
    changed[:, 4] = changed[:, 4] % 10 + 1
    before, after = (made(batch._replace(source=s)).scores.view(3, 6, -1) for s in (batch.source, changed))
    assert torch.equal(before[:, :4], after[:, :4]) != bidirectional
    assert not torch.allclose(before[:, 4:], after[:, 4:])


@pytest.mark.parametrize(("frontend", "upsample"), [("embedding", 1), ("embedding", 3), ("stack", 1), ("conv", 2)])
def test_there_are_as_many_positions_as_the_frontend_leaves(frontend: str, upsample: int):
    made, batch = make_model("many_to_many", CTC, frontend=frontend, upsample=upsample), fill(CTC)
    left = {"embedding": [9, 5, 12], "stack": [3, 2, 4], "conv": [3, 2, 3]}[frontend]
    output = made(batch)
    assert output.lengths.tolist() == [upsample * length for length in left]
    assert output.scores.shape == (upsample * sum(left), 9)


def test_tags_are_never_upsampled():
    assert make_model("many_to_many", "tokens to tags", upsample=3).split is None


@pytest.mark.parametrize("model", [name for name in options("model") if name != "many_to_many"])
def test_what_aligns_itself_is_refused_by_all_other_models(model: str):
    assert "the likelihood aligns" in model_class(model).refuse(CTC)


def test_a_sequence_that_ends_by_itself_needs_a_likelihood_that_aligns():
    reason = model_class("many_to_many").refuse(SPECS["tokens to tokens"])
    assert "which this one does not" in reason
    assert model_class("many_to_many").refuse(CTC) is None
    for likelihood in (Categorical(3), Point(2), StudentT(2)):
        assert model_class("many_to_many").refuse(Spec(Tokens(4), True, None, likelihood, Aligned())) is None
    assert "it writes" in model_class("many_to_many").refuse(Spec(Tokens(4), True, None, Ctc(3), Fixed(1)))
