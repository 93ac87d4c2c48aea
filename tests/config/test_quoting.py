"""Printed commands work when they are pasted: into a shell, and through it into Hydra's grammar."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtrain.config.overrides import parse_value
from seqtrain.config.quoting import command, typed

PATHS = [
    "my runs/a",
    "a=b",
    "a,b",
    "[x]",
    "é",
    "it's",
    'a"b',
    'a\\"b',
    "end\\",
    "null",
    "1e3",
    "2024",
    "~x",
    " a",
    "{a}",
]


@pytest.mark.parametrize("path", [*PATHS, "", "#1", "(a)", "a;b&c", "$HOME", "`x`", "a\nb", "日本"])
def test_a_path_comes_back(path: str):
    (word,) = shlex.split(typed("checkpoint", path))
    assert parse_value(word.removeprefix("checkpoint=")) == path


@given(st.text(st.sampled_from(list("ab \\\"'=,[]{}()~#$:;é\t")), max_size=8))
def test_any_path_comes_back(path: str):
    (word,) = shlex.split(typed("k", path))
    assert parse_value(word.removeprefix("k=")) == path


def test_what_needs_no_quotes_has_none():
    assert command(mode="predict", checkpoint="outputs/a-b_1.2", input="-") == (
        "seqtrain mode=predict checkpoint=outputs/a-b_1.2 input=-"
    )
    assert command(checkpoint="my runs/a") == "seqtrain 'checkpoint=my runs/a'"


def test_lists_and_values():
    assert typed("trust", ["mine"]) == "'trust=[mine]'"
    (word,) = shlex.split(typed("data.train", ["a b.txt", "c,d", "e"]))
    assert parse_value(word.partition("=")[2]) == ["a b.txt", "c,d", "e"]
    assert [typed("k", value) for value in (None, True, 3, 0.5)] == ["k=null", "k=true", "k=3", "k=0.5"]
