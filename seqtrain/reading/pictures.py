"""Pictures in files, by Pillow."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from seqtrain.config import UserError
from seqtrain.reading.files import find_file

ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff")
BEGINS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")


def read_picture(name: str, setting: str = "input") -> UInt8[np.ndarray, "H W 3"]:
    """The colours of a picture, turned as its camera says. Raises `UserError` where it cannot be read, or its name ends
    as that of another format."""
    with find_file(name, setting).open("rb") as file:
        return decode(file, name)


def decode(content: Any, name: str) -> UInt8[np.ndarray, "H W 3"]:
    """The colours in the content of a file. Its pixels are counted by the header before any is decoded."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    bomb = Image.DecompressionBombWarning
    try:
        with warnings.catch_warnings(action="error", category=bomb), Image.open(content) as file:
            check_ending(name, str(file.format))
            return np.asarray(opaque(ImageOps.exif_transpose(file)).convert("RGB"))
    except UnidentifiedImageError:
        raise UserError(f"{name}: no picture that can be read; expected PNG, JPEG, GIF, WebP, BMP or TIFF") from None
    except (Image.DecompressionBombError, bomb):
        raise UserError(f"{name}: the picture has too many pixels; make it smaller or leave it out") from None
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises of damaged files
        raise UserError(
            f"{name}: the picture is damaged or cut off ({error}); save it again, or leave it out"
        ) from None


def opaque(picture: Any) -> Any:
    """A picture, on white paper where it is transparent."""
    from PIL import Image

    if not picture.has_transparency_data:
        return picture
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)


def check_ending(name: str, form: str) -> None:
    from PIL import Image

    path = Path(name)
    said = Image.registered_extensions().get(path.suffix.lower())
    if said not in (None, form) and {said, form} != {"JPEG", "MPO"}:
        ending = next(ending for ending, known in Image.EXTENSION.items() if known == form)
        better = path.with_suffix({"JPEG": ".jpg"}.get(form, ending)).name
        raise UserError(f"{name}: a {form} that is named as a {said}; rename it to {better}")


def fitted(picture: np.ndarray, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """A picture of `size` × `size` pixels: scaled, and cut at the middle of its longer side."""
    from PIL import Image, ImageOps

    if picture.shape[:2] == (size, size):
        return picture
    scaled: Any = ImageOps.fit(Image.fromarray(picture), (size, size), Image.Resampling.BILINEAR)
    return np.asarray(scaled)
