"""Of a run folder's configuration is taken what the model is, as shipped files allow it; a folder gives no orders."""

import re
from itertools import product
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from seqtrain.commands import run_folder
from seqtrain.config import UserError
from seqtrain.config.compose import compose
from seqtrain.config.sources import Configs

COMMANDS = [("predict", ["mode=predict", "checkpoint=run", "input=-"]), ("train", ["resume=run"])]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_folder.register_resolvers()
    place, found = tmp_path_factory.mktemp("stored"), compose(Configs(), [])
    run_folder.write_config(place, found.config, found.schema)
    return place


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return copytree(made, tmp_path / "run")


def change(run: Path, expression: str, new: str) -> None:
    text, count = re.subn(expression, new, (run / "config.yaml").read_text(), flags=re.MULTILINE)
    assert count == 1
    (run / "config.yaml").write_text(text)


def read(run: Path, mode: str = "predict", words: list[str] | None = None, configs: Configs | None = None) -> Any:
    words = COMMANDS[0][1] if words is None else words
    return run_folder.run_config(run, configs or Configs(), words, mode)[0]


@pytest.mark.parametrize(("mode", "words"), COMMANDS)
def test_a_folder_gives_no_orders(run: Path, mode: str, words: list[str]) -> None:
    before = read(run, mode, words)
    orders = {"output": "out", "input": "'-'", "format": "jsonl", "mode": "evaluate", "jobs": "3", "checkpoint": "x"}
    for key, value in (orders | {"resume": "x", "trust": "true"}).items():
        change(run, f"^{key}: .*", f"{key}: {value}")
    for key, value in {"name": "mps", "threads": "1000000", "processes": "500"}.items():
        change(run, rf"^(  {key}: )\S+(.*)", rf"\g<1>{value}\g<2>")
    (run / "config.yaml").write_text((run / "config.yaml").read_text() + "hydra: {run: {dir: out}}\nmore: 1\n")
    assert read(run, mode, words) == before


def test_a_folder_does_not_say_what_its_keys_are(made: Path, tmp_path: Path) -> None:
    """Neither without its comments nor with others does it let anything through."""
    keys = ["hidden_size", "beam_size", "vocab_size"]
    values = ["x", "[1]", "{a: 1}", "null", "1.5", "-3", ".nan", "9999999999999999999999"]
    for number, (key, value) in enumerate(product(keys, values)):
        run = copytree(made, tmp_path / str(number))
        comment = "" if number % 2 else "# dict or list or str or int or null: anything"
        change(run, rf"^(  +{key}: ).*", rf"\g<1>{value}  {comment}")
        with pytest.raises(UserError, match=f"{key}.*expected int"):
            read(run)


def test_a_key_that_no_option_has_is_refused(run: Path) -> None:
    change(run, "^model:", "model:\n  more: 1  # int: more")
    with pytest.raises(UserError, match=r"model\.more: there is no such key"):
        read(run)


def test_an_older_run_gets_the_keys_that_it_lacks(run: Path) -> None:
    before = read(run)
    for key in ("dropout", "beam_size", "min_count", "format"):
        change(run, rf"^ *{key}: .*\n", "")
    assert read(run) == before


def test_a_class_that_no_option_names_has_the_types_of_its_comments(tmp_path: Path) -> None:
    """The user's own optimizer goes on without the folder that its option came from, and with it."""
    option = "_target_: torch.optim.RMSprop\nlr: 1.0e-3  # float > 0: rate\nalpha: 0.9  # float in (0, 1): decay\n"
    (tmp_path / "mine" / "optimizer").mkdir(parents=True)
    (tmp_path / "mine" / "optimizer" / "rms.yaml").write_text(option)
    mine, run = Configs(config_dir=str(tmp_path / "mine")), tmp_path / "run"
    found = compose(mine, ["optimizer=rms"])
    run.mkdir()
    run_folder.write_config(run, found.config, found.schema)
    for configs in (Configs(), mine):
        made = read(run, "train", ["resume=run", "optimizer.lr=0.5"], configs)
        assert made["optimizer"] == {"_target_": "torch.optim.RMSprop", "lr": 0.5, "alpha": 0.9}
        with pytest.raises(UserError, match=r"optimizer\.alpha=2"):
            read(run, "train", ["resume=run", "optimizer.alpha=2"], configs)


@pytest.mark.parametrize("target", ["torch.optim.SGD", "seqtrain.models.seq2seq.Seq2Seq", "seqtrain.data.dates.Locale"])
def test_a_class_of_another_section_is_refused(run: Path, target: str) -> None:
    change(run, r"_target_: seqtrain\.data\.\S+", f"_target_: {target}")
    with pytest.raises(UserError, match="no option of data is of this class"):
        read(run)
