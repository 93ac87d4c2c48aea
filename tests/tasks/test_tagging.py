"""Tagging: what a model of it reads and writes, and that it learns."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

import seqtrain
from seqtrain.codecs.sentences import Sentences, spelling
from seqtrain.commands import predict, run_folder
from seqtrain.config import LineError, UserError
from seqtrain.contract import Tokens
from seqtrain.data.kinds import Tagged
from seqtrain.engine.evaluate import evaluate
from seqtrain.tasks.tagging import Tagging


@pytest.fixture(autouse=True)
def few_topics_and_no_figures() -> Iterator[None]:
    with tiny.few_topics(), tiny.no_figures():
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the user's own sentences."""
    place = tmp_path_factory.mktemp("tagging") / "run"
    with tiny.no_figures():
        tiny.train(place, "tagging", {"data": "tagged"}, trainer__max_steps=1)
    return place


def answer(run: Path, tmp_path: Path, text: str, name: str, **how: Any) -> str:
    (tmp_path / name).write_bytes(text.encode())
    cfg = run_folder.read_config(run) | {"input": str(tmp_path / name), "output": str(tmp_path / "out"), "format": None}
    predict.predict(cfg | how, run)
    return (tmp_path / "out").read_text()


# -------------------------------------------------------------------------------- ids


def test_a_position_is_a_token_its_columns_its_spelling_and_its_characters():
    codec = Sentences(fold=True, min_count=1, characters=3, spelling=False)
    codec.fit([(("The", "DOG7"), ("D", "N")), (("dog8",), ("N",))])
    assert codec.positions == Tokens(6, 0, 1, 2, Tokens(2 + len(set("TheDOG7dog8")), 0, 1, 3))
    first, second = codec.encode((("the", "Dog9"), ("D", "X"))).tolist()
    assert first[:2] == [3, 4]  # dog0 is 2, the is 3; behind them stand D and N
    assert second[:2] == [2, 1]
    signs = ["", "", *sorted(set("TheDOG7dog8"))]
    assert ["".join(signs[i] if i != 1 else "?" for i in row[2:]) for row in (first, second)] == ["?he", "Dog"]
    assert codec.encode((("a",), ("D",))).tolist()[0][2:] == [1, 0, 0]
    other = Sentences(fold=True, min_count=1, characters=3, spelling=False)
    other.load_state(json.loads(json.dumps(codec.state())))
    assert other.encode((("the",), ("N",))).tolist() == codec.encode((("the",), ("N",))).tolist()


def test_rare_tokens_and_affixes_are_unknown_and_given_columns_are_not():
    codec = Sentences(fold=False, min_count=2, characters=2, spelling=True)
    codec.fit([(("ab", "ab", "c"), ("X", "Y", "X"))])
    assert codec.items[0] == ["ab"]
    assert codec.items[1] == ["X", "Y"]
    assert codec.encode((("c",), ("Y",))).tolist()[0][0] == 1
    with pytest.raises(UserError, match="a token has 1 columns, and training has 2"):
        codec.encode((("c",),))


def test_the_spelling_of_a_token():
    assert spelling("Top-20") == ["Xx-9", "to", "top", "top-", "0", "20", "-20", "p-20"]
    assert spelling("ÀB") == ["X", "àb", "àb", "àb", "b", "àb", "àb", "àb"]


# -------------------------------------------------------------------------------- learning


@pytest.mark.parametrize("axes", [{}, {"likelihood": "crf", "frontend": "characters"}], ids=["classes", "crf"])
def test_it_learns_a_batch_by_heart(axes: dict[str, str]):
    cfg = tiny.config("tagging", axes, model__hidden_size=32, model__embedding_size=32, optimizer__lr=0.02)
    trainer, job, _ = tiny.job(cfg)
    torch.manual_seed(0)
    (batch,) = list(job.train.epoch())[:1]
    for _ in range(40):
        loss, count = trainer.update(job, [batch])
    assert loss / count < 0.1
    job.model.eval()
    outputs = job.task.outputs(job.model(batch))
    rows = job.train.plan(0)[0]
    assert outputs == [list(job.train.examples.records[row].tags) for row in rows]


def test_metrics_do_not_depend_on_the_cut():
    _, job, _ = tiny.job(tiny.config("tagging", {"likelihood": "crf"}))
    scores = [
        job.task.score(evaluate(job.model, job.task, loader, job.decoder, job.device))
        for loader in (job.valid, type(job.valid)(job.valid.examples, lambda epoch: np.split(np.arange(9), [1, 4])))
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)
    assert scores[0].keys() == {"loss", "accuracy", "precision", "recall", "f1"}


def test_the_monitor_is_f1_where_something_is_outside():
    def monitor(tags: tuple[str, ...], wanted: str = "auto") -> str:
        task = Tagging(fold=False, min_count=1, characters=5, spelling=False, monitor=wanted)
        task.fit([Tagged((("a", "b"),), tags)])
        return task.monitor

    assert monitor(("O", "B-X")) == "f1"
    assert monitor(("NOUN", "VERB")) == "accuracy"
    assert monitor(("O", "B-X"), "loss") == "loss"


# -------------------------------------------------------------------------------- answers


def test_tags_are_a_list_for_each_sentence(run: Path):
    model = seqtrain.load(run)
    found = model.predict(["please bring it", '["two words", "b"]', ""])
    assert [len(tags) for tags in found] == [3, 2, 0]
    assert set(found[0]) <= set(model.task.tags.names)
    with pytest.raises(LineError, match=r"line 1: a token has 2 columns, and training had 1"):
        model.predict('[["a", "b"]]')
    with pytest.raises(LineError, match=r"line 1: its tokens have unequal numbers of columns"):
        model.predict('[["a", "b"], ["c"]]')


def test_columns_come_back_with_tags_behind(run: Path, tmp_path: Path):
    tags = seqtrain.load(run).predict("bring pie")
    text = "# id 1\r\nbring X\r\npie Y\r\n\r\n\r\n"
    assert answer(run, tmp_path, text, "in.conll") == f"# id 1\nbring X {tags[0]}\npie Y {tags[1]}\n\n"
    assert (
        answer(run, tmp_path, "bring\tX\npie\tY", "in.conll", overwrite=True).splitlines()[0] == f"bring\tX\t{tags[0]}"
    )
    found = answer(run, tmp_path, "bring pie\n", "in.txt", format="conll")
    assert found == f"bring\t{tags[0]}\npie\t{tags[1]}\n\n"
    with pytest.raises(LineError, match="input, line 2: expected 2 columns, as in line 1, found 1"):
        answer(run, tmp_path, "a b\nc\n", "in.conll")


def test_universal_columns_come_back_with_tags_in_their_place(run: Path, tmp_path: Path):
    tags = seqtrain.load(run).predict("bring pie")
    lines = ["# text", "1-2\tbringpie" + "\t_" * 8, "1\tbring\tL" + "\t_" * 7, "2\tpie\tL" + "\t_" * 7]
    found = answer(run, tmp_path, "\n".join(lines), "in.conllu").splitlines()
    assert found[:2] == lines[:2]
    assert found[2] == f"1\tbring\tL\t{tags[0]}" + "\t_" * 6
    assert found[3] == f"2\tpie\tL\t{tags[1]}" + "\t_" * 6


def test_lists_and_rows_of_tokens_come_back_as_they_came(run: Path, tmp_path: Path):
    tags = seqtrain.load(run).predict("bring pie")
    rows = [{"tokens": ["bring", "pie"], "id": 7}, {"tokens": "bring pie"}]
    found = answer(run, tmp_path, "\n".join(map(json.dumps, rows)), "in.jsonl")
    assert [json.loads(line) for line in found.splitlines()] == [row | {"output": tags} for row in rows]
    found = answer(run, tmp_path, "token,sentence,note\nbring,1,x\npie,,y\n", "in.csv")
    assert found == f"token,sentence,note,output\nbring,1,x,{tags[0]}\npie,,y,{tags[1]}\n"
    found = answer(run, tmp_path, "bring pie\n\n", "in.txt")
    assert found == f"{tags[0]} {tags[1]}\n\n"


def test_other_tasks_refuse_columns(runs: dict[str, Path], tmp_path: Path):
    with pytest.raises(UserError, match="it holds sentences of given tokens, which task=tagging reads"):
        answer(runs["sentiment"], tmp_path, "a b\n", "in.txt", input_format="conll")
    with pytest.raises(UserError, match="it holds tagged sentences, which task=tagging writes"):
        answer(runs["sentiment"], tmp_path, "a b\n", "in.txt", format="conll")


def test_a_run_leaves_a_table_of_tags_and_of_spans(run: Path):
    assert (run / "tags.csv").read_text().startswith("label,precision,recall,f1,support\n")
    assert (run / "spans.csv").read_text().startswith("span,precision,recall,f1,support\n")
    assert (run / "predictions.csv").read_text().startswith("source,target,prediction\n")
