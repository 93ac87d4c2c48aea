import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image as Pillow
from small import read

import seqtrain
from seqtrain.config import UserError, build
from seqtrain.data.kinds import Described
from seqtrain.tasks.captioning import Captioning

WORDS = {"unit": "word", "lowercase": False, "nfc": False, "min_count": 1, "vocab_size": 300}
MILLS = [
    Described("name[The Mill], area[town]", ("The Mill is in town", "Go to The Mill")),
    Described("name[Bell], area[river]", ("Bell is by the river",)),
]


@pytest.fixture(autouse=True, scope="module")
def no_figures() -> Iterator[None]:
    with tiny.no_figures():
        yield


def fitted() -> Captioning:
    task = Captioning(WORDS, image_size=8, shift=0, names=["name"], label_smoothing=0.0, monitor="bleu")
    task.fit(MILLS)
    return task


def test_names_are_left_to_the_attributes():
    task = fitted()
    assert task.targets(MILLS[0]) == ["_name_ is in town", "Go to _name_"]
    assert "Mill" not in task.target.tokenizer.items
    ids = task.target.tokenizer.encode("_name_ is by the river")
    assert task.written(Described("name[A B]", ("",)), ids) == "A B is by the river"


def test_training_takes_one_of_several_captions_and_evaluation_the_first():
    examples = fitted().examples(MILLS)
    rows = np.array([0, 1])
    first = examples.batch(rows)
    lengths = {tuple(examples.batch(rows, np.random.default_rng(seed)).target_lengths.tolist()) for seed in range(9)}
    assert first.target_lengths.tolist() == [5, 6]  # with the end mark
    assert lengths == {(5, 6), (4, 6)}


def test_every_caption_is_a_reference_and_there_are_baselines():
    task = fitted()
    found = task.compare(["go to the mill", "Bell is by the river"], [record.captions for record in MILLS])
    assert found["bleu"] == pytest.approx(100)
    assert found["exact_match"] == 0.5
    guesses = task.guesses(MILLS, MILLS)
    assert guesses["nearest neighbour"] == ["The Mill is in town", "Bell is by the river"]


@pytest.mark.parametrize(
    ("axes", "changes"),
    [
        ({}, {}),
        ({"model": "one_to_many"}, {"frontend__one_vector": True}),
        ({"data": "scene_attributes", "frontend": "embedding"}, {}),
    ],
)
def test_a_run(tmp_path: Path, axes: dict[str, str], changes: dict[str, Any]):
    found = tiny.train(tmp_path / "run", "captioning", axes, **changes)
    assert {"loss", "bleu", "chrf", "rouge_l", "cider_d", "nist", "exact_match"} <= found["test"].keys()
    with (tmp_path / "run" / "predictions.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 5
    loaded = seqtrain.load(tmp_path / "run")
    if "data" in axes:
        assert isinstance(loaded.predict("size 1[small], color 1[red]"), str)
        with pytest.raises(UserError, match="is no list of attributes"):
            loaded.predict("a red circle")
    else:
        Pillow.new("RGB", (50, 40), (200, 0, 0)).save(tmp_path / "a.png")
        assert isinstance(loaded.predict(str(tmp_path / "a.png")), str)
        (answer,) = loaded.answers([(tmp_path / "a.png").read_bytes()])
        assert answer["output"] == loaded.predict(str(tmp_path / "a.png"))
        with pytest.raises(UserError, match="there is no such file"):
            loaded.predict(str(tmp_path / "b.png"))


def test_own_pictures_with_several_captions(tmp_path: Path):
    rows = [("picture", "caption")]
    for number in range(20):
        Pillow.new("RGB", (10 + number, 12), (number, 0, 0)).save(tmp_path / f"{number}.png")
        rows += [(f"{number}.png", f"one {number}"), (f"{number}.png", f"another {number}")]
    with (tmp_path / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    data = build(read("data", "pictures") | {"train": str(tmp_path / "table.csv")})
    records = {split: list(data.read(split)) for split in ("train", "valid", "test")}
    assert [len(some) for some in records.values()] == [16, 2, 2]
    for record in records["train"]:
        number = Path(record.picture).stem
        assert record.captions == (f"one {number}", f"another {number}")
    (tmp_path / "3.png").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"3\.png: no picture that can be read"):
        build(read("data", "pictures") | {"train": str(tmp_path / "table.csv")})


def test_own_attributes(tmp_path: Path):
    with (tmp_path / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("mr", "ref"), *((f"a[{n // 2}]", f"text {n}") for n in range(40))])
    data = build(
        read("data", "attributes") | {"train": str(tmp_path / "table.csv"), "attributes": "mr", "caption": "ref"}
    )
    assert len(data.read("train")) == 16
    assert all(len(record.captions) == 2 for record in data.read("test"))
