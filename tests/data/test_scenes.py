import numpy as np

from seqtrain.data.scenes import SHARES, SIDE, SceneAttributes, Scenes, Thing, sentence


def thing(size: str, color: str, shape: str, x: float, y: float) -> Thing:
    return Thing(size, color, shape, x, y, 3.0)


def test_sentences_by_hand():
    red, blue = thing("small", "red", "cross", 5, 5), thing("large", "blue", "circle", 20, 8)
    assert sentence([red]) == "a small red cross"
    assert sentence([red, blue]) == "a small red cross left of a large blue circle"
    assert sentence([red, blue._replace(y=28.0)]) == "a small red cross above a large blue circle"
    assert sentence([red._replace(y=28.0), blue]) == "a small red cross below a large blue circle"
    assert sentence([red, red._replace(x=9.0)]) == "two small red crosses"
    assert sentence([red, blue, red]) == "two small red crosses and a large blue circle"
    assert sentence([red, blue, red._replace(shape="square"), blue]) == (
        "a small red cross, two large blue circles and a small red square"
    )


def test_pictures_show_what_is_said():
    pictures, lists = Scenes(60, 2, 2, seed=1), SceneAttributes(60, 2, 2, seed=1)
    counts = [record.attributes.count("size") for record in lists.read("train")]
    assert set(counts) == {1, 2, 3, 4}
    assert abs(np.mean(counts) - np.dot(SHARES, [1, 2, 3, 4])) < 0.5
    for record in pictures.read("train"):
        assert record.picture.shape == (SIDE, SIDE, 3)
        if record.captions[0].endswith("small green square") and record.captions[0].startswith("a small green"):
            middle = record.picture[..., 1].astype(int) - record.picture[..., 0]
            assert (middle > 60).sum() > 9
    assert (Scenes(3, 1, 1, 5).read("train")[2].picture == Scenes(3, 1, 1, 5).read("train")[2].picture).all()
