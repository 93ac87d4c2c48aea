"""FSDD: digits spoken by six people, 50 times each (Jackson et al., Free Spoken Digit Dataset, CC BY-SA 4.0)."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import cast

import numpy as np

from seqtrain.data.kinds import SPLITS, Keyed, Recording, Sound, check_split
from seqtrain.reading.sounds import decode
from seqtrain.storage.downloads import fetch_folder, listing

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LONGEST = 10.0  # seconds
TEST, VALID = range(5), range(5, 8)  # takes, by the set's own rule and by ours


class Fsdd:
    """`Recording`s of single digits, or strings of them, joined at random from takes of one speaker and one split.

    Takes 0 to 4 are the test, 5 to 7 are for validation. With a speaker held out, all takes of that one are the test,
    and takes 0 to 4 of the others are for training.
    """

    kind = "recordings"

    def __init__(self, held_out: str | None, shortest: int, longest: int, size: int, seed: int):
        self.held_out, self.shortest, self.longest, self.size, self.seed = held_out, shortest, longest, size, seed

    @cached_property
    def files(self) -> dict[str, bytes]:
        return fetch_folder("fsdd/recordings.tar.gz", "recordings")

    def split_of(self, speaker: str, take: int) -> str:
        if self.held_out is not None:
            return "test" if speaker == self.held_out else "valid" if take in VALID else "train"
        return "test" if take in TEST else "valid" if take in VALID else "train"

    def read(self, split: str) -> Keyed:
        check_split(split)
        by_speaker: dict[str, list[Recording]] = {}
        for name, data in sorted(self.files.items()):
            digit, speaker, take = name.removesuffix(".wav").split("_")
            if self.split_of(speaker, int(take)) == split:
                record = Recording(decode(data, name, LONGEST), WORDS[int(digit)])
                by_speaker.setdefault(speaker, []).append(record)
        if self.longest == 1:
            records = [record for own in by_speaker.values() for record in own]
        else:
            records = self.join_digits(by_speaker, split)
        settings = (split, self.held_out, self.shortest, self.longest, self.size, self.seed)
        return Keyed(records, hashlib.sha256(listing(self.files) + repr(settings).encode()).hexdigest())

    def join_digits(self, by_speaker: dict[str, list[Recording]], split: str) -> list[Recording]:
        """Returns recordings of several digits, of one speaker each, in turn: `size` for training, a fifth of it for
        each other split."""
        random = np.random.default_rng([self.seed, SPLITS.index(split)])
        speakers = list(by_speaker)
        joined = []
        for row in range(self.size if split == "train" else self.size // 5):
            own = by_speaker[speakers[row % len(speakers)]]
            count = random.integers(self.shortest, self.longest + 1)
            chosen = [own[place] for place in random.integers(len(own), size=count)]
            sounds = [cast(Sound, record.sound) for record in chosen]  # the paths of files stand in other sets only
            samples = np.concatenate([sound.samples for sound in sounds])
            name = "+".join(sound.name.removesuffix(".wav") for sound in sounds)
            joined.append(Recording(Sound(name, sounds[0].rate, samples), " ".join(record.text for record in chosen)))
        return joined
