"""The public sets of recordings, where they lie in $SEQTRAIN_DATA."""

import os

import pytest

from seqtrain.data.yesno import YesNo


@pytest.mark.skipif("SEQTRAIN_DATA" not in os.environ, reason="SEQTRAIN_DATA is not set: the public files are not here")
def test_yesno():
    data = YesNo()
    parts = {split: data.read(split) for split in ("train", "valid", "test")}
    assert {split: len(part) for split, part in parts.items()} == {"train": 25, "valid": 5, "test": 30}
    assert parts["train"][0].text == "no no no no yes yes yes yes"
    assert parts["train"][0].sound.rate == 8000
    assert {record.text.split()[0] for record in [*parts["train"], *parts["valid"]]} == {"no"}
    assert len({part.key for part in parts.values()}) == 3
