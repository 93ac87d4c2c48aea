import math

import numpy as np
import pytest

from seqtrain.evaluation import metrics
from seqtrain.evaluation.baselines.frames import FrameNgram, FrameRepeated

A, B, C = np.eye(3, dtype=np.int8)


def test_a_key_keeps_its_state_as_often_as_in_training():
    model = FrameRepeated().fit([np.stack([A, A, B])])
    # silent to silent three times, each other way once, and one more of each
    rest, begins, ends, goes_on = 4 / 6, 2 / 6, 2 / 4, 2 / 4
    found = model.losses(np.stack([A, A, B]))
    assert found == pytest.approx([-math.log(goes_on * rest**2), -math.log(ends * begins * rest)])
    assert (model.best(np.stack([A, C, B])) == np.stack([A, C])).all()


def test_a_bigram_of_frames_by_hand():
    train = [np.stack([A, A, B])]
    model, below = FrameNgram(2).fit(train), FrameRepeated().fit(train)
    base = math.exp(-below.losses(np.stack([A, B]))[0])
    unigram = (1 + 2 * base) / (3 + 2)  # as in `CharNgram`, over what stands below
    assert model.losses(np.stack([A, B]))[0] == pytest.approx(-math.log((1 + 2 * unigram) / (2 + 2)))
    unseen = 2 * math.exp(-below.losses(np.stack([C, C]))[0]) / (3 + 2)
    assert model.losses(np.stack([C, C]))[0] == pytest.approx(-math.log(unseen))
    assert (model.best(np.stack([C, B])) == A).all()  # nothing is known of C: the most frequent frame


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_probabilities_of_all_frames_sum_to_one(order: int):
    every = [np.array([i >> 2, i >> 1, i], np.int8) & 1 for i in range(8)]
    model = FrameNgram(order).fit([np.stack([A, A, B, A]), np.stack([B, A + C])])
    for before in every:
        total = sum(math.exp(-model.losses(np.stack([A, before, after]))[1]) for after in every)
        assert total == pytest.approx(1)


def test_frame_accuracy_by_hand():
    sums = metrics.notes(np.array([[1, 1, 0], [0, 0, 0]]), np.array([[1, 0, 1], [0, 0, 0]]))
    assert {name: counts.tolist() for name, counts in sums.items()} == {"both": [1, 0], "either": [3, 0]}
    assert metrics.frame_accuracy(1, 3) == pytest.approx(1 / 3)
    assert metrics.frame_accuracy(0, 0) == 1
