from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

import seqtrain
from seqtrain.data.kinds import Pair
from seqtrain.tasks.summarization import Summarization

SUBWORDS = {"unit": "bpe", "lowercase": False, "nfc": False, "min_count": 1, "vocab_size": 300}


@pytest.fixture(autouse=True, scope="module")
def no_figures() -> Iterator[None]:
    with tiny.no_figures():
        yield


def fitted() -> Summarization:
    task = Summarization(tokenizer=SUBWORDS, max_length=50, label_smoothing=0.0, monitor="rouge_l")
    task.fit([Pair("Ulm met Bonn. It rained.", "Ulm met Bonn"), Pair("Bonn lost.", "Bonn lost")])
    return task


def test_outputs_are_compared_by_rouge_and_by_exact_match():
    found = fitted().compare(["Ulm met Bonn", "Bonn won"], ["Ulm met Bonn", "Bonn lost"])
    assert found == {"rouge_1": 75, "rouge_2": 50, "rouge_l": 75, "exact_match": 0.5}


def test_baselines():
    guesses = fitted().guesses([Pair("Ulm met Bonn. It rained.", "Ulm met Bonn")], [Pair("A b. C d.", "x")])
    assert guesses["first sentence"] == ["A b."]


def test_new_words_are_those_of_the_reference_that_stand_in_the_source_and_not_in_training():
    rows = [
        {"source": "Kai beat Ulm", "target": "Kai won in Rome", "prediction": "kai lost"},
        {"source": "Ole and Ben", "target": "Ole Ben", "prediction": "Ben Ben"},
    ]
    assert fitted().judge([Pair("Ulm", "won")], rows) == {"new_words": pytest.approx(2 / 3)}  # Kai, Ole, Ben
    assert fitted().judge([Pair("Kai Ole Ben", "won")], rows) == {}


class Copier:
    """A model that copies the items at some places of its output."""

    def __init__(self, *places: int):
        self.places = places

    def parameters(self) -> Iterator[torch.Tensor]:
        yield torch.zeros(1)

    def copied(self, batch: Any) -> torch.Tensor:
        share = torch.zeros(batch.target.shape)
        share[:, list(self.places)] = 0.9
        return share


def test_what_was_copied_is_bold():
    task = fitted()
    assert task.target.shown("Ulm met") == [" Ulm", " met", "⏎"]
    assert task.marked(Copier(0), Pair("x", "Ulm met")) == "**Ulm** met"
    assert task.marked(Copier(0, 1, 2), Pair("x", "Ulm met")) == "**Ulm met**"
    assert task.marked(Copier(), Pair("x", "Ulm met")) == "Ulm met"


def test_overfits_one_batch_by_copying(tmp_path: Path):
    found = tiny.train(
        tmp_path / "run",
        "summarization",
        {"schedule": "constant"},
        trainer__overfit_batches=1,
        trainer__batch_size=8,
        trainer__max_steps=60,
        trainer__eval_every=60,
        model__hidden_size=48,
        model__embedding_size=24,
        optimizer__lr=0.02,
        decode__max_length=40,
        decode__beam_size=1,
    )
    assert found["valid"]["rouge_l"] > 80
    assert found["signatures"]["rouge"].startswith("F1 of lowercased words")
    loaded = seqtrain.load(tmp_path / "run")
    answer = loaded.predict("Ulm welcomed Bonn. Kai scored for Ulm in minute 3.", details=True)
    assert {"input", "output", "log_prob", "alignment"} <= answer.keys()
