"""The user's own tagged sentences, in every form; and files that are wrong, told with their line."""

import gzip
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from small import read

from seqtrain.config import UserError, build
from seqtrain.data.conll2000 import Conll2000
from seqtrain.data.kinds import Tagged
from seqtrain.data.ud_english_ewt import UdEnglishEwt

SENTENCES = [
    Tagged((("the", f"dog{i}", "barks"), ("DT", "NN", "VB")), ("B-NP", "I-NP", f"B-V{i % 3}")) for i in range(30)
]
UNIVERSAL = "{i}\t{token}\t_\t{tag}\t{pos}\t_\t0\t_\t_\t_"


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def make(name: str, **changes: Any) -> Any:
    return build(read("data", "tagged") | {"train": name} | changes)


def write(name: str, text: str) -> str:
    Path(name).write_bytes(text.encode())
    return name


def rows(sentence: Tagged) -> list[tuple[str, ...]]:
    return list(zip(*sentence.columns, sentence.tags, strict=True))


def together(data: Any) -> list[Tagged]:
    return sorted(record for split in ("train", "valid", "test") for record in data.read(split))


def conll(separator: str = " ", end: str = "\n") -> str:
    return f"{end}{end}".join(end.join(map(separator.join, rows(sentence))) for sentence in SENTENCES)


def of_one_column() -> list[Tagged]:
    return sorted(Tagged(sentence.columns[:1], sentence.tags) for sentence in SENTENCES)


# -------------------------------------------------------------------------------- forms


@pytest.mark.parametrize(("separator", "end"), [(" ", "\n"), ("\t", "\r\n"), ("  ", "\n")])
def test_columns_are_read(separator: str, end: str):
    data = make(write("t.txt", conll(separator, end)), features=[2])
    assert together(data) == sorted(SENTENCES)
    assert together(make("t.txt")) == of_one_column()
    assert together(make("t.txt", tags=2))[0].tags == ("DT", "NN", "VB")
    assert [len(data.read(split)) for split in ("train", "valid", "test")] == [24, 3, 3]
    texts = [{record.tokens for record in data.read(split)} for split in ("train", "valid", "test")]
    assert len(set.union(*texts)) == sum(map(len, texts))


def test_comments_and_lines_of_documents_are_no_tokens():
    text = "# id 1\n# text = a\n-DOCSTART- O\n\n# id 2\n# B\n" + "\n\n\n".join(f"# B\n{i} B\n# I\n" for i in range(30))
    assert {record.tokens[1:] for record in together(make(write("t.conll", text)))} == {("#",)}


def test_universal_columns_are_read_by_name_without_words_of_several_tokens():
    sentences = [
        [
            "# text",
            "1-2\tthedog\t_\t_\t_\t_\t_\t_\t_\t_",
            *(UNIVERSAL.format(i=i, token=t, pos=p, tag=g) for i, (t, p, g) in enumerate(rows(sentence), 1)),
            "3.1\tnot\t_\tX\tX\t_\t_\t_\t_\t_",
        ]
        for sentence in SENTENCES
    ]
    write("t.conllu", "\n\n".join(map("\n".join, sentences)))
    assert together(make("t.conllu")) == of_one_column()
    assert together(make("t.conllu", features=["xpos"])) == sorted(SENTENCES)
    assert together(make("t.conllu", tags="xpos"))[0].tags == ("DT", "NN", "VB")


def test_lists_in_json_are_read():
    lines = (json.dumps({"tokens": s.columns[0], "pos": s.columns[1], "tags": s.tags}) for s in SENTENCES)
    Path("t.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    assert together(make("t.jsonl.gz", features=["pos"])) == sorted(SENTENCES)


@pytest.mark.parametrize("gaps", [False, True])
def test_rows_of_a_table_are_put_together_by_sentence(gaps: bool):
    lines = [
        f"{'' if gaps and place else i},{','.join(row)}"
        for i, sentence in enumerate(SENTENCES)
        for place, row in enumerate(rows(sentence))
    ]
    write("t.csv", "\n".join(["sentence,token,pos,tag", *lines]))
    assert together(make("t.csv", features=["pos"])) == sorted(SENTENCES)


def test_files_of_their_own_are_taken_as_they_are():
    write("t.conll", conll())
    write("v.conll", "new X B-NEW\n")
    data = make("t.conll", valid="v.conll", test="v.conll", tokens=1, tags=3, format="conll")
    assert len(data.read("train")) == 30
    assert list(make("v.conll", valid="v.conll", test="v.conll").read("test")) == [Tagged((("new",),), ("B-NEW",))]
    assert data.read("train").key != make("t.conll", features=[2]).read("train").key


# -------------------------------------------------------------------------------- what is wrong

WRONG = {
    "a b\nc\n": r"t\.txt, line 2: expected 2 columns, as in line 1, found 1",
    "a b\n\nc d e\n": r"t\.txt, line 3: expected 2 columns",
    "a\nb\n": r"t\.txt, line 1: tokens and tags are both column 1",
    "# only\n\n# comments\n": r"there is no sentence with a token in it",
    "\n\n": "the file is empty",
}


@pytest.mark.parametrize("text", WRONG)
def test_wrong_columns_are_told_with_their_line(text: str):
    with pytest.raises(UserError, match=WRONG[text]):
        make(write("t.txt", text))


def test_columns_that_are_not_there_are_told():
    write("t.txt", conll())
    write("t.conllu", UNIVERSAL.format(i=1, token="a", pos="b", tag="c"))
    with pytest.raises(UserError, match=r"data\.tags=4: there are the columns 1 to 3"):
        make("t.txt", tags=4)
    with pytest.raises(UserError, match=r"data\.features=pos: there are the columns 1 to 3"):
        make("t.txt", features=["pos"])
    with pytest.raises(UserError, match=r"data\.tags=upo: there are .* 1 to 10; did you mean data\.tags=upos\?"):
        make("t.conllu", tags="upo")
    with pytest.raises(UserError, match=r"t\.conllu, line 1: expected 10 columns between tabs, found 3"):
        make(write("t.conllu", "1 a b"))
    with pytest.raises(UserError, match=r"data\.sentence=sentence: t\.csv has no such column; it has: id, token, tag"):
        make(write("t.csv", "id,token,tag\n1,a,b\n"))


LISTS = {
    '{"tokens": ["a", "b"], "tags": ["X"]}': r"t\.jsonl, line 1: 2 tokens and 1 tags; expected as many of both",
    '{"tokens": ["a"]}': r"t\.jsonl, line 1: there is no 'tags'",
    '{"tokens": "a b", "tags": ["X"]}': r"line 1: 'tokens' is 'a b'; expected a list of texts",
    '{"tokens": ["a", " "], "tags": ["X", "Y"]}': "expected a list of texts, none of them empty",
    '{"tokens": ["\\ud800"], "tags": ["X"]}': "surrogate",
    '{"tokens": ': "broken JSON",
    "[1]": "one object a line",
}


@pytest.mark.parametrize("text", LISTS)
def test_wrong_lists_are_told_with_their_line(text: str):
    with pytest.raises(UserError, match=LISTS[text]):
        make(write("t.jsonl", text))


def test_an_empty_cell_of_a_token_is_told_and_an_empty_sentence_counted(caplog: pytest.LogCaptureFixture):
    with pytest.raises(UserError, match=r"t\.csv, line 3: the cell of a token, its tag or a feature is empty"):
        make(write("t.csv", "sentence,token,tag\n1,a,B\n1,,I\n"))
    lines = [json.dumps({"tokens": s.tokens, "tags": s.tags}) for s in SENTENCES]
    with caplog.at_level(logging.WARNING):
        data = make(write("t.jsonl", "\n".join([*lines, '{"tokens": [], "tags": []}'])))
    assert caplog.messages == ["left out: 1 of 31 sentences without a token (t.jsonl)"]
    assert together(data) == of_one_column()


# -------------------------------------------------------------------------------- public sets

there = pytest.mark.skipif("SEQTRAIN_DATA" not in os.environ, reason="SEQTRAIN_DATA is not set: no public files")


@there
def test_conll2000():
    data = Conll2000([2])
    found = {split: data.read(split) for split in ("train", "valid", "test")}
    assert {split: len(part) for split, part in found.items()} == {"train": 8_043, "valid": 893, "test": 2_012}
    assert sum(len(record.tags) for part in found.values() for record in part) == 211_727 + 47_377
    assert found["train"][0].columns[1][:3] == ("NN", "IN", "DT")
    assert found["train"][0].tags[:3] == ("B-NP", "B-PP", "B-NP")
    assert len({tag for split in ("train", "valid") for record in found[split] for tag in record.tags}) == 22
    assert Conll2000([]).read("test")[0].columns == found["test"][0].columns[:1]


@there
def test_ud_english_ewt():
    data = UdEnglishEwt("upos")
    found = {split: data.read(split) for split in ("train", "valid", "test")}
    assert {split: len(part) for split, part in found.items()} == {"train": 12_544, "valid": 2_001, "test": 2_077}
    counts = [sum(len(record.tags) for record in part) for part in found.values()]
    assert counts == [204_577, 25_147, 25_094]
    assert " ".join(found["valid"][0].tokens) == "From the AP comes this story :"
    assert " ".join(found["valid"][0].tags) == "ADP DET PROPN VERB DET NOUN PUNCT"
    assert len({tag for record in found["train"] for tag in record.tags}) == 17
    assert UdEnglishEwt("xpos").read("valid")[0].tags[:2] == ("IN", "DT")
