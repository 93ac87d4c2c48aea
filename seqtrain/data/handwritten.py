"""The user's own handwriting: strokes of a pen, or images of lines."""

from __future__ import annotations

from seqtrain.data.kinds import LineImage, Written
from seqtrain.reading.manifests import Manifests
from seqtrain.reading.shards import Sharding
from seqtrain.reading.splits import Files


class OwnStrokes(Manifests[Written]):
    """`Written`s of a table (CSV, TSV, JSON Lines, Parquet, Excel) that names a file of strokes of each, and its text.

    Paths and splits are as those of `Recordings`.
    """

    kind = "strokes"
    record = Written

    def __init__(self, files: Files, ink: str | int, text: str | int, sharding: Sharding):
        super().__init__(files, {"ink": ink, "text": text}, sharding)


class OwnLineImages(Manifests[LineImage]):
    """`LineImage`s of a table that names an image of each, and its text. Paths and splits are as those of
    `Recordings`."""

    kind = "line_images"
    record = LineImage

    def __init__(self, files: Files, image: str | int, text: str | int, sharding: Sharding):
        super().__init__(files, {"image": image, "text": text}, sharding)
