"""The user's own files as data: pairs, labelled texts, text."""

import gzip
import logging
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from small import read

from seqtrain.config import UserError, build
from seqtrain.data.kinds import Labelled, Pair

SPLITS = ("train", "valid", "test")
PAIRS = [(f"source {i}", f"target {i}") for i in range(40)]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def make(option: str, train: Any, **changes: Any) -> Any:
    return build(read("data", option) | {"train": train} | changes)


def rows(header: str, found: list[tuple[str, str]]) -> str:
    return "".join(f"{line}\n" for line in [header, *map("\t".join, found)])


def write(name: str, text: str) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text, encoding="utf-8")
    return name


def records(data: Any) -> dict[str, list[Any]]:
    return {split: list(data.read(split)) for split in SPLITS}


def texts(found: dict[str, list[Any]]) -> dict[str, list[str]]:
    return {split: [document.text for document in documents] for split, documents in found.items()}


def together(found: dict[str, list[Any]]) -> list[Any]:
    return [record for split in SPLITS for record in found[split]]


# -------------------------------------------------------------------------------- pairs


def test_pairs_are_split_without_overlap():
    doubled = [*PAIRS, *((f" {source.upper()}", "other") for source, _ in PAIRS[::2])]
    found = records(make("pairs", write("t.tsv", rows("source\ttarget", doubled))))
    assert sorted(together(found)) == sorted(Pair(*pair) for pair in doubled)
    inputs = [{pair.source.strip().lower() for pair in found[split]} for split in SPLITS]
    assert len(set.union(*inputs)) == 40 == sum(map(len, inputs))
    assert [len(inputs[1]), len(inputs[2])] == [4, 4]


def test_given_splits_are_taken_as_they_are():
    names = [write(f"{split}.tsv", rows("source\ttarget", PAIRS[i::3])) for i, split in enumerate(SPLITS)]
    data = make("pairs", names[0], valid=names[1], test=names[2])
    assert records(data) == {split: [Pair(*pair) for pair in PAIRS[i::3]] for i, split in enumerate(SPLITS)}
    half = records(make("pairs", names[0], valid=names[1], test_share=0.5))
    assert half["valid"] == list(data.read("valid"))
    assert (len(half["train"]), len(half["valid"]), len(half["test"])) == (7, 13, 7)


def test_files_of_the_same_name_in_two_folders_are_pairs():
    for i, (source, target) in enumerate(PAIRS):
        write(f"texts/{i}.txt", f"{source}\nmore\n")
        write(f"summaries/{i}.txt", f"{target}\n")
    found = records(make("pairs", ["texts", "summaries"]))
    assert sorted(together(found)) == sorted(Pair(f"{source}\nmore", target) for source, target in PAIRS)
    write("texts/alone.txt", "a")
    with pytest.raises(
        UserError, match=r"data\.train: 1 of the files are in one folder only: summaries has no alone\.txt"
    ):
        make("pairs", ["texts", "summaries"])
    for name in ("one", "two"):
        Path(name).mkdir()
    with pytest.raises(UserError, match=r"data\.train: there are no files in one and two"):
        make("pairs", ["one", "two"])


def test_parallel_files_are_pairs_line_by_line():
    sources, targets = ("\n".join(texts) for texts in zip(*PAIRS, strict=True))
    write("c.en", sources)
    Path("c.de.gz").write_bytes(gzip.compress(targets.encode()))
    found = records(make("pairs", ["c.en", "c.de.gz"]))
    assert sorted(together(found)) == sorted(Pair(*pair) for pair in PAIRS)


def test_rows_with_an_empty_side_are_left_out_and_counted(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        found = records(make("pairs", write("t.tsv", rows("source\ttarget", [*PAIRS, ("a", ""), (" ", "b")]))))
    assert sum(map(len, found.values())) == 40
    assert caplog.messages == ["left out: 2 of 42 rows with an empty source or target (t.tsv, line 42)"]
    with pytest.raises(UserError, match="in every row the source or target is empty"):
        make("pairs", write("t.tsv", rows("source\ttarget", [("a", " ")])))


def test_records_are_a_lazy_sequence():
    train = make("pairs", write("t.tsv", rows("source\ttarget", PAIRS))).read("train")
    every = list(train)
    assert [train[i] for i in range(len(train))] == every
    assert train[-1] == every[-1]
    assert list(train[3:9:2]) == every[3:9:2]
    with pytest.raises(IndexError):
        train[len(train)]
    with pytest.raises(ValueError, match="train, valid, test, not dev"):
        make("pairs", "t.tsv").read("dev")


def test_keys_tell_what_was_read():
    name = write("t.tsv", rows("source\ttarget", PAIRS))
    other = write("u.tsv", rows("source\ttarget", PAIRS[1:]))
    base = make("pairs", name)
    keys = {base.read(split).key for split in SPLITS}
    assert len(keys) == 3
    assert {make("pairs", name).read(split).key for split in SPLITS} == keys
    for changes in ({"seed": 2}, {"valid_share": 0.2}, {"source": "target"}, {"train": other}):
        changed = make("pairs", **({"train": name} | changes))
        assert not {changed.read(split).key for split in SPLITS} & keys
    given = make("pairs", name, valid=other, test=other)
    assert (
        given.read("valid").key
        == given.read("test").key
        == make("pairs", other, valid=name, test=name, seed=3).read("train").key
    )


def test_too_few_inputs_and_wrong_lists_are_told():
    name = write("t.tsv", rows("source\ttarget", PAIRS[:2]))
    with pytest.raises(UserError, match=r"2 different inputs are too few .* data\.valid=FILE data\.test=FILE"):
        make("pairs", name)
    with pytest.raises(UserError, match="two plain text files or folders, and found 3 files"):
        make("pairs", [write("t.en", "a\n")] * 3)
    with pytest.raises(UserError, match=r"for two plain text files, line by line: 'data.train=\[t.en,OTHER\]'"):
        make("pairs", write("t.en", "a\n"))
    with pytest.raises(UserError, match="leave nothing to train on"):
        make("pairs", name, valid_share=0.5, test_share=0.5)


# -------------------------------------------------------------------------------- labelled


def test_labels_are_split_evenly_and_kept_as_text():
    texts = [(f"text {i}", f" {i % 5}") for i in range(200)]
    found = records(make("labelled", write("t.tsv", rows("text\tlabel", texts))))
    assert sorted(together(found)) == sorted(Labelled(text, label.strip()) for text, label in texts)
    assert Counter(record.label for record in found["test"]) == dict.fromkeys("01234", 4)


def test_a_label_that_training_lacks_is_told_with_its_line():
    train = write("t.csv", "text,label\na,good\nb,bad\n")
    valid = write("v.csv", "text,label\nc,bad\nd,goood\n")
    with pytest.raises(UserError, match=r"v\.csv, line 3: the label 'goood' is not in .*; did you mean good\?"):
        make("labelled", train, valid=valid, test=train)


def test_a_column_that_is_no_label_is_told():
    with pytest.raises(
        UserError, match=r"data\.label=text: 40 different labels in 40 rows of t\.tsv; is it the column"
    ):
        make("labelled", write("t.tsv", rows("text\tlabel", PAIRS)), label="text")


# -------------------------------------------------------------------------------- text


def documents(count: int, folder: str = "texts") -> list[str]:
    found = [f"Document {i}.\n\n{'word ' * (40 + i % 7)}\n" for i in range(count)]
    for i, text in enumerate(found):
        write(f"{folder}/{'sub/' if i % 3 else ''}{i}.txt", text)
    return found


def test_a_folder_is_split_by_document():
    expected = documents(40)
    write("texts/notes.md", "not read")
    write("texts/empty.txt", "")
    found = texts(records(make("text", "texts")))
    assert sorted(together(found)) == sorted(expected)
    assert all(3 <= len(found[split]) <= 4 for split in ("valid", "test"))
    assert found == texts(records(make("text", "texts")))
    assert found != texts(records(make("text", "texts", seed=2)))


def test_copies_of_a_document_stay_together():
    for i in range(60):
        write(f"texts/{i}.txt", f"The same text {i % 20}.\n" * 20)
    found = [set(each) for each in records(make("text", "texts")).values()]
    assert sum(map(len, found)) == len(set.union(*found)) == 20


@pytest.mark.parametrize("mark", ["\n\n", "\n", " "])
def test_one_document_is_cut_in_its_order(mark: str, caplog: pytest.LogCaptureFixture):
    text = "".join(f"über {i}{mark}" for i in range(500))
    with caplog.at_level(logging.INFO):
        data = make("text", write("book.txt", text))
    found = texts(records(data))
    assert "".join(found[split][0] for split in SPLITS) == text
    assert all(found[split][0].endswith(mark) for split in SPLITS)
    assert [round(len(found[split][0]) / len(text), 2) for split in SPLITS] == pytest.approx([0.8, 0.1, 0.1], abs=0.01)
    assert caplog.messages == ["one document is cut, and its last parts are for validation and test"]
    assert len({data.read(split).key for split in SPLITS}) == 3


def test_a_text_without_spaces_is_cut_between_characters():
    found = texts(records(make("text", write("book.txt", "äß" * 3000))))
    assert "".join(found[split][0] for split in SPLITS) == "äß" * 3000


def test_patterns_lists_and_other_encodings():
    expected = documents(30)
    Path("latin.md").write_bytes("für\r\n".encode("cp1252") * 99)
    data = make("text", "texts/**/*.txt", valid=["texts/sub", "texts/0.txt"], test="latin.md", encoding="cp1252")
    assert sorted(document.text for document in data.read("train")) == sorted(expected)
    assert len(data.read("valid")) == 21
    assert [document.text for document in data.read("test")] == ["für\n" * 99]


def test_endings_in_capitals_and_old_line_ends():
    for i in range(30):
        write(f"books/{i}.{'TXT' if i % 2 else 'txt'}", f"Book {i}\rfirst\r\nsecond\n")
    Path("books/30.TXT.GZ").write_bytes(gzip.compress(b"Book 30\rfirst\r\nsecond\n"))
    found = together(texts(records(make("text", "books"))))
    assert sorted(found) == sorted(f"Book {i}\nfirst\nsecond\n" for i in range(31))
    whole = texts(records(make("text", write("old.txt", "".join(f"line {i}\r" for i in range(500))))))
    assert "".join(whole[split][0] for split in SPLITS) == "".join(f"line {i}\n" for i in range(500))
    assert all(whole[split][0].endswith("\n") for split in SPLITS)


def test_where_a_relative_path_is_looked_for_is_told():
    for option, name in (("labelled", "no.csv"), ("pairs", "no.tsv"), ("text", "no.txt"), ("text", "no/*.txt")):
        with pytest.raises(UserError, match=rf"looked for in {re.escape(str(Path.cwd()))}; data\.train=… says where"):
            make(option, name)
        with pytest.raises(UserError, match=r"there is no such file|no file matches"):
            make(option, "x" * 300 + name)


def test_nothing_to_read_is_told():
    Path("empty").mkdir()
    with pytest.raises(UserError, match=r"data\.train=empty: no \.txt file is in this folder$"):
        make("text", "empty")
    write("empty/a.md", "x")
    with pytest.raises(UserError, match=r"but 1 \.md: 'data\.train=empty/\*\*/\*\.md' would read them"):
        make("text", "empty")
    with pytest.raises(UserError, match="no file matches this pattern"):
        make("text", "empty/*.text")
    with pytest.raises(UserError, match=r"there is no such file; did you mean empty\?"):
        make("text", "empti")
    write("empty/a.txt", "")
    with pytest.raises(UserError, match="all files are empty"):
        make("text", "empty")
