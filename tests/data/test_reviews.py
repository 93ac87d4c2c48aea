import random
import re
from collections import Counter

import pytest

from seqtrain.data import reviews
from seqtrain.data.reviews import SIGN, Reviews
from seqtrain.evaluation.baselines.linear import LinearClassifier

SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def data() -> Reviews:
    return Reviews(size=10000, valid_size=1000, test_size=2000, seed=1)


def opinions(text: str) -> list[str]:
    return [word for word in re.findall(r"\w+", text.lower()) if word in SIGN]


def skeleton(text: str) -> str:
    """What is left of a review when everything that a template leaves open is put aside."""
    for before, after, nouns in reviews.SUBJECTS:
        for sentence in before:
            text = text.removeprefix(f"{sentence} ")
        for sentence in after:
            text = text.removesuffix(f" {sentence}")
        text = re.sub(rf"\b({'|'.join(nouns.split())})\b", "noun", text)
    text = text.lower()
    for name in ("RARELY", "STEADILY"):
        text = re.sub(rf"\b({'|'.join(getattr(reviews, name))})\b", name, text)
    text = re.sub(rf"\b({'|'.join(filter(None, map(str.strip, reviews.VERY)))}) ", "", text)
    return re.sub(rf"\b({'|'.join(SIGN)})\b", "word", text)


def test_is_deterministic_and_depends_on_the_seed(data: Reviews):
    assert Reviews(size=10000, valid_size=1000, test_size=2000, seed=1).splits == data.splits
    assert Reviews(size=10000, valid_size=1000, test_size=2000, seed=2).splits != data.splits


def test_labels_are_balanced(data: Reviews):
    for split, size in zip(SPLITS, (10000, 1000, 2000), strict=True):
        assert Counter(record.label for record in data.read(split)) == {"negative": size // 2, "positive": size // 2}


def test_splits_share_no_pair_of_opinion_words(data: Reviews):
    train, valid, test = ({frozenset(opinions(record.text)) for record in data.read(split)} for split in SPLITS)
    assert all(len(pair) == 2 for pair in train | valid | test)
    assert train.isdisjoint(valid | test)
    assert valid.isdisjoint(test)


def test_splits_share_no_template(data: Reviews):
    train, valid, test = ({skeleton(record.text) for record in data.read(split)} for split in SPLITS)
    assert len(train) > 1000
    assert train.isdisjoint(valid | test)
    assert valid.isdisjoint(test)


def test_every_word_of_the_other_splits_is_in_the_training_split(data: Reviews):
    words = [{w for record in data.read(split) for w in re.findall(r"\w+", record.text)} for split in SPLITS]
    assert words[1] | words[2] <= words[0]


@pytest.mark.parametrize(
    ("frame", "first", "second", "words", "label", "text"),
    [
        ("{0}, but {1}.", "PLAIN", "DENIED", ("bad", "bad"), 1, "The x was bad, but the y was not bad."),
        ("{0}, although {1}.", "DENIED", "PLAIN", ("good", "good"), -1, "The x was not good, although the y was good."),
        ("Although {0}, {1}.", "PLAIN", "PLAIN", ("bad", "good"), 1, "Although the x was bad, the y was good."),
        ("{0}, and {1}.", "DENIED", "PLAIN", ("bad", "good"), 1, "The x was not bad, and the y was good."),
    ],
)
def test_what_a_template_means(frame, first, second, words, label, text, monkeypatch):
    monkeypatch.setattr(reviews, "SUBJECTS", [([""], [""], "x y")])
    monkeypatch.setattr(reviews, "VERY", [""])
    monkeypatch.setattr(reviews, "BEFORE", 0)
    monkeypatch.setattr(reviews, "AFTER", 0)
    frames = {frame.text: frame for frame in reviews.AGREEMENT + reviews.CONTRAST}
    template = reviews.Template(frames[frame], getattr(reviews, first)[0], getattr(reviews, second)[0])
    assert template.signs(label) == (SIGN[words[0]], SIGN[words[1]])
    written = reviews.write(template, words, random.Random(0))
    assert written in (text, text.translate(str.maketrans("xy", "yx")))


def test_in_degree_the_clause_that_always_holds_decides():
    share, degree = reviews.templates()[-1]
    assert share == 0.25
    for template in degree:
        steady = next(i for i in (0, 1) if "steadily" in template[1 + i].text)
        assert template.signs(1)[steady] == 1
        assert template.signs(1)[1 - steady] == -1


def test_words_without_their_order_do_not_tell_the_label(data: Reviews):
    train, test = data.read("train"), data.read("test")
    for order, bound in ((1, 0.75), (2, 0.85)):
        classifier = LinearClassifier(order).fit([r.text for r in train], [r.label for r in train])
        found = classifier.predict([r.text for r in test])
        right = sum(label == record.label for label, record in zip(found, test, strict=True))
        assert right / len(test) < bound


def test_an_unknown_split_is_refused(data: Reviews):
    with pytest.raises(ValueError, match="train, valid, test, not dev"):
        data.read("dev")
