from collections import Counter
from typing import Any

import numpy as np
import pytest

from seqtrain.config import UserError
from seqtrain.data.kinds import Labelled, Roll, Source
from seqtrain.reading.folds import Folds, labels_of

FOLDS = 5


class Given(Source[Any]):
    kind = "labelled"

    def __init__(self, records: list[Any]):
        self.splits = {"train": records[4:], "valid": records[:2], "test": records[2:4]}


RECORDS = [Labelled(f"text {i}", "rare" if i % 10 == 0 else "often") for i in range(100)]
RECORDS += [Labelled("Text 7 ", "often")] * 2  # counts as the one that is there


def splits(records: list[Any], seed: int = 0, folds: int = FOLDS) -> list[dict[str, list[Any]]]:
    made = [Folds(Given(records), folds, fold, seed) for fold in range(1, folds + 1)]
    return [{split: each.read(split) for split in ("train", "valid", "test")} for each in made]


def test_each_record_is_tested_once_and_in_one_split_only():
    found = splits(RECORDS)
    assert Counter(r for each in found for r in each["test"]) == Counter(RECORDS)
    for each in found:
        assert Counter(r for some in each.values() for r in some) == Counter(RECORDS)
        texts = [{record.text.strip().lower() for record in some} for some in each.values()]
        assert not any(a & b for i, a in enumerate(texts) for b in texts[:i])
        assert 18 <= len(each["test"]) <= 22
        assert 7 <= len(each["valid"]) <= 9
        assert Counter(r.label for r in each["test"])["rare"] == 2


def test_folds_follow_the_seed_and_not_the_order():
    assert splits(RECORDS) == splits(RECORDS)
    assert splits(RECORDS) != splits(RECORDS, seed=1)
    turned = [set(each["test"]) for each in splits(RECORDS[::-1])]
    assert turned == [set(each["test"]) for each in splits(RECORDS)]


def test_two_folds_leave_something_to_train_on():
    assert all(min(map(len, each.values())) > 0 for each in splits(RECORDS[:20], folds=2))


def test_a_label_of_one_input_is_always_trained_on(caplog: pytest.LogCaptureFixture):
    for each in splits([*RECORDS, Labelled("alone", "single")]):
        assert Labelled("alone", "single") in each["train"]
    assert "1 label(s) have one input only" in caplog.text


def test_too_few_inputs_are_refused():
    with pytest.raises(UserError, match=r"data\.folds=5: 4 different inputs are too few"):
        splits(RECORDS[:4])


def test_what_is_no_label_is_not_stratified():
    assert labels_of([("a", f"sentence {i}") for i in range(50)]) is None
    roll = Roll(np.zeros((2, 88), np.int8), 4, 120.0)
    assert labels_of([("a", roll)]) is None
