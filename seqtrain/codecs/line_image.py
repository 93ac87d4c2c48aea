"""Images of lines of writing as columns of pixels."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from seqtrain.codecs.signal import Signal
from seqtrain.codecs.strokes import bounds, line_height
from seqtrain.config import UserError
from seqtrain.data.kinds import Ink
from seqtrain.reading.files import PIPED
from seqtrain.reading.pictures import BEGINS, ENDINGS, decode, read_picture

FINER = 4  # times that strokes are drawn larger, and then made smaller
MARGIN, PEN = 0.1, 0.08  # of what is drawn, as shares of the height of the line


class PixelColumns(Signal):
    """Each position is a column of pixels, from 0 (paper) to 1 (ink), the image scaled to a height of `height` pixels.
    Ink may be darker or lighter than the paper. Strokes are drawn.

    longest: columns of an image. In training, it is slanted by up to `slant`, and its width and height change by a
    share of up to `stretch`.
    """

    endings, begins = ENDINGS, BEGINS

    def __init__(self, height: int, longest: int, slant: float, stretch: float):
        super().__init__()
        self.height, self.longest = height, longest
        self.slant, self.stretch = slant, stretch

    @property
    def settings(self) -> list[Any]:
        return [self.height, self.longest]

    def load(self, line: Any) -> Any:
        if isinstance(line, bytes):
            return decode(io.BytesIO(line), PIPED)
        if isinstance(line, str):
            read_picture(line)
        return line

    def read(self, value: Any) -> UInt8[np.ndarray, "W H"]:
        if isinstance(value, Ink):
            low, high = bounds(value.strokes)
            tall = line_height(value.strokes) * (1 + 2 * MARGIN)
            self.check(value.name, (high - low)[0] / tall, 1.0)
            return drawn(value, self.height).T
        picture = self.picture(value)
        self.check(value if isinstance(value, str) else PIPED, *picture.shape[1::-1])
        return ink_of(scaled(picture, self.height)).T

    def picture(self, value: Any) -> UInt8[np.ndarray, "H W 3"]:
        """The colours of an image, which may be the name of its file."""
        return read_picture(value) if isinstance(value, str) else value

    def check(self, name: str, width: float, height: float) -> None:
        if (columns := round(width * self.height / height)) > self.longest:
            raise UserError(
                f"{name}: {columns:,} columns of {self.height} pixels; at most {self.longest:,} are read "
                "(image.longest): cut it into lines"
            )

    def shown(self, value: Any) -> list[str]:
        """The columns of the image as it is in its file."""
        count = len(self.read(value))
        wide = count if isinstance(value, Ink) else self.picture(value).shape[1]
        return [f"column {column * wide // count}" for column in range(count)]

    def channels(
        self, kept: UInt8[np.ndarray, "W H"], random: np.random.Generator | None = None
    ) -> Float[np.ndarray, "V H"]:
        pixels = kept if random is None else changed(kept.T, random, self.slant, self.stretch).T
        return pixels.astype(np.float32) / 255


def scaled(picture: UInt8[np.ndarray, "H W 3"], height: int) -> UInt8[np.ndarray, "{height} V 3"]:
    from PIL import Image

    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def ink_of(picture: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W"]:
    """How much ink is at each pixel, the most of it 255: what differs most from the paper, darker or lighter."""
    grey = picture.mean(2)
    ink = np.median(grey) - grey
    ink = np.maximum(ink if ink.max() >= -ink.min() else -ink, 0)
    return (ink * (255 / max(1.0, float(ink.max())))).astype(np.uint8)


def drawn(ink: Ink, height: int) -> UInt8[np.ndarray, "{height} W"]:
    """Strokes as a line image with a margin."""
    from PIL import Image, ImageDraw

    low, high = bounds(ink.strokes)
    scale = height * FINER / (line_height(ink.strokes) * (1 + 2 * MARGIN))
    edge = height * FINER * MARGIN / (1 + 2 * MARGIN)
    width = int(np.ceil(((high - low)[0] * scale + 2 * edge) / FINER)) * FINER
    image = Image.new("L", (width, height * FINER))
    pencil, pen = ImageDraw.Draw(image), max(1, round(height * FINER * PEN))
    for stroke in ink.strokes:
        points = [tuple(point) for point in ((stroke - low) * scale + edge).tolist()]
        pencil.line(points, 255, pen, "curve")
        for x, y in (points[0], points[-1]):  # round ends
            pencil.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), 255)
    return np.asarray(image.resize((width // FINER, height), Image.Resampling.BOX))


def changed(
    pixels: UInt8[np.ndarray, "H W"], random: np.random.Generator, slant: float, stretch: float
) -> UInt8[np.ndarray, "H V"]:
    """A line image slanted, widened and heightened at random, about its middle."""
    from PIL import Image

    (wider, higher), lean = random.uniform(1 - stretch, 1 + stretch, 2), random.uniform(-slant, slant)
    height, width = pixels.shape
    wide = max(1, round(width * wider))
    # Of a pixel of what comes out, the place where it comes from: x / wider + lean * y, y / higher.
    middle = height / 2
    map_ = (width / wide, lean, -lean * middle, 0.0, 1 / higher, middle - middle / higher)
    return np.asarray(
        Image.fromarray(pixels).transform((wide, height), Image.Transform.AFFINE, map_, Image.Resampling.BILINEAR)
    )
