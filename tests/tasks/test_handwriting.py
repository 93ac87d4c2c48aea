"""Handwriting from strokes and from line images to texts: runs, predictions from files, what goes wrong with them."""

import shutil
from pathlib import Path

import pytest
import tiny
from matplotlib.figure import Figure

from seqtrain.commands.loaded import load
from seqtrain.config import UserError

SHORT = {"trainer__max_steps": 4, "trainer__eval_every": 4}
FILES = {"strokes": "00.inkml", "line_images": "01.jpg"}


@pytest.fixture(scope="module", params=["strokes", "line_images"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    place = tmp_path_factory.mktemp("handwriting") / "run"
    with tiny.no_figures():
        found = tiny.train(place, "handwriting", {"data": request.param, "schedule": "constant"}, **SHORT)
    assert {"loss", "cer", "wer", "exact_match"} <= found["test"].keys()
    assert {"most frequent text", "nearest neighbour by time warping"} <= found["baselines"].keys()
    return request.param, place


def test_files_are_answered_and_say_where_each_character_was_read(run: tuple[str, Path]):
    data, place = run
    name = str(tiny.OWN / "handwriting" / FILES[data])
    answer = load(place).predict([name], details=True)[0]
    assert answer["input"] == name
    assert {"output", "log_prob", "alignment"} <= answer.keys()


def test_what_is_read_is_seen_on_what_is_written(run: tuple[str, Path]):
    data, place = run
    task, model = load(place).task, load(place).model
    record = task.parse(str(tiny.OWN / "handwriting" / FILES[data]), 1)
    found = task.align(model, record._replace(text="12"))
    figure = task.draw(record, "12", *found)
    assert isinstance(figure, Figure)
    texts = {text.get_text() for axes in figure.axes for text in [axes.title, *axes.texts]}
    assert {"12, for: ", "1", "2"} <= texts
    assert len(found[2]) == 3  # with the end mark


def test_a_file_of_the_other_kind_is_refused(run: tuple[str, Path]):
    data, place = run
    other = "00.png" if data == "strokes" else "00.inkml"
    said = r"input, line 1: .*00\.png: this is a picture, not strokes: data=line_images reads it"
    if data == "line_images":
        said = r"input, line 1: .*00\.inkml: no picture that can be read; expected PNG, JPEG"
    with pytest.raises(UserError, match=said):
        load(place).predict([str(tiny.OWN / "handwriting" / other)])


def test_broken_files_of_a_table_are_named_a_line_each_before_training(tmp_path: Path):
    shutil.copytree(tiny.OWN / "handwriting", tmp_path / "handwriting")
    shutil.copy(tiny.OWN / "strokes.csv", tmp_path)
    for name, content in (("04.json", "[[[1, 2]"), ("06.inkml", "")):
        (tmp_path / "handwriting" / name).write_text(content)
    table = str(tmp_path / "strokes.csv")
    cfg = tiny.config("handwriting", {"data": "strokes"}, data__train=table, data__valid=table, data__test=table)
    with pytest.raises(UserError) as caught:
        tiny.job(cfg)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert "04.json: the JSON is damaged or cut off" in lines[0]
    assert "06.inkml: the file is empty" in lines[1]
