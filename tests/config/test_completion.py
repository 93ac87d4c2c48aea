"""What Tab proposes."""

from pathlib import Path

import pytest

from seqtrain import cli
from seqtrain.commands.modes import MODES
from seqtrain.config.completion import proposals
from seqtrain.config.sources import Configs


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("seqtrain tas", ["task.", "task="]),
        ("seqtrain task=se", ["task=sentiment"]),
        ("seqtrain mode=", [f"mode={mode}" for mode in sorted(MODES)]),
        ("seqtrain model.h", ["model.heads=", "model.hidden_size="]),
        ("seqtrain model=seq2seq model.h", ["model.hidden_size="]),  # this one has no attention
        ("seqtrain model.attention=d", ["model.attention=dot"]),
        ("seqtrain trainer.deterministic=", ["trainer.deterministic=false", "trainer.deterministic=true"]),
        ("seqtrain trainer.clip=n", ["trainer.clip=null"]),
        ("seqtrain -m model=seq2seq,att", ["model=seq2seq,attn_seq2seq"]),
        ("seqtrain task=nothing model.h", ["model.heads=", "model.hidden_size="]),
        ("seqtrain resume=a", ["resume=auto"]),
        ("seqtrain hydra.r", ["hydra.run."]),
        ("seqtrain nothing.x=", []),
        ("seqtrain model.hidden_size=", []),
    ],
)
def test_names_and_values(line: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert proposals(line, Configs()) == expected


def test_runs_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = ["outputs/sweeps/2026/0-seed-1", "outputs/translation/seq2seq/2026-a", "mine"]
    for run in runs:
        Path(run).mkdir(parents=True)
        Path(run, "config.yaml").touch()
    assert proposals("seqtrain checkpoint=", Configs()) == [f"checkpoint={run}" for run in runs[:2]]
    assert proposals("seqtrain resume=outputs/tr", Configs()) == [f"resume={runs[1]}"]
    assert proposals("seqtrain resume=m", Configs()) == ["resume=mine"]
    for name in ("a.csv", "ab.csv", "a$(touch b)", "a`b`", "a b"):  # bash would run, or cut, the last three
        Path(name).touch()
    start = "seqtrain data=labelled data.train="
    assert proposals(f"{start}a", Configs()) == ["data.train=a.csv", "data.train=ab.csv"]
    assert proposals(f"{start}m", Configs()) == ["data.train=mine/"]


def test_the_shell_asks_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", "seqtrain task=tr")
    assert cli.main(["-sc", "query=bash"]) == 0
    assert capsys.readouterr().out == "task=translation\n"
