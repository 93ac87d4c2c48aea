import re
from itertools import product

import pytest
import torch
from small import SPECS, make_batch, make_model, model_class, one_row, options, repeated, same, with_padding
from torch.nn import functional as F

from seqtrain.config import UserError
from seqtrain.contract import Aligned, Batch, Fixed, Free, Reals, Spec, Tokens
from seqtrain.layers import Attended, Copying
from seqtrain.likelihoods.categorical import Categorical
from seqtrain.likelihoods.point import Point
from seqtrain.trees import join, map_tensors

MODELS, BACKBONES = options("model"), options("backbone")
WORKS = [(model, name) for model, name in product(MODELS, SPECS) if model_class(model).refuse(SPECS[name]) is None]
GENERATORS = [(model, name) for model, name in WORKS if model_class(model).decodes]
VARIANTS = [  # of the generators: what decodes differently
    *[("attn_seq2seq", {"attention": kind}) for kind in ("dot", "general", "additive", "multi_head")],
    *[("attn_seq2seq", {"input_feeding": True, "attention": kind}) for kind in ("dot", "additive")],
    ("attn_seq2seq", {"attend": "every", "attention": "multi_head"}),
    ("attn_seq2seq", {"attend": "every", "input_feeding": True}),
    *[("attn_seq2seq", {"copy": True, "attention": kind}) for kind in ("dot", "multi_head")],
    ("attn_seq2seq", {"copy": True, "coverage": 1.0, "input_feeding": True}),
    ("seq2seq", {}),
    ("one_to_many", {}),
]


def spec_for(model: str) -> str:
    return "one to tokens" if model == "one_to_many" else "text to text"


def loss_of(model, batch):
    """Cross-entropy, or the squared error of reals."""
    scores, target = model(batch).scores.float(), batch.real(batch.target)
    return F.cross_entropy(scores, target) if target.ndim == 1 else F.mse_loss(scores, target)


# ------------------------------------------------------------------------------------------ what fits and what does not


def test_each_model_takes_the_forms_it_is_made_for():
    fits = {model: {name for m, name in WORKS if m == model} for model in MODELS}
    sequences = {"tokens to tokens", "text to text", "reals to reals", "reals to tokens"}
    assert fits["many_to_one"] == fits["parallel_seq2seq"] == {"tokens to label", "reals to reals"}
    assert fits["many_to_many"] == {"tokens to tags"}
    assert fits["one_to_many"] == {"nothing to tokens", "one to tokens", "image to tokens"}
    assert fits["seq2seq"] == fits["attn_seq2seq"] == sequences


def every_form():
    sources = [(None, False)]
    sources += [(p, many) for p in (Tokens(7), Reals((3,)), Reals((1, 2, 2))) for many in (False, True)]
    for (source, many), inputs, output in product(
        sources, (None, Tokens(4), Reals((4,)), Reals((6,))), (Fixed(1), Fixed(3), Aligned(), Free())
    ):
        known = inputs.shape[0] - 4 if isinstance(inputs, Reals) else 0
        likelihood = Point(4) if isinstance(inputs, Reals) else Categorical(4)
        yield Spec(source, many, inputs, likelihood, output, known)


@pytest.mark.parametrize("model", MODELS)
def test_every_form_works_or_is_refused_with_a_reason(model):
    worked = 0
    for spec in every_form():
        reason = model_class(model).refuse(spec)
        if reason is None:
            batch = make_batch(spec)
            scores = make_model(model, spec)(batch).scores
            assert scores.shape == (int(batch.target_lengths.sum()), 4)
            assert scores.isfinite().all()
            worked += 1
        else:
            assert reason.startswith(("it takes ", "it writes "))
    assert worked


@pytest.mark.parametrize(
    ("model", "spec", "reason"),
    [
        ("many_to_one", "nothing to tokens", "it takes a sequence, not nothing"),
        ("many_to_one", "tokens to tokens", "it writes a fixed number .*, not a sequence that ends by itself"),
        ("one_to_many", "tokens to tokens", "it takes nothing or a single input, not a sequence"),
        ("seq2seq", "tokens to tags", "it writes a fixed number .* or a sequence .*, not one position for each"),
        ("attn_seq2seq", "tokens to label", "a class label"),
    ],
)
def test_a_refusal_says_what_the_model_does_and_what_was_asked(model, spec, reason):
    assert re.search(reason, model_class(model).refuse(SPECS[spec]))


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize(("model", "spec"), WORKS)
def test_a_step_reaches_all_parameters_and_lowers_the_loss(model, spec, backbone):
    wide = {"num_layers": 2, "hidden_size": 16}  # few units may all be zero behind a ReLU
    made, batch = make_model(model, spec, backbone, **wide).train(), make_batch(spec)
    optimizer = torch.optim.SGD(made.parameters(), 0.01)
    loss = loss_of(made, batch)
    loss.backward()
    untouched = [name for name, p in made.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    optimizer.step()
    assert untouched == []
    assert loss_of(made, batch) < loss


@pytest.fixture
def bfloat16():
    """Turns autocast on; on CPUs where oneDNN has no LSTM of that type, torch's own does the work."""
    able = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    with torch.backends.mkldnn.flags(enabled=able), torch.autocast("cpu", torch.bfloat16):
        yield


@pytest.mark.filterwarnings("ignore:TF32 acceleration")  # of Intel GPUs, said by torch.backends.mkldnn.flags
@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize(
    ("model", "spec", "changes"),
    [
        *[(*pair, {}) for pair in WORKS],
        *[(*pair, {"teacher_forcing": 0.5}) for pair in GENERATORS],
        ("attn_seq2seq", "tokens to tokens", {"input_feeding": True, "attention": "additive", "num_layers": 2}),
    ],
)
def test_a_step_works_in_bfloat16(model, spec, changes, backbone):
    made, batch = make_model(model, spec, backbone, **changes).train(), make_batch(spec)
    loss = loss_of(made, batch)
    loss.backward()
    assert all(p.grad.isfinite().all() and p.grad.dtype == torch.float32 for p in made.parameters())
    with torch.autocast("cpu", enabled=False):
        assert "teacher_forcing" in changes or loss.item() == pytest.approx(loss_of(made, batch).item(), rel=0.03)


# ----------------------------------------------------------------------------------- the same numbers, whatever the cut


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize(("model", "spec"), WORKS)
def test_neither_padding_nor_the_cut_changes_a_score(model, spec, backbone, num_layers):
    """The scores of examples one by one, one after the other, are the scores of the batch: this is also their order."""
    made, batch = make_model(model, spec, backbone, num_layers=num_layers), make_batch(spec)
    scores = made(batch).scores
    same(torch.cat([made(one_row(batch, row)).scores for row in range(3)]), scores)
    same(made(with_padding(batch, source=3, target=0 if isinstance(SPECS[spec].form, Fixed) else 2)).scores, scores)


@pytest.mark.parametrize("changes", [{"pooling": kind} for kind in ("last", "mean", "max", "attention")])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_no_pooling_sees_padding(changes, bidirectional):
    made = make_model("many_to_one", "tokens to label", bidirectional=bidirectional, **changes)
    batch = make_batch("tokens to label")
    scores = made(batch).scores
    same(torch.cat([made(one_row(batch, row)).scores for row in range(3)]), scores)
    same(made(with_padding(batch, source=3, target=0)).scores, scores)


@pytest.mark.parametrize(("model", "changes"), VARIANTS)
def test_no_variant_sees_padding(model, changes):
    spec = spec_for(model)
    made, batch = make_model(model, spec, num_layers=2, **changes), make_batch(spec)
    scores = made(batch).scores
    same(torch.cat([made(one_row(batch, row)).scores for row in range(3)]), scores)
    same(made(with_padding(batch, source=3, target=2)).scores, scores)


def test_a_long_text_goes_on_with_its_state():
    made = make_model("one_to_many", "nothing to tokens", num_layers=2)
    batch = make_batch("nothing to tokens", lengths=(6, 6, 6))
    whole, state, pieces = made(batch), None, []
    for ids in batch.inputs.split(2, 1):
        output = made(Batch(None, None, ids), state)
        state = output.state
        pieces.append(output.scores.view(3, 2, -1))
    same(torch.cat(pieces, 1).flatten(0, 1), whole.scores)
    same(state, whole.state)


# ------------------------------------------------------------------------------------------------ start, decode, output


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize(("model", "changes"), VARIANTS)
def test_decoding_in_steps_or_pieces_equals_the_whole(model, changes, num_layers, backbone):
    made = make_model(model, spec_for(model), backbone, num_layers=num_layers, **changes)
    batch = make_batch(spec_for(model))
    memory, first = made.start(batch.source, batch.source_lengths)
    whole, end = made.decode(batch.inputs, first, memory)
    for sizes in ([1] * 6, [1, 3, 2]):
        state, pieces = first, []
        for piece in batch.inputs.split(sizes, 1):
            hidden, state = made.decode(piece, state, memory)
            pieces.append(hidden)
        same(join(pieces, 1), whole)
        same(state, end)
    same(made.output(batch.real(whole)), made(batch).scores)


@pytest.mark.parametrize(("model", "changes"), VARIANTS)
def test_hypotheses_side_by_side_share_the_memory_of_their_source(model, changes):
    made = make_model(model, spec_for(model), num_layers=2, **changes)
    batch = make_batch(spec_for(model))
    inputs = torch.randint(1, 9, (6, 4))  # two hypotheses a source
    memory, state = made.start(batch.source, batch.source_lengths)
    state = map_tensors(lambda t: t.repeat_interleave(2, 0), state)
    twice, other = made.start(*repeated(batch, 2)[:2])
    same(state, other)
    same(made.decode(inputs, state, memory), made.decode(inputs, other, twice))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_each_layer_looks_at_the_source_and_learns_to(backbone):
    made = make_model("attn_seq2seq", "tokens to tokens", backbone, num_layers=3, attend="every").train()
    batch, called = make_batch("tokens to tokens"), []
    for i, look in enumerate(made.every):
        look.register_forward_hook(lambda *_, i=i: called.append(i))
    loss = loss_of(made, batch)
    loss.backward()
    assert called == [0, 1, 2]
    untouched = [name for name, p in made.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert untouched == []
    torch.optim.SGD(made.parameters(), 0.01).step()
    assert loss_of(made, batch) < loss


def test_where_each_layer_looks_align_tells_the_mean():
    made = make_model("attn_seq2seq", "tokens to tokens", num_layers=2, attend="every")
    batch, seen = make_batch("tokens to tokens"), []
    for look in made.every:
        look.register_forward_hook(lambda module, arguments, result: seen.append(result[1]))
    made(batch)
    same(made.align(batch), torch.stack(seen[:2]).mean(0))


@pytest.mark.parametrize("input_feeding", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_align_tells_the_weights_of_decode(num_layers, input_feeding):
    made = make_model("attn_seq2seq", "tokens to tokens", num_layers=num_layers, input_feeding=input_feeding)
    batch = make_batch("tokens to tokens")
    seen = []
    made.attention.register_forward_hook(lambda module, arguments, result: seen.append(result[1]))
    made(batch)
    used = torch.cat(seen, 1)
    weights = made.align(batch)
    same(weights, used)
    same(weights.sum(-1), torch.ones(3, 6))
    assert (weights[1, :, 3:] == 0).all()
    assert make_model("seq2seq", "tokens to tokens").align(batch) is None


@pytest.mark.parametrize("embedding_size", [8, 6])
@pytest.mark.parametrize(("model", "spec"), [(m, name) for m, name in GENERATORS if "to tokens" in name])
def test_tied_embeddings_are_one_tensor(model, spec, embedding_size):
    made = make_model(model, spec, tie_embeddings=True, embedding_size=embedding_size)
    free = make_model(model, spec, embedding_size=embedding_size)
    assert made.output.scores.weight is made.embedding.map.weight
    assert free.output.scores.weight is not free.embedding.map.weight
    assert (
        made.output(made.decode(torch.ones(3, 1, dtype=torch.long), *made.start(*make_batch(spec)[:2])[::-1])[0]).ndim
        == 3
    )


@pytest.mark.parametrize("model", ["seq2seq", "attn_seq2seq"])
def test_one_vocabulary_has_one_table_for_source_target_and_scores(model):
    spec = SPECS["tokens to tokens"]
    spec = spec._replace(source=spec.inputs, one_vocab=True)
    made = make_model(model, spec, tie_embeddings=True)
    assert made.encoder.embedding.map.weight is made.embedding.map.weight is made.output.scores.weight
    apart = make_model(model, spec, tie_embeddings=False)
    assert apart.encoder.embedding.map.weight is not apart.embedding.map.weight
    batch = make_batch(spec)
    loss_of(made, batch).backward()
    assert all(parameter.grad is not None for parameter in made.parameters())


def test_embeddings_of_reals_or_of_another_vocabulary_are_not_tied():
    assert make_model("seq2seq", "reals to reals", tie_embeddings=True).output.scores.weight.shape == (2, 8)
    other = SPECS["tokens to tokens"]._replace(likelihood=Categorical(5))
    assert make_model("seq2seq", other, tie_embeddings=True).output.scores.weight.shape == (5, 8)


# ---------------------------------------------------------------------------------------------------- reading one's own


@pytest.mark.parametrize(("model", "spec"), GENERATORS)
def test_a_roll_out_with_the_true_inputs_equals_the_whole(model, spec):
    made, batch = make_model(model, spec), make_batch(spec)
    memory, state = made.start(batch.source, batch.source_lengths)
    same(made.roll_out(batch.inputs, state, memory, 1.0), made.decode(batch.inputs, state, memory))


@pytest.mark.parametrize(("model", "spec"), GENERATORS)
def test_a_roll_out_without_them_feeds_the_best_scores_back(model, spec):
    made, batch = make_model(model, spec), make_batch(spec)
    memory, state = made.start(batch.source, batch.source_lengths)
    hidden, _ = made.roll_out(batch.inputs, state, memory, 0.0)
    scores, own = made.output(hidden), batch.inputs.clone()
    if own.ndim == 2:
        own[:, 1:] = scores.argmax(-1)[:, :-1]
    else:
        own[:, 1:, :2] = scores[:, :-1]
    same(made.decode(own, state, memory)[0], hidden)


@pytest.mark.parametrize("model", ["seq2seq", "attn_seq2seq"])
def test_a_forecast_is_made_without_the_values_that_it_forecasts(model):
    made, batch = make_model(model, "reals to reals"), make_batch("reals to reals")
    blind = batch.inputs.clone()
    blind[:, 1:, :2] = torch.nan
    scores = made(batch._replace(inputs=blind)).scores
    assert scores.isfinite().all()
    same(scores, made(batch).scores, 0)
    blind[:, 2:, 2:] += 1  # covariates are known, and read
    assert not torch.allclose(made(batch._replace(inputs=blind)).scores, scores)


@pytest.mark.parametrize("model", ["many_to_one", "parallel_seq2seq"])
def test_what_writes_all_at_once_reads_covariates_and_no_values(model):
    made, batch = make_model(model, "reals to reals"), make_batch("reals to reals")
    blind = batch.inputs.clone()
    blind[..., :2] = torch.nan
    same(made(batch._replace(inputs=blind)).scores, made(batch).scores, 0)
    blind[:, 2:, 2:] += 1
    assert not torch.allclose(made(batch._replace(inputs=blind)).scores, made(batch).scores)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_outputs_in_parallel_are_single_steps_from_the_same_start(backbone):
    made, batch = make_model("parallel_seq2seq", "reals to reals", backbone, num_layers=2), make_batch("reals to reals")
    scores = made(batch).scores.view(3, 5, 2)
    start = made.decoder.start(made.encoder.summary(*made.encoder(*batch[:2])))
    for t in range(5):
        read = made.places[t] + made.covariates(batch.inputs[:, t : t + 1, 2:])
        same(made.scores(made.decoder(read, start)[0])[:, 0], scores[:, t])


def test_teacher_forcing_is_the_share_of_true_inputs():
    made = make_model("one_to_many", "nothing to tokens", teacher_forcing=0.7).train()
    with torch.no_grad():
        made.output.scores.bias[3] = 100  # what it writes
    batch = make_batch("nothing to tokens", lengths=(11,) * 200, source_lengths=(1,) * 200)
    seen = []
    made.embedding.register_forward_hook(lambda module, arguments, result: seen.append(arguments[0]))
    made(batch._replace(inputs=torch.full((200, 11), 8)))
    read = torch.cat(seen, 1)
    assert (read[:, 0] == 8).all()
    assert set(read.unique().tolist()) == {3, 8}
    assert (read[:, 1:] == 8).float().mean().item() == pytest.approx(0.7, abs=0.04)
    assert 0 < (read[:, 1] == 8).sum() < 200  # each row draws for itself
    seen.clear()
    made.eval()(batch._replace(inputs=torch.full((200, 11), 8)))
    assert (seen[0] == 8).all()  # free text is scored on the true inputs


# ---------------------------------------------------------------------------------------------- copying from the source


def test_copying_mixes_what_is_written_with_what_is_pointed_at():
    layer = Copying(4, 6, 0.0)
    hidden, weights, ids = torch.randn(3, 4), torch.tensor([[0.5, 0.2, 0.3]] * 3), torch.tensor([[5, 2, 5]] * 3)
    found = layer((hidden, weights, ids)).exp()
    share = layer.share(hidden).sigmoid()
    pointed = torch.tensor([0, 0, 0.2, 0, 0, 0.8])
    same(found, (1 - share) * layer.scores(hidden).softmax(-1) + share * pointed)
    same(found.sum(-1), torch.ones(3))
    copied = layer.copied(Attended(hidden[None], weights[None], ids[None]), torch.tensor([[5, 2, 1]]))
    same(copied[0], torch.stack([share[0, 0] * 0.8 / found[0, 5], share[1, 0] * 0.2 / found[1, 2], torch.zeros(())]))


def test_the_loss_of_a_copying_model_is_that_of_its_mixture():
    model, batch = make_model("attn_seq2seq", "text to text", copy=True), make_batch("text to text")
    output = model(batch)
    same(output.scores.exp().sum(-1), torch.ones(len(output.scores)))
    nats = model.spec.likelihood.nll(output, batch)
    same(nats.sum(), -output.scores.gather(1, batch.real(batch.target)[:, None]).sum())
    copied = model.copied(batch)
    assert copied.shape == batch.target.shape
    assert ((copied >= 0) & (copied <= 1 + 1e-6)).all()
    assert make_model("attn_seq2seq", "text to text").copied(batch) is None


def test_coverage_is_punished_where_a_place_is_looked_at_again():
    model, batch = make_model("attn_seq2seq", "text to text", coverage=2.0), make_batch("text to text")
    weights = model.align(batch)
    again = torch.stack(
        [torch.minimum(weights[:, t], weights[:, :t].sum(1)).sum(-1) for t in range(weights.size(1))], 1
    )
    assert model(batch).penalty is None  # only training has one
    same(model.train()(batch).penalty, 2 * batch.real(again).mean())
    with torch.no_grad():
        model.attention.covered.fill_(-50.0)
    looked = model.eval().align(batch).argmax(-1)
    assert (looked[:, 1:] != looked[:, :-1]).all()  # never at the same place


def test_copying_needs_one_vocabulary_and_all_positions():
    with pytest.raises(UserError, match="one vocabulary for source and target"):
        make_model("attn_seq2seq", "tokens to tokens", copy=True)
    with pytest.raises(UserError, match=r"each position of the source: frontend=embedding keeps them"):
        make_model("attn_seq2seq", "text to text", frontend="stack", copy=True)
