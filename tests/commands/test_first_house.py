"""A run that the first version of seqtrain has left (before the package had rooms) is evaluated, used and resumed with
the numbers that this version gave, which stand in first_house/expected.json."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny

import seqtrain
from seqtrain import cli
from seqtrain.commands import run_folder
from seqtrain.config import UserError

pytestmark = pytest.mark.usefixtures("own_log")
HOUSE = Path(__file__).parent / "first_house"
EXPECTED = json.loads((HOUSE / "expected.json").read_text())
CPU = ["device=cpu", "device.threads=1"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(HOUSE, "run")
    with tiny.no_figures():
        yield Path("run")


def close(value: Any) -> Any:
    return pytest.approx(value, rel=1e-4, nan_ok=True)


def test_it_is_evaluated(run: Path) -> None:
    assert cli.main(["mode=evaluate", "checkpoint=run", "output=scores.json", *CPU]) == 0
    scores = json.loads(Path("scores.json").read_text())
    for split, expected in EXPECTED["evaluate"].items():  # that version had fewer metrics
        assert {name: scores[split][name] for name in expected} == close(expected)


def test_it_predicts(run: Path) -> None:
    answers = seqtrain.load(run).predict([answer["input"] for answer in EXPECTED["answers"]], details=True)
    for answer, expected in zip(answers, EXPECTED["answers"], strict=True):
        assert answer["output"] == expected["output"]
        assert answer["scores"] == close(expected["scores"])


def test_it_goes_on(run: Path) -> None:
    """With the optimizer, the average of weights, the schedule and the random numbers that it had."""
    assert cli.main(["resume=run", "trainer.max_steps=120", *CPU]) == 0
    found = tiny.metrics(run)
    curve = EXPECTED["resumed"]["curve"]
    test = {name: value for name, value in EXPECTED["resumed"]["test"].items() if name != "loss"}  # now calibrated
    assert {name: found["curve"][-1][name] for name in curve} == close(curve)
    assert {name: found["test"][name] for name in test} == close(test)


def test_keys_that_no_longer_exist_are_left_out(run: Path) -> None:
    assert "graphs: false" in (run / "config.yaml").read_text()
    change(run, "graphs: false", "graphs: true ")
    assert not run_folder.read_config(run)["decode"].get("graphs", False)


REFUSED = {
    "a key that means something": (
        "  max_length: 400",
        "  depth: 3\n  max_length: 400",
        "task.depth: there is no such key",
    ),
    "a class that is gone": ("seqtrain.train.Trainer", "seqtrain.train.Loop", "seqtrain.engine.trainer.Loop"),
    "another model": ("hidden_size: 4 ", "hidden_size: 2 ", r"the checkpoint, of seqtrain 0\.1\.0, does not fit"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_loaded_is_refused_in_a_line(name: str, run: Path) -> None:
    old, new, reason = REFUSED[name]
    change(run, old, new)
    with pytest.raises(UserError, match=reason) as caught:
        seqtrain.load(run)
    assert "\n" not in str(caught.value)


def change(run: Path, old: str, new: str) -> None:
    text = (run / "config.yaml").read_text()
    assert text.count(old) == 1
    (run / "config.yaml").write_text(text.replace(old, new))
