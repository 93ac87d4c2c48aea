"""Word vectors in each form of file, and what is said of damaged ones."""

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
import small
import torch

from seqtrain.config import UserError
from seqtrain.contract import Reals, Tokens
from seqtrain.reading.vectors import read_vectors

VECTORS = {"the": [0.5, -1.0, 2.0], "New York": [1.0, 2.0, 3.0], "größe": [0.25, 0.0, 4.0], "cat": [7.0, 8.0, 9.0]}


def text(header: bool, end: str = "\n") -> bytes:
    rows = [f"{word} {' '.join(map(str, vector))}{end}" for word, vector in VECTORS.items()]
    return "".join([f"{len(rows)} 3{end}"] * header + rows).encode()


def word2vec(newline: bytes) -> bytes:
    rows = (word.encode() + b" " + np.array(vector, "<f4").tobytes() for word, vector in VECTORS.items())
    return b"4 3\n" + b"".join(row + newline for row in rows)


FORMS = {
    "GloVe": text(header=False),
    "GloVe, lines of Windows": text(header=False, end="\r\n"),
    "fastText": text(header=True, end=" \n"),  # with a blank at the end, as fastText writes it
    "word2vec": word2vec(b""),
    "word2vec, with line ends": word2vec(b"\n"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_the_wanted_vectors_of_each_form(form: str, packed: bool, tmp_path: Path):
    (tmp_path / "file").write_bytes(gzip.compress(FORMS[form]) if packed else FORMS[form])
    wanted = {word for word in VECTORS if "word2vec" not in form or " " not in word}
    if "word2vec" in form:
        (tmp_path / "file").write_bytes(
            (gzip.compress if packed else bytes)(FORMS[form].replace(b"New York", b"NewYork"))
        )
    found = read_vectors(str(tmp_path / "file"), {*wanted, "dog"} - {"cat"}, 3)
    assert {word: vector.tolist() for word, vector in found.items()} == {w: VECTORS[w] for w in wanted - {"cat"}}
    assert all(vector.dtype == np.float32 for vector in found.values())


DAMAGED = {
    b"": "expected a word and its numbers on each line",
    b"the\n": "expected a word and its numbers on each line",
    b"the 1 2\ncat 3 4\n": "its vectors have 2 numbers, and model.embedding_size is 3; model.embedding_size=2 fits",
    b"a 1 2 3\nb 1 2\n": "line 2: expected a word and 3 numbers, found 2 blanks",
    b"a 1 2 3\ncat 1 x 3\n": "line 2: expected 3 numbers behind 'cat'",
    b"2 3\na 1 2 3\ncat 1 nan 3\n": "line 3: expected 3 numbers behind 'cat'",
    b"9 3\na 1 2 3\n": "its first line says 9 vectors, and there are 1; is it cut off?",
    word2vec(b"")[:-3]: "vector 4 of 4: damaged or cut off",
    gzip.compress(text(header=False))[:-9]: "the gzipped file is damaged or cut off",
}


@pytest.mark.parametrize(("content", "said"), DAMAGED.items(), ids=range(len(DAMAGED)))
def test_a_damaged_file_is_refused_by_line(content: bytes, said: str, tmp_path: Path):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UserError, match=re.escape(said)):
        read_vectors(str(tmp_path / "file"), {"cat", "dog"}, 3)


@pytest.mark.parametrize("scaled", [True, False])
def test_the_table_begins_with_the_vectors_and_the_coverage_is_told(scaled: bool, tmp_path: Path):
    (tmp_path / "file").write_bytes(text(header=False))
    items = ["<pad>", "<unk>", "The", "the", " ", "cat", "Größe", "dog", (1, "cat")]
    source = Tokens(16, 0, 1, items=items, unit="word")
    settings = small.read("frontend", "embedding") | {"vectors": str(tmp_path / "file")}
    make = {"source": source, "size": 3, "dropout": 0.0, "word_dropout": 0.0, "scaled": scaled}
    frontend = small.build(settings, **make).eval()
    before = frontend.map.weight.detach().clone()
    assert frontend.begin() == (
        f"frontend.vectors: 4 of the 6 items of the vocabulary are in {tmp_path / 'file'}, 2 of them only in lower case"
    )
    vectors = frontend(torch.tensor([[2, 3, 5, 6]]), torch.tensor([4]))[0][0]
    torch.testing.assert_close(vectors, torch.tensor([VECTORS[w] for w in ("the", "the", "cat", "größe")]))
    others = [0, 1, 4, 7, 8, 9]
    assert torch.equal(frontend.map.weight[others], before[others])


def test_vectors_are_of_words(tmp_path: Path):
    embedding = small.locate(small.read("frontend", "embedding")["_target_"], trust=False)
    spec = small.SPECS["tokens to label"]
    for source, said in (
        (Tokens(9, unit="char"), "the unit is char"),
        (Reals((3,)), "there are none"),
        (None, "there are none"),
    ):
        with pytest.raises(UserError, match=f"frontend.vectors are of words that come in, and here {said}"):
            embedding.of(spec._replace(source=source), vectors="file")
    assert embedding.of(spec._replace(source=Tokens(9, unit="word")), vectors="file").source.size == 9
