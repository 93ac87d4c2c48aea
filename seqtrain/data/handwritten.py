"""The user's own handwriting: strokes of a pen, or images of lines."""

from __future__ import annotations

from seqtrain.data.kinds import LineImage, Written
from seqtrain.reading.manifests import Manifests


class OwnStrokes(Manifests[Written]):
    """`Written`s of a table (CSV, TSV, JSON Lines, Parquet, Excel) that names a file of strokes of each, and its text.

    Paths and splits are as those of `Recordings`.
    """

    kind = "strokes"
    record = Written

    def __init__(
        self,
        train: str,
        valid: str | None,
        test: str | None,
        ink: str | int,
        text: str | int,
        format: str | None,
        encoding: str,
        valid_share: float,
        test_share: float,
        seed: int,
    ):
        tables, columns = {"train": train, "valid": valid, "test": test}, {"ink": ink, "text": text}
        super().__init__(tables, columns, format, encoding, {"valid": valid_share, "test": test_share}, seed)


class OwnLineImages(Manifests[LineImage]):
    """`LineImage`s of a table that names an image of each, and its text. Paths and splits are as those of
    `Recordings`."""

    kind = "line_images"
    record = LineImage

    def __init__(
        self,
        train: str,
        valid: str | None,
        test: str | None,
        image: str | int,
        text: str | int,
        format: str | None,
        encoding: str,
        valid_share: float,
        test_share: float,
        seed: int,
    ):
        tables, columns = {"train": train, "valid": valid, "test": test}, {"image": image, "text": text}
        super().__init__(tables, columns, format, encoding, {"valid": valid_share, "test": test_share}, seed)
