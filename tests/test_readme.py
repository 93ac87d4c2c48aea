"""README.md is true: its commands run (two steps each; as written with --as-written), its code works, and its table of
pairs is what the models accept."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from small import options, read

from seqtrain.config import locate

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")
SHORT = "trainer.max_steps=2 decode.max_length=5 decode.beam_size=2"
SMALL = "data.size=500 data.valid_size=50 data.test_size=50"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.M | re.S)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines()]
FILES = [line for line in COMMANDS if re.search("TICKETS|NUMBERS|NOTES|SALES", line)]
TRAINING = [line for line in COMMANDS if line.startswith("seqtrain") and "RUN" not in line and line not in FILES]
USING = [line for line in COMMANDS if "RUN" in line]
OWN = [line for line in TRAINING if "dating" in line or "averaging" in line]


def run(command: str, folder: Path, package: Path = README.parent) -> str:
    """The standard output of a shell command in which seqtrain stands for the package that lies in a folder."""
    environment = os.environ | {"PYTHONPATH": str(package), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    command = re.sub(r"(^|\| )seqtrain ", rf"\1{sys.executable} -m seqtrain ", command)
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def train(request: pytest.FixtureRequest) -> Callable[..., str]:
    """Runs a training command, shortened unless it is to run as written."""

    def shortened(command: str, *where: Path) -> str:
        if not request.config.getoption("--as-written"):
            generated = re.search("generation|forecasting|data.train", command)  # whose data has no size to be set
            command = f"{command} {SHORT} {'' if generated else SMALL}"
        return run(command, *where)

    return shortened


@pytest.mark.parametrize("command", [line for line in TRAINING if line not in OWN])
def test_training_commands_run(command: str, train: Callable[..., str], tmp_path: Path) -> None:
    folder = "outputs/sweeps/*/*" if " -m " in command else "outputs/*/*/*"
    train(command, tmp_path)
    runs = list(tmp_path.glob(f"{folder}/metrics.json"))
    assert len(runs) == (4 if " -m " in command else 1)


def test_commands_that_use_a_run(train: Callable[..., str], tmp_path: Path) -> None:
    train("seqtrain hydra.run.dir=RUN", tmp_path)
    train("seqtrain task=generation hydra.run.dir=GENERATION_RUN", tmp_path)
    (tmp_path / "in.txt").write_text("3 mai 1999\n4. Juli 2023\n", encoding="utf-8")
    assert len(USING) >= 7
    for command in USING:
        run(command, tmp_path)
    for name in ("out.txt", "out.jsonl"):
        assert len((tmp_path / name).read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.parametrize(("training", "using"), list(zip(FILES[::2], FILES[1::2], strict=True)))
def test_own_files_are_used_in_two_commands(
    training: str, using: str, train: Callable[..., str], tmp_path: Path
) -> None:
    run(f"{sys.executable} {README.parent / 'scripts' / 'own_files.py'}", tmp_path)
    train(training, tmp_path)
    answers = run(using, tmp_path).splitlines()
    assert len(answers) == (1 if using.startswith("echo") else 1 + 3 * 14)  # three shops, 14 days, and a header


def test_python_example_runs(train: Callable[..., str], tmp_path: Path) -> None:
    train("seqtrain hydra.run.dir=RUN", tmp_path)
    (tmp_path / "example.py").write_text(blocks("python")[0], encoding="utf-8")
    assert run(f"{sys.executable} example.py", tmp_path).startswith("['")


@pytest.mark.parametrize("command", OWN)
def test_options_of_ones_own_work_as_shown(command: str, train: Callable[..., str], tmp_path: Path) -> None:
    """The files of the README, written where it says, in a copy of the package."""
    for name in ("seqtrain", "configs"):
        shutil.copytree(README.parent / name, tmp_path / name)
    shown = re.findall(r"`((?:seqtrain|configs)/\S+)`:\n\n```\w+\n(.*?)^```", TEXT, re.M | re.S)
    assert len(shown) == 4
    for name, content in shown:
        (tmp_path / name).write_text(content, encoding="utf-8")
    train(f"{command} hydra.run.dir=RUN", tmp_path, tmp_path)
    answer = run("echo '3 mai 1999' | seqtrain mode=predict checkpoint=RUN input=-", tmp_path, tmp_path)
    assert len(answer.splitlines()) == 1


def test_the_table_of_pairs_is_what_the_models_accept() -> None:
    table = TEXT[TEXT.index("<!-- pairs") : TEXT.index("<!-- /pairs -->")]
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]
    header, _, *rows = rows
    said = {(row[0], model) for row in rows for model, cell in zip(header[1:], row[1:], strict=True) if cell == "yes"}
    found = set()
    for task in options("task"):
        make = locate(read("task", task)["task"]["_target_"], trust=False)
        for model in options("model"):
            if all(
                locate(read("model", model)["_target_"], trust=False).refuse(make.outline(k)) is None
                for k in make.kinds
            ):
                found.add((task, model))
    assert said == found
