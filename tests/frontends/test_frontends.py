"""Each frontend: how many positions are left, that padding and the cut of a batch change nothing, what is refused."""

from functools import partial
from typing import Any

import pytest
import torch
from small import SPECS, make_batch, make_model, model_class, one_row, options, read, same, with_padding
from torch import Tensor

from seqtrain.config import build, locate
from seqtrain.contract import Aligned, Fixed, Reals, Spec, Tokens
from seqtrain.likelihoods.categorical import Categorical

FRONTENDS = options("frontend")
WORDS = Spec(Tokens(11, width=2, parts=Tokens(11, width=5)), True, None, Categorical(4), Aligned())
LABELS = {
    "embedding": Spec(Tokens(11), True, None, Categorical(3), Fixed(1)),
    "stack": Spec(Tokens(11), True, None, Categorical(3), Fixed(1)),
    "conv": Spec(Tokens(11), True, None, Categorical(3), Fixed(1)),
    "characters": WORDS._replace(form=Fixed(1), likelihood=Categorical(3)),
}


def make_frontend(frontend: str, source: Tokens | Reals, size: int = 6, **changes: Any) -> Any:
    torch.manual_seed(0)
    settings = read("frontend", frontend) | changes
    return build(settings, source=source, size=size, dropout=0.0, word_dropout=0.0, scaled=True).eval()


def words(lengths: tuple[int, ...] = (5, 3, 7), width: int = 5) -> Tensor:
    """Words, something else that is known of each, and their 1 to `width` characters, filled up with padding."""
    random = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 11, (len(lengths), max(lengths), width), generator=random)
    sizes = torch.randint(1, width + 1, ids.shape[:2], generator=random)
    own = torch.randint(1, 11, (*ids.shape[:2], 2), generator=random)
    return torch.cat([own, ids * (torch.arange(width) < sizes[..., None])], -1)


def batch_for(spec: Spec) -> Any:
    batch = make_batch(spec._replace(source=Tokens(11)))
    return batch._replace(source=words()) if spec.source == WORDS.source else batch


def test_there_is_a_case_for_each():
    assert set(LABELS) == set(FRONTENDS)


@pytest.mark.parametrize("frontend", FRONTENDS)
def test_neither_padding_nor_the_cut_changes_a_score(frontend: str):
    spec = LABELS[frontend]
    made, batch = make_model("many_to_one", spec, frontend=frontend), batch_for(spec)
    scores = made(batch).scores
    same(torch.cat([made(one_row(batch, row)).scores for row in range(3)]), scores)
    same(made(with_padding(batch, source=3, target=0)).scores, scores)


@pytest.mark.parametrize("frontend", [name for name in FRONTENDS if name != "characters"])
@pytest.mark.parametrize("model", ["seq2seq", "attn_seq2seq"])
def test_generators_read_through_each(model: str, frontend: str):
    made, batch = make_model(model, "tokens to tokens", frontend=frontend), make_batch("tokens to tokens")
    scores = made(batch).scores
    same(torch.cat([made(one_row(batch, row)).scores for row in range(3)]), scores)
    same(made(with_padding(batch, source=3, target=2)).scores, scores)
    scores.sum().backward()
    assert all(parameter.grad is not None for parameter in made.encoder.parameters())
    assert (made.align(batch) is None) == (model == "seq2seq")


@pytest.mark.parametrize(
    ("frontend", "changes", "left"),
    [
        ("embedding", {}, [5, 3, 7, 1]),
        ("stack", {"factor": 2}, [3, 2, 4, 1]),
        ("stack", {"factor": 4}, [2, 1, 2, 1]),
        ("conv", {"layers": 1}, [3, 2, 4, 1]),
        ("conv", {"layers": 2}, [2, 1, 2, 1]),
        ("conv", {"layers": 5}, [1, 1, 1, 1]),
    ],
)
def test_as_many_positions_are_left_as_it_says(frontend: str, changes: dict[str, Any], left: list[int]):
    lengths = torch.tensor([5, 3, 7, 1])
    made = make_frontend(frontend, Reals((4,)), **changes)
    vectors, found = made(torch.randn(4, 7, 4), lengths)
    assert found.tolist() == made.left(lengths).tolist() == left
    assert vectors.shape == (4, max(left), 6)


def test_stacked_vectors_are_a_linear_map_of_neighbours():
    made, x = make_frontend("stack", Reals((4,)), factor=3), torch.randn(1, 5, 4)
    vectors, _ = made(x, torch.tensor([5]))
    embedded = torch.cat([made.map(x[0]), torch.zeros(1, 6)])
    same(vectors[0], made.merge(embedded.view(2, 18)))


@pytest.mark.parametrize("shape", [(1, 12, 16), (3, 11, 9)])
def test_an_image_becomes_a_grid_row_by_row_or_one_vector(shape: tuple[int, ...]):
    """A changed pixel changes the vectors of its place and of the neighbours alone."""
    image, ones = torch.rand(2, 1, *shape), torch.ones(2, dtype=torch.long)
    made = make_frontend("conv", Reals(shape), layers=2, one_vector=False)
    grid, lengths = made(image, ones)
    rows, columns = -(-shape[1] // 4), -(-shape[2] // 4)
    assert lengths.tolist() == made.left(ones).tolist() == [rows * columns] * 2
    assert grid.shape == (2, rows * columns, 6)
    changed = image.clone()
    changed[:, :, :, 0, 0] += 1
    others = make_frontend("conv", Reals(shape), layers=2, one_vector=False)(changed, ones)[0]
    moved = ((others - grid).abs().sum((0, 2)) > 0).view(rows, columns)
    assert moved[0, 0]
    assert not moved[2:].any()
    assert not moved[:, 2:].any()
    made = make_frontend("conv", Reals(shape), layers=2, one_vector=True)
    one, lengths = made(image, ones)
    same(one, grid.mean(1, keepdim=True))
    assert lengths.tolist() == made.left(ones).tolist() == [1, 1]


@pytest.mark.parametrize("one_vector", [False, True])
def test_a_model_sees_an_image_as_the_frontend_leaves_it(one_vector: bool):
    spec = SPECS["image to tokens"]
    seen = locate(read("frontend", "conv")["_target_"], trust=False).of(spec, layers=1, one_vector=one_vector)
    fits = {model for model in options("model") if model_class(model).refuse(seen) is None}
    assert fits == ({"one_to_many"} if one_vector else {"seq2seq", "attn_seq2seq"})
    conv = partial(build, read("frontend", "conv") | {"layers": 1, "one_vector": one_vector})
    layers = partial(build, read("backbone", "gru"))
    for model in fits:
        settings = read("model", model) | {"embedding_size": 6, "hidden_size": 8}
        made, batch = build(settings, spec=spec, frontend=conv, backbone=layers).eval(), make_batch(spec)
        assert made(batch).scores.shape == (11, 9)


def test_a_word_is_its_characters_wherever_it_stands():
    made = make_frontend("characters", Tokens(11, parts=Tokens(9, width=5)))
    ids = torch.tensor([[[4, 2, 7, 6, 0, 0], [4, 2, 7, 6, 0, 0], [4, 7, 2, 6, 0, 0], [5, 2, 7, 6, 0, 0]]])
    vectors, lengths = made(ids, torch.tensor([4]))
    same(vectors[:, 0], vectors[:, 1])
    assert not torch.allclose(vectors[:, 0], vectors[:, 2])  # the order of characters counts
    assert not torch.allclose(vectors[:, 0], vectors[:, 3])  # and so does the word
    assert lengths.tolist() == [4]
    longer = torch.cat([ids, torch.zeros(1, 4, 3, dtype=torch.long)], 2)
    same(made(longer, lengths)[0], vectors)


@pytest.mark.parametrize("frontend", ["embedding", "stack", "conv"])
def test_of_several_ids_a_position_the_vectors_are_added_up_and_parts_left_alone(frontend: str):
    made, one = (make_frontend(frontend, source) for source in (WORDS.source, Tokens(11)))
    x = words()
    same(made.embed(x), one.embed(x[..., 0]) + one.embed(x[..., 1]))


REFUSED = {
    "stack": [("tokens to tags", "one position for each"), ("nothing to tokens", "nothing comes in"),
              ("one to tokens", "a sequence, not a single input")],
    "conv": [("tokens to tags", "one position for each"), ("one to tokens", "a sequence or an image")],
    "characters": [("tokens to label", "nothing that has such parts")],
}  # fmt: skip


@pytest.mark.parametrize(("frontend", "spec", "reason"), [(name, *case) for name in REFUSED for case in REFUSED[name]])
def test_what_it_cannot_read_is_refused(frontend: str, spec: str, reason: str):
    assert reason in locate(read("frontend", frontend)["_target_"], trust=False).refuse(SPECS[spec])


def test_words_have_characters():
    assert locate(read("frontend", "characters")["_target_"], trust=False).refuse(WORDS) is None
