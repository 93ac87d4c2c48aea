import pytest
from babel import Locale

from seqtrain.data.places import Places

LANGUAGES = ["de", "en", "fr", "ru"]


def make(seed: int = 1) -> Places:
    return Places(LANGUAGES, valid_share=0.1, test_share=0.1, seed=seed)


def test_is_deterministic_and_depends_on_the_seed():
    assert make().splits == make().splits
    assert make(2).splits != make().splits


def test_splits_share_no_territory():
    codes = {
        (name, language): code
        for language in LANGUAGES
        for code, name in Locale.parse(language).territories.items()
        if len(code) == 2
    }
    data = make()
    train, valid, test = ({codes[record] for record in data.read(split)} for split in ("train", "valid", "test"))
    assert len(train) > 6 * len(test) > 0
    assert train.isdisjoint(valid | test)
    assert valid.isdisjoint(test)


def test_no_name_is_written_alike_in_two_languages():
    data = make()
    names = [record.text for split in ("train", "valid", "test") for record in data.read(split)]
    assert len(set(names)) == len(names)
    assert "Panama" not in names
    assert "Germany" in names


def test_every_language_is_in_every_split():
    assert all(
        {record.label for record in make().read(split)} == set(LANGUAGES) for split in ("train", "valid", "test")
    )


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="train, valid, test, not dev"):
        make().read("dev")
