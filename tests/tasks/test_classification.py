import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from small import read

import seqtrain
from seqtrain.codecs.text import END, PAD, UNKNOWN
from seqtrain.commands.loaded import Loaded
from seqtrain.config import UserError
from seqtrain.contract import Reals
from seqtrain.data.kinds import Labelled
from seqtrain.tasks.classification import Classification

RECORDS = [Labelled("good film", "pos"), Labelled("bad", "neg")]
WORDS = {"unit": "word", "lowercase": True, "nfc": False, "min_count": 1, "vocab_size": 300}
SIGNALS = {name: read("task", "classification")["task"][name] for name in ("sound", "strokes", "image")}


@pytest.fixture(autouse=True, scope="module")
def no_figures():
    with tiny.no_figures():
        yield


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    place = tmp_path_factory.mktemp("runs") / "run"
    tiny.train(place, "sentiment")
    return seqtrain.load(place)


def fitted(records: list[Labelled] = RECORDS, **changes: Any) -> Classification:
    options = {"reads": "text", "tokenizer": WORDS, "max_length": 400, "label_smoothing": 0.0}
    task = Classification(**options | {"monitor": "accuracy", **SIGNALS} | changes)
    task.fit(records)
    return task


def test_a_batch_by_hand():
    task = fitted()
    bad, film, good = (task.source.tokenizer.ids[word] for word in ("bad", "film", "good"))
    batch = task.examples([Labelled("Good bad FILM", "pos"), Labelled("what", "neg")]).batch(np.arange(2))
    assert batch.source is not None
    assert batch.source_lengths is not None
    assert batch.source.tolist() == [[good, bad, film, END], [UNKNOWN, END, PAD, PAD]]
    assert batch.source_lengths.tolist() == [4, 2]
    assert (task.labels.names, batch.target.tolist()) == (["neg", "pos"], [[1], [0]])
    assert batch.inputs is None


def test_a_label_of_another_split_must_be_known():
    with pytest.raises(UserError, match=r"the label 'pso' is not in the training split.*pos"):
        fitted().examples([Labelled("good", "pso")])


def test_one_label_is_nothing_to_learn():
    with pytest.raises(UserError, match="all training examples have the label 'pos'"):
        fitted(RECORDS[:1])


def test_what_was_fitted_comes_back_from_its_state():
    task, other = fitted(), fitted([Labelled("x", "a"), Labelled("y", "b"), Labelled("z", "c")])
    other.load_state(json.loads(json.dumps(task.state())))
    assert (other.spec, other.state()) == (task.spec, task.state())
    assert other.source.encode("bad").tolist() == task.source.encode("bad").tolist()


def test_baselines_and_confusion_by_hand():
    task = fitted([*RECORDS, Labelled("fine", "pos")])
    found = task.baselines(
        [*RECORDS, Labelled("fine", "pos")], [Labelled("fine", "pos"), Labelled("bad", "neg"), Labelled("bad", "neg")]
    )
    assert found["majority class"]["accuracy"] == pytest.approx(1 / 3)
    assert found["bag of words"]["accuracy"] == 1
    counts = task.confusion(["neg", "pos"], ["pos", "pos"])
    assert counts.tolist() == [[0, 1], [0, 1]]


def test_overfits_one_batch(tmp_path: Path):
    found = tiny.train(
        tmp_path / "run",
        "sentiment",
        {"schedule": "constant"},
        trainer__overfit_batches=1,
        trainer__batch_size=16,
        trainer__max_steps=60,
        trainer__eval_every=60,
        model__hidden_size=32,
        optimizer__lr=0.02,
    )
    assert found["valid"]["accuracy"] == 1
    assert found["valid"]["loss"] < 0.01


def test_answers_keep_the_order_and_do_not_depend_on_their_neighbours(loaded: Loaded):
    lines = ["a bad film", "?", "not good", "\u4e00 \x00", "word " * 2000, "a bad film"]
    together = loaded.predict(lines, details=True)
    assert [answer["input"] for answer in together] == lines
    for line, answer in zip(lines, together, strict=True):
        (alone,) = loaded.predict([line], details=True)
        assert alone["scores"] == pytest.approx(answer["scores"], rel=1e-5)
        assert sum(answer["scores"].values()) == pytest.approx(1)
        assert answer["output"] == max(answer["scores"], key=answer["scores"].get)
    assert loaded.predict(lines) == [answer["output"] for answer in together]


# ------------------------------------------------------------------------------------------------------------- numbers


def waves(count: int, seed: int) -> list[Labelled]:
    """Rising and falling ramps of unequal length, with noise."""
    random = np.random.default_rng(seed)
    found = []
    for i in range(count):
        ramp = np.linspace(0, 5, int(random.integers(8, 16))) + random.normal(0, 0.3)
        values = (ramp if i % 2 else ramp[::-1]) + random.normal(0, 0.2, len(ramp))
        found.append(Labelled(json.dumps(values.round(3).tolist()), "up" if i % 2 else "down"))
    return found


def test_numbers_are_scaled_by_channel_and_padded():
    task = fitted([Labelled("[[0, 10], [2, 30]]", "a"), Labelled("[[2, 30], [0, 10]]", "b")], reads="numbers")
    assert task.spec.source == Reals((2,))
    batch = task.examples([Labelled("[[3, 0], [1, 20]]", "b"), Labelled("[[1, 20]]", "a")]).batch(np.arange(2))
    assert batch.source is not None
    assert batch.source.tolist() == [[[2, -2], [0, 0]], [[0, 0], [0, 0]]]
    assert (batch.source_lengths.tolist(), batch.target.tolist()) == ([2, 1], [[1], [0]])  # pyright: ignore
    assert json.loads(task.source.decode(np.array([[2.0, -2]]))) == [[3, 0]]
    other = fitted(waves(4, 0), reads="numbers")
    other.load_state(json.loads(json.dumps(task.state())))
    assert other.spec == task.spec
    for hostile in (
        {"mean": [0.0], "deviation": [0.0]},
        {"mean": [], "deviation": []},
        {"mean": ["x"], "deviation": [1]},
    ):
        with pytest.raises(ValueError, match="numbers: expected"):
            other.load_state(task.state() | {"tokenizer": hostile})


def test_series_of_numbers_are_classified_from_a_table(tmp_path: Path):
    file = tmp_path / "waves.jsonl"
    rows = [{"values": json.loads(record.text), "way": record.label} for record in waves(120, 1)]
    file.write_text("\n".join(map(json.dumps, rows)))
    changes = {"data__train": str(file), "data__text": "values", "data__label": "way", "task__reads": "numbers"}
    found = tiny.train(
        tmp_path / "run", "classification", {"data": "labelled"}, **changes, trainer__max_steps=60, optimizer__lr=0.02
    )
    assert found["test"]["accuracy"] > 0.9
    assert set(found["baselines"]) == {"majority class", "nearest neighbour"}
    assert found["baselines"]["nearest neighbour"]["accuracy"] > 0.9
    loaded = seqtrain.load(tmp_path / "run")
    assert loaded.predict(["0 1 2 3 4 5 6", "[6, 5, 4, 3, 2, 1]", ""]) == ["up", "down", ""]
    with pytest.raises(UserError, match="input, line 2: 'one two' is no list of finite numbers"):
        loaded.predict(["1 2", "one two"])
    with pytest.raises(UserError, match=r"input, line 1: '\[\[1, 2\]\]' has 2 channels; training has 1"):
        loaded.predict(["[[1, 2]]"])
