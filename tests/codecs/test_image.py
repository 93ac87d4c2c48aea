import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from seqtrain.codecs.attributes import Attributes
from seqtrain.codecs.image import Image
from seqtrain.config import UserError
from seqtrain.reading.pictures import read_picture


@pytest.fixture
def codec() -> Image:
    made = Image(4, 1)
    random = np.random.default_rng(0)
    made.fit(random.integers(0, 256, (3, 4, 4, 3)).astype(np.uint8))
    return made


def test_colours_are_normalised_and_come_back(codec: Image):
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    array = codec.encode(picture)
    assert array.shape == (1, 3, 4, 4)
    assert array[0, 1, 2, 3] == pytest.approx((picture[2, 3, 1] - codec.mean[1]) / codec.deviation[1], rel=1e-5)
    assert (codec.decode(array) == picture).all()
    other = Image(4, 1)
    other.load_state(codec.state())
    assert (other.encode(picture) == array).all()
    with pytest.raises(ValueError, match="three colours"):
        other.load_state({"mean": [0.0], "deviation": [1.0]})


def test_pictures_are_moved_at_random_in_training_only(codec: Image):
    pictures = np.arange(20 * 48).reshape(20, 4, 4, 3).astype(np.uint8)
    encoded, rows = codec.encode_all(pictures), np.arange(20)
    still = encoded.padded(rows, 0)[0][:, 0]
    moved = encoded.varied(np.random.default_rng(3)).padded(rows, 0)[0][:, 0]
    again = encoded.varied(np.random.default_rng(3)).padded(rows, 0)[0][:, 0]
    assert (moved == again).all()
    assert not (moved == still).all()
    wide = np.pad(pictures, ((0, 0), (1, 1), (1, 1), (0, 0)), "edge")
    shifts = {(i, j): wide[:, i : i + 4, j : j + 4] for i in range(3) for j in range(3)}
    possible = [codec.encode_all(some).padded(rows, 0)[0][:, 0] for some in shifts.values()]
    assert all(any((moved[row] == some[row]).all() for some in possible) for row in rows)


def test_files_of_any_size_are_scaled(tmp_path: Path, codec: Image):
    Pillow.new("L", (9, 30), 200).save(tmp_path / "a.png")
    assert codec.pixels(str(tmp_path / "a.png")).tolist() == np.full((3, 4, 4), 200).tolist()


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_a_broken_picture_is_named(tmp_path: Path, ending: str):
    file = tmp_path / f"a{ending}"
    Pillow.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(UserError, match=rf"{re.escape(str(file))}: the picture is damaged or cut off"):
        read_picture(str(file))


def test_a_picture_with_the_ending_of_another_format_is_named_with_its_cure(tmp_path: Path):
    Pillow.new("RGB", (8, 8)).save(tmp_path / "photo.png", "JPEG")
    with pytest.raises(UserError, match=r"photo\.png: a JPEG that is named as a PNG; rename it to photo\.jpg$"):
        read_picture(str(tmp_path / "photo.png"))
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(UserError, match=r"text\.png: no picture that can be read"):
        read_picture(str(tmp_path / "text.png"))
    with pytest.raises(UserError, match="there is no such file"):
        read_picture(str(tmp_path / "none.png"))


def test_attributes_are_positions_in_the_order_of_their_names():
    codec = Attributes(["name"])
    codec.fit(["name[The Mill], area[river, left]", "area[town]"])
    assert codec.items == ["area[river, left]", "area[town]", "name[]"]
    assert codec.encode("name[Any], area[town]").tolist() == [3, 4]
    assert codec.encode("size[big]").tolist() == [1]
    assert codec.decode(np.array([2, 1])) == "area[river, left]"
    with pytest.raises(UserError, match="is no list of attributes; expected such as"):
        codec.encode("a mill")
