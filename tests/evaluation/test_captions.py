import math

import pytest

from seqtrain.evaluation.captions import cider_d, nist_of, rouge_l, scored
from seqtrain.evaluation.captions import nist as counted


def test_rouge_l_takes_the_best_precision_and_the_best_recall():
    # common with the first: 2 of 4 words and 2 of 2; with the second: 3 of 4 and 3 of 6
    precision, recall = 3 / 4, 1.0
    expected = (1 + 1.44) * precision * recall / (recall + 1.44 * precision)
    assert rouge_l("a b c d", ["a b", "a x c y d z"]) == pytest.approx(expected)
    assert rouge_l("a", ["b"]) == 0


def nist(outputs: list[list[str]], references: list[list[list[str]]]) -> float:
    return nist_of(counted(outputs, references).sum(0).tolist())


def test_cider_d_by_hand():
    # two pictures: "a" is in the references of both and weighs nothing, "b" and "c" weigh log 2
    references = [["a b"], ["a c"]]
    same = cider_d(["a b", "a c"], references).mean()
    assert same == pytest.approx(10 * (1 + 1) / 4)  # n-grams of 1 and 2 words agree, there are none of 3 and 4
    longer = cider_d(["a b b", "a c"], references).mean()
    one = min(2, 1) * 1 / (2 * 1) * math.exp(-1 / 72)  # clipped, and one word too long
    two = 1 / math.sqrt(2) * math.exp(-1 / 72)  # "b b" is in no reference, and weighs log 2 as well
    assert longer == pytest.approx(10 * ((one + 1) / 2 + (two + 1) / 2) / 4)
    assert cider_d(["x", "y"], references).tolist() == [0, 0]


def test_nist_by_hand():
    # reference: a b a; info(a) = log2(3 / 2), info(b) = log2(3), info(a b) = log2(2 / 1), info(b a) = log2(1 / 1)
    whole = nist([["a", "b", "a"]], [[["a", "b", "a"]]])
    assert whole == pytest.approx((2 * math.log2(1.5) + math.log2(3)) / 3 + 1 / 2)
    short = nist([["a", "b"]], [[["a", "b", "a"]]])
    assert short == pytest.approx(((math.log2(1.5) + math.log2(3)) / 2 + 1) * 0.5)  # two thirds: half
    assert nist([[]], [[["a"]]]) == 0


def test_several_references_of_unequal_number():
    found = scored(["A dog runs fast .", "a cat"], [["a dog runs fast .", "dogs"], ["a cat"]])()
    assert found["bleu"] == pytest.approx(100)
    assert found["exact_match"] == 0.5
    assert found["rouge_l"] == pytest.approx(100)
