"""Images of lines as columns: of one height, ink on paper whatever its colours, strokes drawn as they are written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from seqtrain.codecs.line_image import PixelColumns
from seqtrain.config import UserError
from seqtrain.data.kinds import Ink

PLAIN = {"height": 20, "longest": 200, "slant": 0.0, "stretch": 0.0}
BAR = np.full((40, 120), 230, np.uint8)
BAR[:, 60:80] = 40


def saved(place: Path, picture: Any, **options: Any) -> str:
    Image.fromarray(picture).save(place, **options)
    return str(place)


@pytest.mark.parametrize("form", ["png", "jpg", "bmp"])
def test_columns_are_those_of_the_image_brought_to_the_height(form: str, tmp_path: Path):
    codec = PixelColumns(**PLAIN)
    found = codec.channels(codec.read(saved(tmp_path / f"a.{form}", BAR)))
    assert found.shape == (60, 20)
    assert found[31:39].min() > 0.9
    assert max(found[:28].max(), found[42:].max()) < 0.1
    assert codec.shown(str(tmp_path / f"a.{form}"))[30] == "column 60"


def test_ink_may_be_light_or_stand_on_nothing(tmp_path: Path):
    codec = PixelColumns(**PLAIN)
    expected = codec.read(saved(tmp_path / "a.png", BAR))
    glass = np.zeros((40, 120, 4), np.uint8)
    glass[:, 60:80, 3] = 255
    for name, picture in (("light.png", 255 - BAR), ("glass.png", glass)):
        np.testing.assert_allclose(codec.read(saved(tmp_path / name, picture)), expected, atol=2)
    assert codec.read(saved(tmp_path / "empty.png", np.full((20, 30), 200, np.uint8))).max() == 0


def test_strokes_are_drawn_upright_and_within_the_image():
    ell = Ink("ell", (np.array([[0.0, 0.0], [0.0, 10.0], [5.0, 10.0]]),))
    found = PixelColumns(**PLAIN).read(ell).T
    assert found.shape[0] == 20
    assert found[[0, -1]].max() < 100
    assert found[:, [0, -1]].max() < 100
    assert found[3:17, 1:4].max(1).min() > 100
    assert found[17:19, 2:9].max(0).min() > 100
    assert not found[4:15, 5:].any()


def test_a_mistake_in_a_file_is_named_with_its_cure(tmp_path: Path):
    codec = PixelColumns(**PLAIN)
    with pytest.raises(
        UserError, match=r"wide\.png: 2,000 columns of 20 pixels; at most 200 are read \(image\.longest\)"
    ):
        codec.read(saved(tmp_path / "wide.png", np.zeros((10, 1000), np.uint8)))
    with pytest.raises(UserError, match=r"b\.png: a JPEG that is named as a PNG; rename it to b\.jpg"):
        codec.read(saved(tmp_path / "b.png", BAR, format="JPEG"))
    whole = Path(saved(tmp_path / "c.png", np.random.default_rng(0).integers(0, 255, (40, 90)).astype(np.uint8)))
    whole.write_bytes(whole.read_bytes()[:900])
    with pytest.raises(UserError, match=r"c\.png: the picture is damaged or cut off"):
        codec.load(str(whole))
    (tmp_path / "d.png").write_text("<ink/>")
    with pytest.raises(UserError, match=r"d\.png: no picture that can be read"):
        codec.read(str(tmp_path / "d.png"))


def test_training_changes_images_by_the_given_random_numbers_alone(tmp_path: Path):
    codec, name = PixelColumns(**PLAIN | {"slant": 0.3, "stretch": 0.2}), saved(tmp_path / "a.png", BAR)
    codec.fit([name])
    signals, rows = codec.encode_all([name]), np.arange(1)
    plain = signals.padded(rows, 0)[0]
    first, again, other = (signals.varied(np.random.default_rng(seed)).padded(rows, 0)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert first.shape != plain.shape or not torch.equal(first, plain)
    assert first.shape != other.shape or not torch.equal(first, other)
    slanted = codec.channels(signals.kept[0], np.random.default_rng(1))
    assert np.abs(slanted[:, 2].argmax() - slanted[:, -3].argmax()) > 1
