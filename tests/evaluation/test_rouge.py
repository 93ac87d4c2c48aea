import itertools

import pytest

from seqtrain.data.kinds import Pair
from seqtrain.evaluation.baselines.summaries import Template, lead
from seqtrain.evaluation.rouge import common_length, rouge


def test_the_example_of_the_paper():
    """Lin 2004, section 3: ROUGE-L of "police kill the gunman" and "the gunman kill police", and ROUGE-2."""
    reference = "police killed the gunman"
    found, other = (rouge(text, [reference]) for text in ("police kill the gunman", "the gunman kill police"))
    assert (found["rouge_l"], other["rouge_l"]) == pytest.approx((75, 50))
    assert (found["rouge_2"], other["rouge_2"]) == pytest.approx((100 / 3, 100 / 3))
    assert (found["rouge_1"], other["rouge_1"]) == pytest.approx((75, 75))


def test_by_hand():
    # words: the-cat-sat-on-the-mat, a-cat-is-on-the-mat; common: cat, on, the, mat; in pairs: on-the, the-mat
    found = rouge("The cat sat on the mat.", ["a cat is ON the_mat!"])
    assert found == pytest.approx({"rouge_1": 100 * 8 / 12, "rouge_2": 100 * 4 / 10, "rouge_l": 100 * 8 / 12})
    assert rouge("Ärger um 2-1", ["ärger um 2:1"])["rouge_2"] == 100
    assert rouge("", ["a"]) == {"rouge_1": 0, "rouge_2": 0, "rouge_l": 0}


def test_of_several_references_the_best_counts():
    assert rouge("a b", ["c", "a b", "a"]) == {"rouge_1": 100, "rouge_2": 100, "rouge_l": 100}


@pytest.mark.parametrize(
    ("a", "b", "length"), [("abcbdab", "bdcaba", 4), ("", "a", 0), ("abc", "abc", 3), ("ab", "ba", 1)]
)
def test_the_longest_common_subsequence(a: str, b: str, length: int):
    assert common_length(a, b) == common_length(b, a) == length


def test_a_template_is_filled_with_rare_words_in_their_order():
    names = zip(*[map("".join, itertools.product("ABCDE", "abcde", "abcdefgh"))] * 2, strict=True)
    pairs = [Pair(f"We saw {a} and {b}.", f"{a} met {b}" if i % 3 else "Nothing") for i, (a, b) in enumerate(names)]
    template = Template().fit(pairs)
    assert template.best == ("{0}", " ", "met", " ", "{1}")
    assert template("We saw Rom and Paris.") == "Rom met Paris"
    assert template("We saw Rom.") == "Rom met "


def test_the_first_sentence():
    assert lead(" One match. Two teams!") == "One match."
    assert lead("Title\nText.") == "Title"
