"""SST-2: sentences of film reviews, positive or negative (Socher et al. 2013, aclanthology.org/D13-1170)."""

from __future__ import annotations

from seqtrain.data.kinds import Labelled, check_split
from seqtrain.storage.downloads import fetch


class Sst2:
    """`Labelled` sentences only, without their phrases: 6,920 for training, 872 for validation, 1,821 for the test."""

    kind = "labelled"
    labels = ("negative", "positive")

    def read(self, split: str) -> list[Labelled]:
        check_split(split)
        file = fetch(f"sst2/stsa.binary.{'dev' if split == 'valid' else split}")
        lines = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        return [Labelled(text, self.labels[int(label)]) for label, text in (line.split(" ", 1) for line in lines)]
