"""yesno: eight Hebrew words a recording, each yes or no, by one speaker (OpenSLR 1)."""

from __future__ import annotations

import hashlib
from functools import cached_property

from seqtrain.data.kinds import Keyed, Recording, check_split
from seqtrain.reading.sounds import decode
from seqtrain.storage.downloads import fetch_folder, listing

WORDS = {"0": "no", "1": "yes"}  # lo and ken, as the names of the files say
LONGEST = 10.0  # seconds
PLACES = {"train": slice(25), "valid": slice(25, 30), "test": slice(30, 60)}  # in the order of the names


class YesNo:
    """25, 5 and 30 `Recording`s: the first half is for training, of which the last five are for validation. All of that
    half begin with a no, and almost all of the test with a yes."""

    kind = "recordings"

    @cached_property
    def files(self) -> dict[str, bytes]:
        return fetch_folder("yesno/waves_yesno.tar.gz", "waves_yesno", ".wav")

    def read(self, split: str) -> Keyed:
        check_split(split)
        files = dict(list(self.files.items())[PLACES[split]])
        sounds = (decode(data, name, LONGEST) for name, data in files.items())
        texts = (" ".join(WORDS[mark] for mark in name.removesuffix(".wav").split("_")) for name in files)
        return Keyed(map(Recording, sounds, texts), hashlib.sha256(listing(files)).hexdigest())
