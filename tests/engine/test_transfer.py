"""Weights of one model in another: rows of the same item are the same, all else is as it was in one of the two."""

from typing import Any

import pytest
import small
import torch
from torch import Tensor

from seqtrain.contract import Aligned, Spec, Tokens
from seqtrain.engine.checkpoint import weights_of
from seqtrain.engine.transfer import transfer
from seqtrain.likelihoods.categorical import Categorical
from seqtrain.likelihoods.crf import Crf

OLD, NEW = ["<pad>", "<unk>", "a", "b", "c", "d"], ["<pad>", "<unk>", "d", "x", "b"]


def pairs(source: list[str], target: list[str], unused: int = 0) -> Spec:
    spec = small.SPECS["tokens to tokens"]
    inputs = Tokens(len(target) + unused, items=target)
    return spec._replace(source=Tokens(len(source), items=source), inputs=inputs, classes=target,
                         likelihood=Categorical(inputs.size))  # fmt: skip


def tags(names: list[str], likelihood: Any = Categorical) -> Spec:
    parts = Tokens(3, items=["<pad>", "<unk>", "".join(names)[0]], width=4)
    source = Tokens(6, width=1, parts=parts, items=OLD)
    return Spec(source, True, None, likelihood(len(names)), Aligned(), classes=names)


def moved(
    model: str, old: Spec, new: Spec, **how: Any
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor], str]:
    """The weights of the old model, and of the new one before and after; and what is told."""
    made = small.make_model(model, old, seed=1, **how)
    into = small.make_model(model, new, seed=2, **how)
    weights, before = (
        {name: weight.detach().clone() for name, weight in weights_of(some).items()} for some in (made, into)
    )

    def shapes(spec: Spec) -> dict[str, torch.Size]:
        return {name: w.shape for name, w in weights_of(small.make_model(model, spec, **how)).items()}

    told = transfer(weights, into, shapes, old, new)
    return weights, before, weights_of(into), told


def check_rows(weights: Any, before: Any, after: Any, name: str, old: list[Any], new: list[Any]) -> None:
    for i, item in enumerate(new):
        expected = weights[name][old.index(item)] if item in old else before[name][i]
        assert torch.equal(after[name][i], expected), (name, item)


@pytest.mark.parametrize("tied", [False, True])
def test_rows_of_embeddings_and_scores_are_matched_by_item(tied: bool):
    old, new = pairs(OLD, OLD[::-1], unused=3), pairs(NEW, NEW[::-1], unused=1)
    weights, before, after, told = moved("attn_seq2seq", old, new, tie_embeddings=tied)
    check_rows(weights, before, after, "encoder.embedding.map.weight", OLD, NEW)
    tables = ["embedding.map.weight", "output.scores.bias", *([] if tied else ["output.scores.weight"])]
    for name in tables:
        check_rows(weights, before, after, name, OLD[::-1], NEW[::-1])
        assert torch.equal(after[name][5:], before[name][5:])  # ids that are not used
    rest = after.keys() - {*tables, "encoder.embedding.map.weight"}
    assert len(rest) > 8
    assert all(torch.equal(after[name], weights[name]) for name in rest)
    found = "4 known, 1 new (x), 2 left out"
    assert f"; source: {found} (a, c); target: {found} (c, a)" in told
    assert told.startswith(f"{len(after)} of {len(after)} weights")


def test_the_same_vocabularies_keep_every_weight():
    weights, _, after, told = moved("seq2seq", pairs(OLD, NEW), pairs(OLD, NEW))
    assert all(torch.equal(after[name], weights[name]) for name in after)
    assert told.endswith("; the same source vocabulary; the same target vocabulary")


@pytest.mark.parametrize("names", [["B", "C"], ["A", "B", "C"], ["C", "B"]])
def test_a_head_gets_the_rows_of_its_labels_whatever_their_number(names: list[str]):
    weights, before, after, told = moved("many_to_many", tags(["A", "B"]), tags(names))
    check_rows(weights, before, after, "scores.scores.weight", ["A", "B"], names)
    check_rows(weights, before, after, "scores.scores.bias", ["A", "B"], names)
    assert "1 new (C)" in told


def test_of_neighbouring_tags_each_pair_has_a_row():
    old, new = ["A", "B"], ["B", "C", "A"]
    weights, before, after, _ = moved("many_to_many", tags(old, Crf), tags(new, Crf))
    rows = [[*names, *((a, b) for a in names for b in names)] for names in (old, new)]
    check_rows(weights, before, after, "scores.scores.weight", *rows)


def test_the_characters_of_words_are_matched():
    weights, before, after, told = moved("many_to_many", tags(["A", "B"]), tags(["B", "A"]), frontend="characters")
    name = "encoder.embedding.characters.weight"
    check_rows(weights, before, after, name, ["<pad>", "<unk>", "A"], ["<pad>", "<unk>", "B"])
    assert "characters: 2 known, 1 new (B), 1 left out (A)" in told


def test_what_the_old_model_lacks_stays_and_is_told():
    spec = pairs(OLD, NEW)
    weights = {n: w.detach().clone() for n, w in weights_of(small.make_model("seq2seq", spec)).items()}
    into = small.make_model("attn_seq2seq", spec, seed=2)
    names = weights_of(into)
    told = transfer(weights, into, lambda spec: {n: w.shape for n, w in names.items()}, spec, spec)
    assert told.endswith("; only here: combine, lower; not here: decoder")
    with pytest.raises(ValueError, match="no weight of this model is in it; it has strange"):
        transfer({"strange": torch.zeros(1)}, into, lambda spec: {}, spec, spec)


def test_other_numbers_and_other_shapes_are_refused():
    spec = small.SPECS["reals to reals"]
    wider = spec._replace(source=small.Reals((5,)))
    with pytest.raises(ValueError, match=r"encoder.embedding.map.weight is of shape \(6, 4\) .* here \(6, 5\)"):
        moved("seq2seq", spec, wider)
    model = small.make_model("seq2seq", pairs(OLD, NEW))
    weights = {name: weight.detach().double() for name, weight in weights_of(model).items()}
    shapes = {name: weight.shape for name, weight in weights.items()}
    with pytest.raises(ValueError, match=r"of torch.float64, here .* of torch.float32"):
        transfer(weights, model, lambda spec: shapes, pairs(OLD, NEW), pairs(OLD, NEW))
