"""Targets that are longer than the positions that a likelihood could align them with: counted before the first step."""

import re

import pytest
import tiny

from seqtrain.config import UserError
from seqtrain.data.kinds import Pair
from seqtrain.engine.room import check_room


def lines(upsample: int, *pairs: tuple[str, str], model: str = "many_to_many") -> list[str]:
    changes = {"model__upsample": upsample} if model == "many_to_many" else {}
    axes = {"model": model, "frontend": "stack", "data": "pairs"}
    _, job, _ = tiny.job(tiny.config("translation", axes, frontend__factor=2, **changes))
    examples = job.task.examples([Pair(*pair) for pair in pairs])
    job.train.examples = examples
    return list(check_room(job.model, {"train": job.train}))


def test_targets_without_room_are_counted_with_the_cure():
    """Of six characters and the end mark four positions are left; "abca" and its end mark need five, and so does "aab",
    with one between its neighbours."""
    pairs = [("abcdef", text) for text in ("ab", "abca", "aab", "a", "b", "abc")]
    (line,) = lines(1, *pairs)
    assert line.startswith("2 of 6 train targets need more positions")
    assert re.search(r"model\.upsample=(\d+)", line)[1] == "2"  # pyright: ignore[reportOptionalSubscript]
    assert lines(2, *pairs) == []


def test_most_targets_without_room_are_refused():
    with pytest.raises(UserError, match=r"data: 2 of 3 train targets .* model\.upsample=3 makes room"):
        lines(2, ("ab", "abca"), ("ab", "ababc"), ("abcdef", "a"))


def test_what_ends_by_itself_has_room_enough():
    assert lines(1, ("ab", "abcabcabc"), model="attn_seq2seq") == []
