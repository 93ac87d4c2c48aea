import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtrain.config import UserError
from seqtrain.reading.splits import SPLITS, by_ratio, check_shares, digest, group_hash

GROUPS = st.lists(st.integers(0, 60), max_size=200).map(lambda found: np.array(found, np.uint64))
SHARES = st.floats(0.01, 0.45)
SEEDS = st.integers(0, 9)


@given(GROUPS, SHARES, SHARES, SEEDS)
def test_every_row_is_kept_once_in_order_and_no_group_crosses(groups: np.ndarray, valid: float, test: float, seed: int):
    found = by_ratio(groups, valid, test, seed)
    assert sorted(np.concatenate(list(found.values()))) == list(range(len(groups)))
    assert all((np.diff(rows) > 0).all() for rows in found.values())
    train, valid_groups, test_groups = (set(groups[found[split]].tolist()) for split in SPLITS)
    assert not train & valid_groups | train & test_groups | valid_groups & test_groups


@given(GROUPS, SEEDS, st.randoms(use_true_random=False))
def test_splits_depend_on_the_seed_and_not_on_the_order(groups: np.ndarray, seed: int, random):
    order = np.array(random.sample(range(len(groups)), len(groups)), np.int64)
    found, again, shuffled = (by_ratio(rows, 0.2, 0.2, seed) for rows in (groups, groups, groups[order]))
    for split in SPLITS:
        assert np.array_equal(found[split], again[split])
        assert sorted(groups[found[split]]) == sorted(groups[order][shuffled[split]])


@given(st.integers(60, 300), st.integers(2, 7), st.floats(0.01, 0.3), st.floats(0.01, 0.3), SEEDS)
def test_shares_are_kept_in_all_and_label_by_label(size: int, classes: int, valid: float, test: float, seed: int):
    groups, labels = np.arange(size, dtype=np.uint64), np.arange(size) % classes
    for given_labels in (None, labels):
        found = by_ratio(groups, valid, test, seed, given_labels)
        assert abs(len(found["valid"]) - max(1, valid * size)) <= 1
        assert abs(len(found["test"]) - max(1, test * size)) <= 1
    for label in range(classes):
        expected = valid * (labels == label).sum()
        assert abs((labels[found["valid"]] == label).sum() - expected) <= 2.5


@given(GROUPS.filter(len), st.lists(st.integers(0, 5), min_size=200, max_size=200), SHARES, SEEDS)
def test_every_label_is_in_training(groups: np.ndarray, labels: list[int], share: float, seed: int):
    known = np.array(labels)[: len(groups)]
    found = by_ratio(groups, share, share, seed, known)
    assert set(known[found["train"]]) == set(known)


def test_another_seed_chooses_other_rows():
    groups = np.arange(100, dtype=np.uint64)
    assert not np.array_equal(by_ratio(groups, 0.1, 0.1, 1)["test"], by_ratio(groups, 0.1, 0.1, 2)["test"])


def test_an_input_that_comes_very_often_stays_in_training():
    groups = np.array([7] * 50 + list(range(100, 200)), np.uint64)
    assert all(set(range(50)) <= set(by_ratio(groups, 0.2, 0.2, seed)["train"]) for seed in range(20))


def test_inputs_that_differ_in_case_or_outer_space_are_one_group():
    assert group_hash(" Straße\n") == group_hash("STRASSE")
    assert group_hash("a b") != group_hash("a  b")


def test_shares_that_leave_nothing_are_told():
    with pytest.raises(UserError, match="leave nothing to train on"):
        check_shares(0.5, 0.5)


def test_digests_tell_settings_apart():
    assert digest("a", 1) == digest("a", 1)
    assert len({digest("a", 1), digest("a", "1"), digest("a1"), digest("a", 1, None)}) == 4
