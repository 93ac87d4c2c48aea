"""mode=export: the folder answers as the model does, without seqtrain and without torch."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import tiny
import torch

import seqtrain
from seqtrain.commands import export as command
from seqtrain.commands import run_folder
from seqtrain.commands.loaded import Loaded
from seqtrain.config import LineError, UserError
from seqtrain.machine import onnx

pytest.importorskip("onnxruntime", reason="format=onnx needs the extra seqtrain[onnx]")
onnx_file = pytest.importorskip("onnx").load
pytest.importorskip("onnxscript", reason="format=onnx needs the extra seqtrain[onnx]")
WITHOUT_TORCH = "import runpy, sys; sys.modules['torch'] = None; runpy.run_path('run.py', run_name='__main__')"


@pytest.fixture(autouse=True)
def sizes_without_a_number() -> Iterator[None]:
    """While a program is made, sizes are symbols, which the check of signatures does not know."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def export(run: Path, folder: Path, **how: Any) -> Path:
    command.export(run_folder.read_config(run) | {"output": str(folder)} | how, run)
    return folder


@pytest.mark.parametrize("task", ["translation", "sentiment", "generation", "forecasting"])
def test_the_folder_answers_lines_without_torch(task: str, runs: dict[str, Path], tmp_path: Path):
    folder = export(runs[task], tmp_path / "exported")
    lines = [line for line in tiny.LINES[task] if "null" not in line and "nan" not in line]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], input="\n".join(lines), cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    wanted = seqtrain.load(runs[task]).predict(lines)
    assert all(map(command.same_answer, done.stdout.splitlines(), wanted))
    assert "differ" in (folder / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def scripts(tmp_path: Path, runs: dict[str, Path]) -> Callable[[str], Path]:
    """What stands beside the programs of a model, which take long to make."""

    def of(task: str) -> Path:
        for file in command.RUNNER:
            shutil.copy(str(files("seqtrain") / file), tmp_path)
        about = command.description(Loaded(run_folder.read_config(runs[task]), runs[task]))
        (tmp_path / "model.json").write_text(json.dumps(about))
        return tmp_path

    return of


def run_script(folder: Path, data: str, *how: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "run.py", *how], input=data, cwd=folder, capture_output=True, text=True, check=False
    )


def test_a_line_is_what_it_is_to_predict(scripts: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch):
    folder = scripts("generation")
    with onnx.runner(folder) as runner:
        model = runner.Model(folder)
        model.answers = lambda texts: [{"input": text, "output": text} for text in texts]
        lines = ["a\\nb\\\\", "", "c\u2028d\x0ce", "f"]
        assert list(model.lines("\r\n".join(lines).encode())) == lines
        assert list(model.lines(b"a\rb\r")) == ["a", "b"]
        monkeypatch.setattr(runner, "one_line", str)
        assert not command.same_answer(next(model.lines(b"a\\nb")), "a\nb")


def test_objects_and_mistakes_are_those_of_predict(scripts: Callable[[str], Path], runs: dict[str, Path]):
    folder = scripts("forecasting")
    assert json.loads(run_script(folder, "\n", "--jsonl").stdout) == {"input": "", "output": ""}
    for line in ("abc", "1,,2"):
        with pytest.raises(LineError) as error:
            seqtrain.load(runs["forecasting"]).predict(["", line])
        problem = error.value.problem.partition("; a table")[0]
        done = run_script(folder, f"\n{line}\n")
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"run.py: line 2: {problem}\n")


def test_a_reader_that_leaves_early_is_no_mistake(scripts: Callable[[str], Path]):
    command_line = [sys.executable, "run.py"]
    how: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command_line, cwd=scripts("forecasting"), **how) as script:
        script.stdout.close()
        script.stdin.write(b"\n" * 10**5)
        script.stdin.close()
        assert (script.stderr.read(), script.wait()) == (b"", 0)


def test_probabilities_and_thresholds_are_those_of_predict(runs: dict[str, Path], tmp_path: Path):
    cfg = run_folder.read_config(runs["sentiment"])
    cfg["task"]["thresholds"] = {"negative": 0.999, "positive": 0.4}
    command.export(cfg | {"output": str(tmp_path / "exported")}, runs["sentiment"])
    lines = tiny.LINES["sentiment"]
    how: dict[str, Any] = {"cwd": tmp_path / "exported", "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "run.py", "--jsonl"], input="\n".join(lines), **how)
    wanted = Loaded(cfg, runs["sentiment"]).predict(lines, details=True)
    for answer, other in zip(map(json.loads, done.stdout.splitlines()), wanted, strict=True):
        assert answer["scores"] == pytest.approx(other["scores"], abs=1e-5)
        assert (answer["output"], answer["probability"]) == (other["output"], pytest.approx(other["probability"]))


@pytest.mark.parametrize("backbone", ["gru", "transformer"])
def test_programs_of_each_backbone_answer_as_the_model(backbone: str, tmp_path: Path):
    with tiny.no_figures():
        subwords = tiny.config("translation")["task"]["tokenizer"] | {"unit": "bpe"}  # whose prompts hold a space
        tiny.train(tmp_path / "run", "translation", {"backbone": backbone}, task__tokenizer=subwords)
    export(tmp_path / "run", tmp_path / "exported")  # which checks it


def test_a_model_that_reads_no_lines_is_exported_as_programs(runs: dict[str, Path], tmp_path: Path):
    folder = export(runs["tagging"], tmp_path / "exported")
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "model.onnx"]


def test_programs_of_torch_are_functions_of_tensors(runs: dict[str, Path], tmp_path: Path):
    folder = export(runs["sentiment"], tmp_path / "exported", format="torch")
    program = torch.export.load(folder / "model.pt2").module()
    model = seqtrain.load(runs["sentiment"]).model
    ids, lengths = torch.randint(4, 9, (3, 17)), torch.tensor([17, 9, 3])
    with torch.no_grad():
        wanted = command.Scores(model, seqtrain.load(runs["sentiment"]).task.calibrated)(ids, lengths)
    assert torch.allclose(program(ids, lengths, None), wanted, atol=1e-5)


def test_where_answers_differ_nothing_is_written(runs: dict[str, Path], tmp_path: Path, monkeypatch: Any):
    monkeypatch.setattr(onnx, "answers", lambda folder, lines, search: ["wrong"] * len(lines))
    with pytest.raises(UserError, match="8 of 8 answers differ from those of mode=predict, and nothing was written"):
        export(runs["sentiment"], tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def test_eight_bits_say_what_they_cost(runs: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level("INFO", command.__name__):
        folder = export(runs["sentiment"], tmp_path / "exported", quantize=True)
    assert "eight bits: " in caplog.text
    assert not [record for record in caplog.records if record.name == "root"]  # the advice of the library
    kinds = {node.op_type for node in onnx_file(folder / "model.onnx").graph.node}
    assert kinds & {"MatMulInteger", "DynamicQuantizeLinear", "DynamicQuantizeLSTM"}


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ({"output": None}, "mode=export needs output=FOLDER, a new folder"),
        ({"output": "."}, "it is there already"),
        ({"format": "csv"}, "format=csv: mode=export writes onnx or torch"),
        ({"format": "torch", "quantize": True}, "quantize=true goes with format=onnx"),
    ],
)
def test_what_cannot_be_is_refused(how: dict[str, Any], problem: str, runs: dict[str, Path], tmp_path: Path):
    with pytest.raises(UserError, match=problem):
        export(runs["sentiment"], tmp_path / "exported", **how)
    assert not (tmp_path / "exported").exists()


def test_what_the_script_cannot_do_is_refused(runs: dict[str, Path], tmp_path: Path):
    decode = run_folder.read_config(runs["translation"])["decode"] | {"no_repeat": 2}
    with pytest.raises(UserError, match=r"decode\.no_repeat=2: an exported model cannot do that"):
        export(runs["translation"], tmp_path / "exported", decode=decode)
    assert not (tmp_path / "exported").exists()
