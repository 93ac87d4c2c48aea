import pytest

from seqtrain.data.pydocs import Pydocs, distinct_topics, lines


def make(seed: int = 1) -> Pydocs:
    return Pydocs(valid_share=0.05, test_share=0.1, seed=seed)


def test_is_deterministic_and_depends_on_the_seed():
    assert make().splits == make().splits
    assert make(2).splits != make().splits


def test_splits_share_no_topic_and_hold_every_one():
    data = make()
    documents = [document.text for split in ("train", "valid", "test") for document in data.read(split)]
    assert len(set(documents)) == len(documents)
    assert sorted(documents) == sorted(distinct_topics())


def test_splits_have_their_shares_of_the_characters():
    data = make()
    sizes = {split: sum(len(document.text) for document in data.read(split)) for split in ("train", "valid", "test")}
    total = sum(sizes.values())
    assert 0.09 < sizes["test"] / total <= 0.1
    assert 0.04 < sizes["valid"] / total <= 0.05


def test_topics_that_stand_inside_longer_ones_are_left_out():
    known: set[str] = set()
    for text in distinct_topics():
        own = lines(text)
        assert sum(len(line) for line in own if line in known) < 0.5 * sum(map(len, own))
        known.update(own)


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="train, valid, test, not dev"):
        make().read("dev")
