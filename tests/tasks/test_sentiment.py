import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

import seqtrain
from seqtrain.config import UserError
from seqtrain.data import Labelled
from seqtrain.tasks.sentiment import Sentiment
from seqtrain.text import END, PAD, UNKNOWN
from seqtrain.use import Loaded

RECORDS = [Labelled("good film", "pos"), Labelled("bad", "neg")]
WORDS = {"unit": "word", "lowercase": True, "min_count": 1, "vocab_size": 300}


@pytest.fixture(autouse=True, scope="module")
def no_figures():
    with tiny.no_figures():
        yield


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    place = tmp_path_factory.mktemp("runs") / "run"
    tiny.train(place, "sentiment")
    return seqtrain.load(place)


def fitted(records: list[Labelled] = RECORDS, **changes: Any) -> Sentiment:
    options = {"tokenizer": WORDS, "max_length": 400, "label_smoothing": 0.0}
    task = Sentiment(**options | {"monitor": "accuracy"} | changes)
    task.fit(records)
    return task


def test_a_batch_by_hand():
    task = fitted()
    bad, film, good = (task.tokenizer.ids[word] for word in ("bad", "film", "good"))
    batch = task.examples([Labelled("Good bad FILM", "pos"), Labelled("what", "neg")]).batch(np.arange(2))
    assert batch.source is not None
    assert batch.source_lengths is not None
    assert batch.source.tolist() == [[good, bad, film, END], [UNKNOWN, END, PAD, PAD]]
    assert batch.source_lengths.tolist() == [4, 2]
    assert (task.labels, batch.target.tolist()) == (["neg", "pos"], [[1], [0]])
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
    assert (other.spec, other.labels, other.tokenizer.encode("bad")) == (
        task.spec,
        task.labels,
        task.tokenizer.encode("bad"),
    )


def test_baselines_and_confusion_by_hand():
    task = fitted([*RECORDS, Labelled("fine", "pos")])
    found = task.baselines(
        [*RECORDS, Labelled("fine", "pos")], [Labelled("fine", "pos"), Labelled("bad", "neg"), Labelled("bad", "neg")]
    )
    assert found["majority class"]["accuracy"] == pytest.approx(1 / 3)
    assert found["bag of words"]["accuracy"] == 1
    counts = task.confusion([Labelled("", "neg"), Labelled("", "pos")], ["pos", "pos"])
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
    lines = ["a bad film", "", "not good", "\u4e00 \x00", "word " * 2000, "a bad film"]
    together = loaded.predict(lines, details=True)
    assert [answer["input"] for answer in together] == lines
    for line, answer in zip(lines, together, strict=True):
        (alone,) = loaded.predict([line], details=True)
        assert alone["scores"] == pytest.approx(answer["scores"], rel=1e-5)
        assert sum(answer["scores"].values()) == pytest.approx(1)
        assert answer["output"] == max(answer["scores"], key=answer["scores"].get)
    assert loaded.predict(lines) == [answer["output"] for answer in together]
