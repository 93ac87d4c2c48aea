"""The user's own captions: of pictures, or of attributes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqtrain.config import expanded
from seqtrain.data.kinds import Described, Keyed, Pair, Pictured, Source
from seqtrain.reading.manifests import Manifests, names_archives
from seqtrain.reading.pictures import read_picture
from seqtrain.reading.shards import Sharding
from seqtrain.reading.splits import Files, Splits
from seqtrain.reading.tables import Columns, Rows, open_table


class CaptionedPictures(Source[Pictured]):
    """`Pictured`s of a table of picture files and captions; a picture with several captions stands in several rows.

    Without files of their own, validation and test are `valid_share` and `test_share` of the pictures of the training
    file, chosen by `seed`. Every picture is opened once before training begins. Or of tar archives: see
    `ArchivedPictures`.
    """

    kind = "pictures"

    def __init__(self, files: Files, picture: str | int, caption: str | int, folder: str | None, sharding: Sharding):
        if names_archives(files.train):
            self.splits = ArchivedPictures(files, {"picture": picture, "caption": caption}, sharding).splits
            return
        self.splits = {}
        columns: Columns = {"data.picture": picture, "data.caption": caption}
        for split, (captions, key) in by_source(files, columns, "picture or caption").items():
            place = expanded(folder) if folder else expanded(getattr(files, split) or files.train).parent
            paths = [str(place / name) for name in captions]
            for path in paths:
                read_picture(path, f"data.{split}")
            content = hashlib.sha256(b"".join(hashlib.sha256(Path(path).read_bytes()).digest() for path in paths))
            self.splits[split] = Keyed(map(Pictured, paths, captions.values()), f"{key} {content.hexdigest()}")


class ArchivedPictures(Manifests[Pictured]):
    """`Pictured`s of tar archives: each sample is a picture with a caption."""

    kind = "pictures"
    record = staticmethod(lambda picture, caption: Pictured(picture, (caption,)))


class CaptionedAttributes(Source[Described]):
    """`Described`s of a table of attributes, as "name[The Mill], area[riverside]", and captions; what has several
    captions stands in several rows. Splits are made as those of `CaptionedPictures`."""

    kind = "attributes"

    def __init__(self, files: Files, attributes: str | int, caption: str | int):
        columns: Columns = {"data.attributes": attributes, "data.caption": caption}
        self.splits = {
            split: Keyed(map(Described, captions, captions.values()), key)
            for split, (captions, key) in by_source(files, columns, "attributes or caption").items()
        }


def by_source(files: Files, columns: Columns, cells: str) -> dict[str, tuple[dict[str, tuple[str, ...]], str]]:
    """Of each split the captions of each source, and the key of its rows."""

    def rows(name: str, setting: str) -> Rows:
        return open_table(name, setting, columns, files.format, files.encoding)

    settings = ("captions", *columns.values(), files.format)
    given = files.scan(rows, Pair, cells, settings)
    captions = {split: together(records) for split, records in given.items()}
    firsts: Any = {split: records[captions[split].first] for split, records in given.items()}
    splits: Any = Splits(firsts, settings, files.shares, files.seed).splits
    found = {}
    for split, some in splits.items():
        known = captions[split if split in given else "train"].of
        found[split] = {pair.source: known[pair.source] for pair in some}, some.key
    return found


class Together(NamedTuple):
    """of: the captions of each source. first: (N,) the row in which each source comes first."""

    of: dict[str, tuple[str, ...]]
    first: np.ndarray


def together(pairs: Sequence[Pair]) -> Together:
    found: dict[str, tuple[str, ...]] = {}
    first = []
    for row, (source, caption) in enumerate(pairs):
        if source not in found:
            first.append(row)
        found[source] = (*found.get(source, ()), caption)
    return Together(found, np.array(first))
