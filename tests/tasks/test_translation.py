import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

import seqtrain
from seqtrain.codecs.text import BEGIN, END, PAD, UNKNOWN
from seqtrain.commands.loaded import Loaded
from seqtrain.data.kinds import Pair
from seqtrain.tasks.translation import Translation

CHARS = {"unit": "char", "lowercase": False, "nfc": False, "min_count": 1, "vocab_size": 300}


@pytest.fixture(autouse=True, scope="module")
def no_figures():
    with tiny.no_figures():
        yield


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("runs") / "run"
    tiny.train(place, "translation")
    return place


@pytest.fixture
def loaded(run_folder: Path) -> Loaded:
    return seqtrain.load(run_folder)


def fitted(**changes: Any) -> Translation:
    options = {
        "tokenizer": CHARS,
        "joint_vocab": False,
        "max_length": 250,
        "label_smoothing": 0.0,
        "moses": None,
        "bleu_tokenizer": "auto",
    }
    task = Translation(**options | {"monitor": "bleu"} | changes)
    task.fit([Pair("abc", "x"), Pair("a", "xyz")])
    return task


def test_a_batch_by_hand():
    task = fitted()
    a, b, c = (task.source.tokenizer.ids[item] for item in "abc")
    x, y, z = (task.target.tokenizer.ids[item] for item in "xyz")
    batch = task.examples([Pair("abc", "x"), Pair("a?", "xyz")]).batch(np.arange(2))
    assert batch.source is not None
    assert batch.inputs is not None
    assert batch.source.tolist() == [[a, b, c, END], [a, UNKNOWN, END, PAD]]
    assert batch.inputs.tolist() == [[BEGIN, x, END, PAD], [BEGIN, x, y, z]]
    assert batch.target.tolist() == [[x, END, PAD, PAD], [x, y, z, END]]
    assert batch.target_lengths.tolist() == [2, 4]
    assert batch.real(batch.target).tolist() == [x, END, x, y, z, END]


def test_source_and_target_can_share_a_vocabulary():
    task, other = fitted(joint_vocab=True), fitted(joint_vocab=True)
    assert task.source.tokenizer is task.target.tokenizer
    assert task.spec.source == task.spec.inputs
    assert task.spec.one_vocab
    assert {"a", "x"} <= set(task.source.tokenizer.items)
    other.fit([Pair("q", "r")])
    other.load_state(json.loads(json.dumps(task.state())))
    assert other.spec == task.spec
    assert other.target.tokenizer.encode("ax") == task.source.tokenizer.encode("ax")
    assert not fitted().spec.one_vocab
    with pytest.raises(ValueError, match="one vocabulary was learned"):
        other.load_state(fitted().state())


def test_bleu_of_lowercased_moses_tokens_beside_that_of_sacrebleu():
    totals = {
        "nats": np.ones(1),
        "items": np.ones(1),
        "outputs": ["Ein Mann, der geht."],
        "targets": ["ein mann , der geht ."],
    }
    found = fitted(moses="de").score(totals)
    assert found["bleu_tok_lc"] == pytest.approx(100)
    assert found["bleu"] < 60
    assert "bleu_tok_lc" not in fitted().score(totals)


def test_long_texts_are_cut():
    task = fitted(max_length=2)
    batch = task.examples([Pair("abcabc", "xyzxyz")]).batch(np.arange(1))
    assert batch.source is not None
    assert batch.source.shape == batch.target.shape == (1, 3)
    assert batch.target[0, -1] == END


def test_what_was_fitted_comes_back_from_its_state():
    task, other = fitted(), fitted()
    other.fit([Pair("q", "r")])
    other.load_state(json.loads(json.dumps(task.state())))
    assert other.spec == task.spec
    assert other.source.tokenizer.encode("cab") == task.source.tokenizer.encode("cab")


def test_how_outputs_are_judged_goes_by_the_training_targets_and_is_kept():
    task, other = fitted(monitor="auto"), fitted()
    assert (task.bleu_tokenizer, task.monitor) == ("13a", "chrf")
    assert "shorter than 4 words" in task.report({"train": [Pair("a", "x")]}).lines[-1]
    assert not any("capitals" in note for note in task.notes)
    folded = fitted(tokenizer=CHARS | {"lowercase": True})
    folded.fit([Pair("a", "Xyz a b c"), Pair("a", "xyz")])
    assert any(note.startswith("50% of the targets have capitals and the outputs none") for note in folded.notes)
    task.monitor, task.bleu_tokenizer = "auto", "char"
    task.fit([Pair("abc", "wxyz")])
    assert (task.bleu_tokenizer, task.monitor, task.notes) == ("char", "bleu", ["BLEU cuts texts by sacreBLEU's char"])
    assert "|tok:char|" in task.signatures()["bleu"]
    state = json.loads(json.dumps(task.state()))
    other.bleu_tokenizer = other.monitor = "auto"
    other.load_state(state)
    assert (other.bleu_tokenizer, other.monitor) == ("char", "bleu")
    for name in ("bleu_tokenizer", "monitor"):
        with pytest.raises(ValueError, match="no such tokenizer of BLEU, or no such monitor"):
            other.load_state(state | {name: "spm"})


def test_overfits_one_batch(tmp_path: Path):
    found = tiny.train(
        tmp_path / "run",
        "translation",
        {"schedule": "constant"},
        trainer__overfit_batches=1,
        trainer__batch_size=8,
        trainer__max_steps=150,
        trainer__eval_every=150,
        model__hidden_size=48,
        model__embedding_size=24,
        optimizer__lr=0.02,
    )
    assert found["valid"]["exact_match"] == 1
    assert found["valid"]["bleu"] == pytest.approx(100)
    assert found["valid"]["loss"] < 0.05


def test_the_baseline_is_a_copy_of_the_source():
    found = fitted().baselines([], [Pair("2021-05-03", "2021-05-03"), Pair("a b", "c d")])
    assert found["copy of the source"]["exact_match"] == 0.5


LINES = ["3. Mai 2021", "", "May 3, 2021", "\u4e00\u0e01 \x00?", "x" * 3000, "3. Mai 2021"]


def test_answers_keep_the_order_and_do_not_depend_on_their_neighbours(loaded: Loaded):
    together = loaded.predict(LINES)
    assert len(together) == len(LINES)
    assert together == [loaded.predict([line])[0] for line in LINES]
    assert all(isinstance(answer, str) for answer in together)
    assert together[0] == together[-1]


def test_details_of_an_answer(loaded: Loaded):
    for line, answer in zip(LINES, loaded.predict(LINES, details=True), strict=True):
        if not line:
            assert answer == {"input": "", "output": ""}
            continue
        assert answer.keys() - {"cut", "unfinished"} == {"input", "output", "log_prob", "alignment"}
        assert answer["input"] == line
        assert answer["log_prob"] < 0
        assert [item["output"] for item in answer["alignment"]] == [*answer["output"], "⏎"]
        for item in answer["alignment"]:
            assert item["source"] == [*line, "⏎"][item["place"]] or item["place"] == 250
            assert 0 < item["weight"] <= 1


def test_alignment_is_left_out_where_the_model_has_none(tmp_path: Path):
    cfg = tiny.config("translation", {"model": "seq2seq"})
    _, job, _ = tiny.job(cfg)
    (answer,) = job.task.predict(job.model.eval(), ["May"], job.decoder)
    assert job.task.details(job.model, answer) == {}
