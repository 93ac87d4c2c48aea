import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from small import read

import seqtrain
from seqtrain.codecs.text import END, PAD, UNKNOWN
from seqtrain.commands import run_folder
from seqtrain.commands.loaded import Loaded
from seqtrain.config import UserError, build
from seqtrain.contract import Output, Reals
from seqtrain.data.kinds import Labelled
from seqtrain.tasks.classification import Classification

RECORDS = [Labelled("good film", "pos"), Labelled("bad", "neg")]
WORDS = {"unit": "word", "lowercase": True, "nfc": False, "min_count": 1, "vocab_size": 300}


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
    task = build(read("task", "classification")["task"] | {"tokenizer": WORDS} | changes)
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
    counts, names = task.confusion(["pos", "pos"], ["neg", "pos"])
    assert (counts.tolist(), names) == ([[0, 1], [0, 1]], ["neg", "pos"])


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


# ----------------------------------------------------------------------------------- weights, calibration, thresholds

UNEQUAL = [Labelled("good", "pos"), Labelled("fine", "pos"), Labelled("great", "pos"), Labelled("bad", "neg")]


def test_balanced_weights_are_one_in_the_mean():
    task = fitted(UNEQUAL, class_weights="balanced")
    assert task.weights == pytest.approx([2, 2 / 3])  # neg, pos
    other = fitted(RECORDS)
    other.load_state(json.loads(json.dumps(task.state())))
    assert other.spec == task.spec
    with pytest.raises(ValueError, match="weights: expected a number for each label"):
        other.load_state(task.state() | {"weights": [1.0]})


def test_given_weights_keep_their_ratio():
    neg, pos = fitted(UNEQUAL, class_weights={"neg": 5}).weights or [0.0, 0.0]
    assert neg / pos == pytest.approx(5)
    with pytest.raises(
        UserError, match=r"task\.class_weights: 'negg' is no label of the training data; did you mean neg"
    ):
        fitted(UNEQUAL, class_weights={"negg": 5})
    with pytest.raises(UserError, match=r"task\.class_weights\.neg=0: expected a number above 0"):
        fitted(UNEQUAL, class_weights={"neg": 0})


def test_the_weighted_loss_is_that_of_torch():
    task = fitted(UNEQUAL, class_weights="balanced", label_smoothing=0.0)
    likelihood, batch = task.spec.likelihood, task.examples(UNEQUAL).batch(np.arange(4))
    scores = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    output = Output(scores, torch.ones(4, dtype=torch.long))
    mean = likelihood.loss(output, batch).sum() / likelihood.weight(batch).sum()
    weights = torch.tensor(task.weights)
    assert batch.target is not None
    torch.testing.assert_close(mean, torch.nn.functional.cross_entropy(scores, batch.target[:, 0], weights))
    plain = torch.nn.functional.cross_entropy(scores, batch.target[:, 0], reduction="none")
    torch.testing.assert_close(likelihood.nll(output, batch), plain)  # what is measured has no weights


def of(loaded: Loaded) -> Classification:
    assert isinstance(loaded.task, Classification)
    return loaded.task


@pytest.fixture(scope="module")
def unsure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on labels that words do not tell."""
    place = tmp_path_factory.mktemp("unsure") / "run"
    tiny.train(place, "sentiment", trainer__max_steps=30, optimizer__lr=0.03)
    return place


def test_calibration_is_kept_and_leaves_the_best_label(unsure: Path):
    found = tiny.metrics(unsure)
    learned = json.loads((unsure / "calibration.json").read_text())
    assert learned["checkpoint"] == (unsure / "checkpoints" / "best").read_text().strip()
    after, before = seqtrain.load(unsure), seqtrain.load(unsure)
    of(before).rule.temperature = 1.0
    temperature = learned["learned"]["temperature"]
    lines = ["good film", "what a bad film", "never"]
    for one, other in zip(after.predict(lines, details=True), before.predict(lines, details=True), strict=True):
        assert one["output"] == other["output"]
        ratio = [np.log(answer["scores"]["positive"] / answer["scores"]["negative"]) for answer in (one, other)]
        assert ratio[1] == pytest.approx(ratio[0] * temperature, rel=1e-4)
    assert after.evaluate("test") == pytest.approx(found["test"])
    assert before.evaluate("valid")["loss"] > found["valid"]["loss"]
    assert before.evaluate("valid")["accuracy"] == found["valid"]["accuracy"]
    (row,) = after.task.log_probs(after.model, [Labelled("good film", "positive")])
    assert row["log_prob"] == pytest.approx(np.log(after.predict("good film", details=True)["scores"]["positive"]))


def test_an_older_run_without_calibration_has_the_temperature_one(unsure: Path, tmp_path: Path):
    shutil.copytree(unsure, tmp_path / "run")
    (tmp_path / "run" / "calibration.json").unlink()
    assert of(seqtrain.load(tmp_path / "run")).rule.temperature == 1


@pytest.mark.parametrize(("content", "problem"), [("[", "damaged"), ("{}", "damaged"),
                         ('{"checkpoint": "BEST", "learned": {"temperature": -1}}', "wrong temperature")])  # fmt: skip
def test_a_damaged_calibration_is_a_message(content: str, problem: str, unsure: Path, tmp_path: Path):
    shutil.copytree(unsure, tmp_path / "run")
    best = (unsure / "checkpoints" / "best").read_text().strip()
    (tmp_path / "run" / "calibration.json").write_text(content.replace("BEST", best))
    with pytest.raises(UserError, match=problem):
        seqtrain.load(tmp_path / "run")


def test_the_calibration_of_other_weights_is_left_out(unsure: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    shutil.copytree(unsure, tmp_path / "run")
    (tmp_path / "run" / "calibration.json").write_text('{"checkpoint": "step-1", "learned": {"temperature": 2.0}}')
    assert of(seqtrain.load(tmp_path / "run")).rule.temperature == 1
    assert "belongs to other weights" in caplog.text


def test_no_answer_is_counted_and_has_a_column_of_its_own(unsure: Path):
    cfg = run_folder.read_config(unsure)
    cfg["task"]["thresholds"] = 0.999
    loaded = Loaded(cfg, unsure)
    answer = loaded.predict("good film", details=True)
    assert (answer["output"], answer["probability"]) == ("", max(answer["scores"].values()))
    totals = loaded.totals("test")
    assert loaded.task.score(totals)["answered"] < 1
    counts, names = of(loaded).confusion(totals["outputs"], totals["targets"])
    assert (counts.shape, names[-1]) == ((3, 3), "(none)")


def test_the_most_probable_labels_and_how_often_the_right_one_is_among_five(unsure: Path):
    loaded = seqtrain.load(unsure)
    loaded.decoder = replace(loaded.decoder, n_best=2)
    answer = loaded.predict("good film", details=True)
    assert [one["output"] for one in answer["n_best"]] == sorted(answer["scores"], key=lambda x: -answer["scores"][x])
    records = [Labelled(f"word{i}", f"label{i:02}") for i in range(12)]
    task = fitted(records)
    scores = np.tile(np.arange(12.0), (12, 1))  # the fives of the highest scores are 7 to 11
    totals = {"scores": scores, "targets": [record.label for record in records], "outputs": ["label11"] * 12}
    found = task.score(totals | {"nats": np.ones(12), "items": np.ones(12)})
    assert found["top5_accuracy"] == pytest.approx(5 / 12)
