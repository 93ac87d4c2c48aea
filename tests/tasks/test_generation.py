import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

import seqtrain
from seqtrain.codecs.stream import Stream
from seqtrain.codecs.text import END, PAD
from seqtrain.commands.loaded import Loaded
from seqtrain.config import UserError
from seqtrain.contract import Batching
from seqtrain.data.kinds import Document, Labelled
from seqtrain.engine.loader import Loader
from seqtrain.tasks.generation import Generation

NAMES = [Labelled("Oslo", "no"), Labelled("Rom", "de"), Labelled("Ulm", "de")]


@pytest.fixture(autouse=True, scope="module")
def few_topics_and_no_figures():
    with tiny.few_topics(), tiny.no_figures():
        yield


@pytest.fixture(scope="module", params=["pydocs", "places"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    place = tmp_path_factory.mktemp("runs") / "run"
    found = tiny.train(place, "generation", {"data": request.param})
    judged = {"recognised_samples", "recognised_held_out", "novel_samples"}
    assert (judged <= found["test"].keys()) == (request.param == "places")
    return seqtrain.load(place)


def fitted(records: list[Any], window: int = 4, carry: bool = True) -> Generation:
    options = {"unit": "char", "lowercase": False, "nfc": False, "min_count": 1, "vocab_size": 300}
    task = Generation(options, window, carry, "bits_per_char")
    task.fit(records)
    return task


@pytest.mark.parametrize("length", [1, 2, 16, 63, 64, 65, 100])
@pytest.mark.parametrize("window", [1, 3, 4, 1000])
def test_windows_cover_every_item_once_and_in_order(length: int, window: int):
    task = fitted([Document("x" * length)], window)
    stream = task.examples([Document("x" * length)])
    assert isinstance(stream, Stream)
    stream.ids = END + 1 + np.arange(length + 1)  # so that an item tells its place; what is read first is an end mark
    loader = Loader.of(task.examples([Document("x" * length)]), Batching(3, None), None)
    loader.examples = stream
    seen: dict[int, list[int]] = {}
    for i, batch in enumerate(loader.epoch()):
        assert batch.inputs is not None
        assert batch.continues == (i > 0)
        assert batch.target.shape == batch.inputs.shape
        assert 1 <= batch.target.size(1) <= window
        lengths = batch.target_lengths.tolist()
        assert max(lengths) == batch.target.size(1)
        assert max(lengths) - min(lengths) <= (i == loader.size() - 1)  # full rows, but for the last window
        assert batch.real(batch.target).tolist() == (batch.real(batch.inputs) + 1).tolist()
        for row, (target, size) in enumerate(zip(batch.target.tolist(), lengths, strict=True)):
            seen.setdefault(row, []).extend(target[:size])
    assert [item for row in seen.values() for item in row] == list(range(END + 1, END + length + 2))


def test_training_streams_begin_elsewhere_in_each_epoch_and_the_same_when_repeated():
    task = fitted([Document("x" * 100)], window=8)
    loader = Loader.of(task.examples([Document("x" * 100)]), Batching(2, None), seed=1)
    starts = {epoch: loader.plan(epoch)[0].starts[0] for epoch in range(8)}
    assert len(set(starts.values())) > 2
    assert all(0 <= start < 8 for start in starts.values())
    assert loader.plan(3)[0].starts[0] == starts[3]
    tokens = Loader.of(task.examples([Document("x" * 100)]), Batching(None, 16), seed=1)  # two streams of 8
    assert next(tokens.epoch()).target.shape[0] == 2


@pytest.mark.parametrize("seed", [None, 1])
def test_windows_that_stand_alone(seed: int | None):
    text = "".join(map(chr, range(65, 165)))
    task = fitted([Document(text)], window=8, carry=False)
    loader = Loader.of(task.examples([Document(text)]), Batching(3, None), seed)
    batches = list(loader.epoch())
    assert not any(batch.continues for batch in batches)
    items = torch.cat([batch.real(batch.target) for batch in batches]).tolist()
    if seed is None:
        assert task.target.tokenizer.decode(items) == text
        assert items[-1] == END
    else:  # cut elsewhere in each epoch, and in another order
        assert len(set(items)) == len(items)
        assert 93 <= len(items) <= 101
        assert items != sorted(items)
        again, other = ([b.target.tolist() for b in loader.epoch(epoch)] for epoch in (0, 1))
        assert again == [batch.target.tolist() for batch in batches] != other
    for batch in batches:
        assert batch.inputs is not None
        assert batch.target.shape[1] <= 8
        for inputs, target, size in zip(batch.inputs, batch.target, batch.target_lengths, strict=True):
            assert inputs[1:size].tolist() == target[: size - 1].tolist()


def test_texts_follow_one_another_with_an_end_mark_between():
    task = fitted([Document("ab"), Document("c")])
    a, b, c = (task.target.tokenizer.ids[item] for item in "abc")
    assert task.examples([Document("ab"), Document("c")]).ids.tolist() == [a, b, END, c, END]  # pyright: ignore


def test_a_labelled_batch_by_hand():
    task = fitted(NAMES)
    batch = task.examples(NAMES).batch(np.array([0, 1]))
    ids = task.target.tokenizer.ids
    assert batch.source is not None
    assert batch.inputs is not None
    assert batch.source.tolist() == [[2], [1]]  # de, no: 0 is padding
    assert batch.inputs.tolist() == [[END, *(ids[c] for c in "Oslo")], [END, *(ids[c] for c in "Rom"), END]]
    assert batch.target.tolist() == [[*(ids[c] for c in "Oslo"), END], [*(ids[c] for c in "Rom"), END, PAD]]
    assert not batch.continues
    with pytest.raises(UserError, match=r"the label 'noo' is not in the training split.*no"):
        task.examples([Labelled("x", "noo")])


def test_bits_per_character_by_hand():
    task = fitted([Document("abc")])
    sums = {"nats": 8.0 * np.log(2), "items": 4.0, "characters": 3.0}
    found = task.score({name: np.array([value]) for name, value in sums.items()})
    assert found == pytest.approx({"loss": 2 * np.log(2), "perplexity": 4.0, "bits_per_char": 8 / 3})


@pytest.mark.parametrize("records", [[Document("abc"), Document("d")], NAMES])
def test_what_was_fitted_comes_back_from_its_state(records: list[Any]):
    task, other = fitted(records), fitted([Document("z")])
    other.load_state(json.loads(json.dumps(task.state())))
    assert (other.spec, other.labels) == (task.spec, task.labels)
    for labels in (None, {}, ["a", "a"], ["a", 3]):
        with pytest.raises(ValueError, match="labels: expected at least 1 different texts"):
            other.load_state(task.state() | {"labels": labels})


@pytest.mark.parametrize("data", ["pydocs", "places"])
def test_overfits_one_batch(data: str, tmp_path: Path):
    found = tiny.train(
        tmp_path / "run",
        "generation",
        {"schedule": "constant", "data": data},
        trainer__overfit_batches=1,
        trainer__batch_size=4,
        trainer__max_steps=150,
        trainer__eval_every=150,
        model__hidden_size=64,
        model__embedding_size=24,
        optimizer__lr=0.02,
    )
    # Which of several texts comes first cannot be known: with one label to two texts each, a choice of two is left.
    assert found["valid"]["loss"] < (0.05 if data == "pydocs" else 0.3)


def test_an_n_gram_of_each_label_is_the_baseline():
    found = fitted(NAMES).baselines(NAMES, NAMES)
    assert list(found) == ["character unigram", "character 5-gram"]
    assert found["character 5-gram"]["bits_per_char"] < found["character unigram"]["bits_per_char"]


def test_prompts_are_continued_in_order(loaded: Loaded):
    labels = loaded.task.labels  # pyright: ignore
    prompts = ["what", "", "\u4e00", "the state of", "x" * 300, "what"]
    lines = [f"{labels[i % 2]}\t{prompt}" if labels else prompt for i, prompt in enumerate(prompts)]
    answers = loaded.predict(lines, details=True)
    assert [answer["input"] for answer in answers] == lines
    for prompt, answer in zip(prompts, answers, strict=True):
        assert answer["output"].startswith(prompt)
        assert answer["log_prob"] <= 0


def test_an_unknown_label_is_told_with_the_nearest_one():
    task = fitted([Labelled("a", "german"), Labelled("b", "french")])
    assert task.parse("french", 1) == ("", "french")
    assert task.parse("german\tA\tb", 1) == ("A\tb", "german")
    with pytest.raises(UserError, match=r"input, line 7: 'frensh' is not a label of the training data.*french"):
        task.parse("frensh", 7)
    with pytest.raises(UserError, match="one of french, german"):
        task.parse("", 1)
