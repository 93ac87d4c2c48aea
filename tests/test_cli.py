"""The command: wrong command lines and their cures, modes, folders, exit codes."""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import seqtrain.commands
from seqtrain import cli
from seqtrain.commands import run_folder
from seqtrain.config import UserError
from seqtrain.config.compose import Composed, compose
from seqtrain.config.sources import Configs


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, own_log: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """What the command calls, instead of the modules of the commands; the name of a run decides how it ends."""
    made: list[SimpleNamespace] = []
    ends: dict[Any, BaseException] = {
        "user": UserError("this model cannot do this task"),
        "crash": ValueError("a bug"),
        "stop": KeyboardInterrupt(),
        "term": SystemExit(143),
    }

    def train(
        cfg: dict[str, Any], place: Path, resume: bool = False, swept: list[str] | None = None, judge: Any = None
    ) -> float:
        made.append(SimpleNamespace(what="train", cfg=cfg, folder=place, resume=resume, swept=swept))
        if cfg["name"] in ends:
            raise ends[cfg["name"]]
        (place / "checkpoints").mkdir(exist_ok=True)
        return 1.0

    def noted(what: str) -> Any:
        return lambda cfg, place: made.append(SimpleNamespace(what=what, cfg=cfg, folder=place))

    for name, function in {"train": train, "evaluate": noted("evaluate"), "predict": noted("predict")}.items():
        module = ModuleType(f"seqtrain.commands.{name}")
        setattr(module, name, function)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(seqtrain.commands, name, module, raising=False)
    return made


def files() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*"))


# -------------------------------------------------------------------------------- wrong command lines

WRONG = [
    # keys
    ("lr=0.1", "optimizer.lr"),
    ("hidden_size=3", "model.hidden_size"),
    ("bach_size=3", "trainer.batch_size"),
    ("trainer.bach_size=3", "trainer.batch_size"),
    ("+trainer.lrr=1", "optimizer.lr"),
    ("++trainer.epoch=1", "trainer.epochs"),
    ("model.hiden=3", "model.hidden_size"),
    ("model/hidden_size=3", "model.hidden_size"),
    ("model.hidden_size.x=3", "model.hidden_size is a value"),
    ("learning_rate=0.1", "optimizer.lr"),
    ("decode={beam:3}", "decode.beam_size"),
    ("decode.foo=1", "; decode has beam_size, "),
    ("model=seq2seq model.attention=dot", "model=attn_seq2seq has it"),
    ("vocabulary=3", "--cfg job"),
    ("hydra.ouput_subdir=x", "hydra.output_subdir"),
    ("+hydra.run.dri=x", "hydra.run.dir"),
    # groups
    ("modle=seq2seq", "model=seq2seq"),
    ("modle=gru", "backbone=gru"),
    ("optimiser=sgd", "optimizer=sgd"),
    ("model=gru", "backbone=gru"),
    ("model=lstm2", "attn_seq2seq"),
    ("task=sentimental", "task=sentiment"),
    ("data=date", "data=dates"),
    ("device=gpu", "device=cuda"),
    ("experiment=nothing", "no such experiment"),
    ("+experiment=x", "write experiment=x"),
    ("+model=seq2seq", "write model=seq2seq"),
    ("model@encoder=seq2seq", "write model=seq2seq"),
    ("model=[seq2seq,many_to_one]", "one option"),
    ("model=null", "attn_seq2seq"),
    ("model={hidden_size:3}", "one option"),
    ("~model", "model=OPTION"),
    ("hydra/launcher=ray", "pip install 'seqtrain[ray]'"),
    ("hydra=x", "hydra.run.dir"),
    # types, ranges, options
    ("model.hidden_size=0", "int >= 1"),
    ("model.hidden_size=many", "int >= 1"),
    ("model.hidden_size=1.5", "int >= 1"),
    ("model.hidden_size=", "int >= 1"),
    ("model.hidden_size={a:1}", "int >= 1"),
    ("model.dropout=1.0", "float in [0, 1)"),
    ("model.attention=dott", "did you mean dot?"),
    ("decode.top_p=0", "float in (0, 1]"),
    ("optimizer.lr=nan", "float > 0"),
    ("optimizer.betas=0.9", "list of float in [0, 1)"),
    ("optimizer.betas=[0.9,1.5]", "list of float in [0, 1)"),
    ("mode=trian", "did you mean train?"),
    ("seed=true", "int >= 0"),
    ("decode=3", "beam_size"),
    ("~trainer.epochs", "set it to a value"),
    ("trainer.epochs=${nothing}", "nothing"),
    ("hydra.job.chdir=maybe", "bool"),
    # what is no key=value
    ("model.hidden_size", "expected key=value"),
    ("=3", "expected key=value"),
    ("model.=3", "expected key=value"),
    ("name=[1,", "quote"),
    ("input=it's", "quote"),
    ("--mulitrun", "--multirun"),
    ("--config-dir nowhere", "--config-dir nowhere"),
    ("--config-path nowhere", "nowhere/config.yaml"),
    ("--cfg", "--help"),
    ("--cfg jobs", "job"),
    # several values
    ("optimizer.lr=1e-3,1e-2", "add -m"),
    ("model=seq2seq,attn_seq2seq", "add -m"),
    ("-m optimizer.lr=1e-3,-1", "optimizer.lr=-1"),
    ("-m trainer.epochs=range(0,3)", "int >= 1"),
    ("-m model=seq2seq,gru", "backbone=gru"),
    ("-m model=glob(x*)", "attn_seq2seq"),
    ("-m hydra.run.dir=a,b", "one value"),
    ("-m hydra.sweeper.params.seed='1,x'", "int >= 0"),
    ("-m resume=run", "--multirun"),
    # jobs of a sweep
    ("-m jobs=0", "int >= 1 | auto"),
    ("-m jobs=x", "int >= 1 | auto"),
    ("-m jobs=1,2", "one value"),
    ("-m hydra.sweeper.params.jobs='1,2'", "one value"),
    ("-m jobs=2 hydra.launcher._target_=x", "hydra/launcher"),
    ("jobs=2", "add -m"),
    # keys that do not go together
    ("mode=evaluate", "checkpoint=RUN"),
    ("mode=predict checkpoint=run", "input=FILE"),
    ("mode=predict checkpoint=run input=inptu.txt", "did you mean input.txt?"),
    ("mode=evaluate checkpoint=rum", "did you mean run?"),
    ("mode=evaluate checkpoint=empty", "no run folder"),
    ("mode=evaluate checkpoint=run/checkpoints/step-1", "lies in: checkpoint=run"),
    ("mode=evaluate checkpoint=run/checkpoints", "lies in: checkpoint=run"),
    ("mode=evaluate resume=run", "checkpoint=run"),
    ("mode=evaluate checkpoint=run model.hiden=3", "model.hidden_size"),
    ("mode=evaluate checkpoint=run task=sentiment", "keeps its task"),
    ("mode=evaluate checkpoint=run decode.beam_size=0", "int in [1, 1000]"),
    ("mode=evaluate checkpoint=run hydra.run.dir=x", "leave this out"),
    ("mode=evaluate checkpoint=damaged", "damaged/config.yaml"),
    ("resume=rum", "did you mean run?"),
    ("resume=run checkpoint=run", "give one"),
    ("resume=run model=seq2seq", "keeps its model"),
    ("checkpoint=run", "mode=evaluate"),
    ("input=input.txt", "mode=predict"),
    ("trainer.batch_tokens=100", "trainer.batch_size=null"),
    ("trainer.batch_size=null", "trainer.batch_tokens"),
    ("name=a/b", "letters"),
    ("hydra.run.dir=run", "resume=run"),
    ("device.threads=1000000", "expected at most"),
    ("device.processes=500000", "expected at most"),
    ("-m jobs=500000 seed=1,2", "expected at most"),
    (f"hydra.run.dir={'a' * 300}", "File name too long"),
    (f"name={'a' * 300}", "File name too long"),
    (f"resume={'a' * 300}", "resume=aaa"),
    (f"mode=evaluate checkpoint={'a' * 300}", "checkpoint=aaa"),
    # variables of the shell that are not set
    ("mode=predict checkpoint= input=-", "checkpoint='' (empty: is a variable of the shell not set?)"),
    ("mode=evaluate checkpoint=''", "checkpoint='' (empty"),
    ("resume=", "resume='' (empty"),
    ("++resume=''", "resume='' (empty"),
    ("mode=predict checkpoint=run input=", "input='' (empty"),
    ("mode=predict checkpoint=run input=input.txt output=", "output='' (empty"),
    ("data=labelled task=sentiment data.train=", "data.train='' (empty"),
    ("data=pairs data.train=['',a]", "expected str or list of str"),
    ("hydra.run.dir=", "hydra.run.dir= is empty"),
    ("-m hydra.sweep.dir=", "hydra.sweep.dir= is empty"),
    ("--config-dir=", "--config-dir is empty"),
    ("-cp=", "--config-path is empty"),
]


@cache
def composed() -> Composed:
    run_folder.register_resolvers()
    return compose(Configs(), ["name=first"])


def make_run(place: Path) -> None:
    (place / "checkpoints" / "step-1").mkdir(parents=True)
    run_folder.write_config(place, composed().config, composed().schema)


def test_a_comma_in_a_text_is_told_with_both_cures(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["data=labelled", "data.train=mails, all.csv"]) == 2
    cures = """'data.train=[mails, all.csv]', for one text 'data.train="mails, all.csv"'"""
    assert f"add -m; for one list write {cures}" in capsys.readouterr().err


def test_a_run_may_lie_in_a_folder_called_checkpoints():
    place = Path("checkpoints") / "mine"
    (place / "checkpoints").mkdir(parents=True)
    (place / "config.yaml").touch()
    assert run_folder.find(str(place), "checkpoint") == place


@pytest.mark.parametrize(("line", "cure"), WRONG, ids=[line for line, _ in WRONG])
def test_wrong_command_line(
    line: str, cure: str, tmp_path: Path, calls: list[SimpleNamespace], capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged" / "checkpoints").mkdir(parents=True)
    (tmp_path / "damaged" / "config.yaml").write_text("a: [1,\n")
    (tmp_path / "input.txt").write_text("x\n")
    before = files()
    code = cli.main(line.split(" "))
    out, err = capsys.readouterr()
    assert code == 2
    assert cure in err
    assert "Traceback" not in err
    assert out == ""
    assert calls == []
    assert files() == before


@pytest.mark.parametrize(
    "variables",
    [
        {"SEQTRAIN_CORES": "x"},
        {"SEQTRAIN_CORES": ""},
        {"SEQTRAIN_CORES": "-1"},
        {"RANK": "x", "WORLD_SIZE": "2", "SEQTRAIN_STORE": "nowhere"},
        {"RANK": "1", "WORLD_SIZE": "٢", "SEQTRAIN_STORE": "nowhere"},
    ],
)
def test_wrong_variables_of_the_environment(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cli.main([]) == 2
    assert "expected a whole number in this variable of the environment" in capsys.readouterr().err


def process(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "seqtrain", *words], capture_output=True, text=True, check=False)


def test_wrong_command_line_in_a_process() -> None:
    done = process("bach_size=3", "seed=x")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("seqtrain: 2 mistakes in the configuration:\n")
    assert "did you mean trainer.batch_size?" in done.stderr


LIGHT = """
import sys
from seqtrain import cli
codes = [cli.main(line.split()) for line in ("bach_size=3", "model=gru", "--cfg job", "--help", "mode=evaluate")]
assert codes == [2, 2, 0, 0, 2], codes
heavy = {"torch", "numpy", "matplotlib", "tensorboard"} & set(sys.modules)
assert not heavy, heavy
"""


def test_nothing_heavy_is_imported_before_a_run() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_closed_pipe_ends_in_silence() -> None:
    command = f"{sys.executable} -m seqtrain --help | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith("seqtrain")


# -------------------------------------------------------------------------------- help and other flags


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    from seqtrain.config.sources import ROOT

    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines()) <= 100
    for path in ROOT.glob("*/*.yaml"):
        assert f" {path.stem} " in text
    for word in (
        "* translation",
        "mode=predict",
        "resume=RUN",
        "-m",
        "jobs=1",
        "--cfg job",
        "install=bash",
        "decode.beam_size=5",
    ):
        assert word in text


def test_help_includes_own_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("# What I collected.\n_target_: mine.Data\n")
    assert cli.main(["-h", "--config-dir", str(tmp_path)]) == 0
    assert "mine             What I collected." in capsys.readouterr().out


def test_cfg_shows_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["seed=3", "--cfg", "job", "trainer.epochs=4"]) == 0
    text = capsys.readouterr().out
    assert "seed: 3\n" in text
    assert "  epochs: 4\n" in text
    assert "hydra" not in text
    assert cli.main(["--cfg", "job", "--package", "decode"]) == 0
    assert "beam_size: 5" in capsys.readouterr().out
    assert files() == []


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"seqtrain {seqtrain.__version__}\n"


@pytest.mark.parametrize(
    "words", [["--hydra-help"], ["--info", "searchpath"], ["-sc", "install=bash"], ["--cfg", "hydra"]]
)
def test_flags_of_hydra(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 0
    assert capsys.readouterr().out


# -------------------------------------------------------------------------------- training


def test_train_gets_a_plain_config_and_a_folder(calls: list[SimpleNamespace], tmp_path: Path) -> None:
    assert cli.main(["optimizer.lr=1", "model=seq2seq", "name=word"]) == 0
    (call,) = calls
    assert call.cfg["optimizer"]["lr"] == 1.0
    assert isinstance(call.cfg["optimizer"]["lr"], float)
    assert call.cfg["trust"] is True
    assert "hydra" not in call.cfg
    assert (call.resume, call.swept) == (False, None)
    assert call.folder.parent == tmp_path / "outputs" / "translation" / "seq2seq"
    assert "-word-" in call.folder.name
    assert sorted(path.name for path in call.folder.iterdir()) == ["checkpoints", "config.yaml", "train.log"]
    kept = run_folder.read_config(call.folder)
    assert kept == {**call.cfg, "trust": False}


def test_own_folder_belongs_to_one_run(calls: list[SimpleNamespace], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["hydra.run.dir=mine"]) == 0
    assert cli.main(["hydra.run.dir=mine"]) == 2
    assert "resume=mine" in capsys.readouterr().err
    assert len(calls) == 1


@pytest.mark.parametrize(("name", "code"), [("user", 2), ("crash", 1), ("stop", 130), ("term", 143)])
def test_exit_codes(name: str, code: int, calls: list[SimpleNamespace], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([f"name={name}"]) == code
    err = capsys.readouterr().err
    assert ("Traceback" in err) == (name == "crash")
    assert calls[0].folder.exists() == (name != "user")  # a refused run leaves nothing behind
    if name == "crash":
        assert "a bug" in (calls[0].folder / "train.log").read_text()


def test_runs_started_together_never_share_a_folder() -> None:
    with ThreadPoolExecutor(8) as pool:
        stamps = list(pool.map(lambda _: run_folder.stamp(None), range(200)))
    assert len(set(stamps)) == 200


def test_job_folders_are_short_and_safe() -> None:
    assert run_folder.job_folder(3, "model.hidden_size=64;optimizer.lr=0.001") == "3-hidden_size-64-lr-0.001"
    assert run_folder.job_folder(0, "") == "0"
    long = run_folder.job_folder(12, "data.path=/a/very/" + "long/" * 50 + ";a.b='x y'")
    assert len(long) <= 80
    assert long.startswith("12-path-")
    assert not set(long) & set("/\\ '\"=,:*")


# -------------------------------------------------------------------------------- run folders


def test_evaluate_and_predict_use_the_run_and_leave_no_folder(tmp_path: Path, calls: list[SimpleNamespace]) -> None:
    make_run(tmp_path / "run")
    before = files()
    assert cli.main(["mode=evaluate", "checkpoint=run", "decode.beam_size=2", "device=cpu", "data=places"]) == 0
    assert cli.main(["mode=predict", "checkpoint=run", "input=-", "format=jsonl"]) == 0
    evaluate, predict = calls
    assert (evaluate.what, evaluate.folder, predict.what) == ("evaluate", Path("run"), "predict")
    assert evaluate.cfg["decode"]["beam_size"] == 2
    assert evaluate.cfg["device"]["name"] == "cpu"
    assert evaluate.cfg["data"]["_target_"].endswith("Places")
    assert (predict.cfg["input"], predict.cfg["format"], predict.cfg["name"]) == ("-", "jsonl", "first")
    assert files() == before


def test_a_run_folder_cannot_vouch_for_itself(tmp_path: Path, calls: list[SimpleNamespace]) -> None:
    make_run(tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("trust: false", "trust: true "))
    assert "trust: true" in config.read_text()
    assert cli.main(["mode=evaluate", "checkpoint=run"]) == 0
    assert cli.main(["mode=evaluate", "checkpoint=run", "trust=true"]) == 0
    assert [call.cfg["trust"] for call in calls] == [False, True]


def test_resume_keeps_what_was_changed(tmp_path: Path, calls: list[SimpleNamespace]) -> None:
    make_run(tmp_path / "run")
    assert cli.main(["resume=run", "trainer.epochs=99"]) == 0
    assert cli.main(["resume=run"]) == 0
    assert [(call.cfg["trainer"]["epochs"], call.resume) for call in calls] == [(99, True), (99, True)]
    assert calls[0].folder == Path("run")
    assert run_folder.read_config(tmp_path / "run")["resume"] is None
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["checkpoints", "config.yaml", "train.log"]


def test_an_older_run_gets_new_root_keys(tmp_path: Path, calls: list[SimpleNamespace]) -> None:
    make_run(tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    lines = [
        line for line in config.read_text().splitlines() if "beam_size" not in line and not line.startswith("format")
    ]
    config.write_text("\n".join(lines))
    assert cli.main(["mode=evaluate", "checkpoint=run"]) == 0
    assert calls[0].cfg["format"] is None
    assert calls[0].cfg["decode"]["beam_size"] == 5


def test_interpolations_of_a_run_folder_are_text(tmp_path: Path, calls: list[SimpleNamespace]) -> None:
    make_run(tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("name: first", "name: ${oc.env:HOME}"))
    assert cli.main(["mode=evaluate", "checkpoint=run"]) == 2
    assert calls == []


def test_a_refused_run_leaves_no_folder_that_was_not_there(calls: list[SimpleNamespace]) -> None:
    assert cli.main(["name=user"]) == 2
    assert files() == []
    Path("mine").mkdir()
    assert cli.main(["name=user", "hydra.run.dir=mine/deep/run"]) == 2
    assert files() == ["mine"]
    assert len(calls) == 2


def test_resume_auto_says_where_it_found_nothing(
    calls: list[SimpleNamespace], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["resume=auto", "task=sentiment"]) == 0
    assert calls[0].resume is False
    expected = (
        "resume=auto: outputs/sentiment/many_to_one has no unfinished run with these settings, so a new one begins"
    )
    assert capsys.readouterr().err.splitlines() == [expected]


# -------------------------------------------------------------------------------- sweeps


def test_sweep_goes_on_after_a_failed_job(calls: list[SimpleNamespace], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["-m", "task=sentiment", "name=crash,fine", "seed=1,2", "trainer.epochs=3"]) == 1
    assert [call.swept for call in calls] == [["name", "seed"]] * 4
    (place,) = Path("outputs/sweeps").iterdir()
    names = sorted(path.parent.name for path in place.glob("*/job.json"))
    assert names == ["0-name-crash-seed-1", "1-name-crash-seed-2", "2-name-fine-seed-1", "3-name-fine-seed-2"]
    assert "a bug" in (place / names[0] / "failed.txt").read_text()
    assert json.loads((place / names[3] / "job.json").read_text())["status"] == "done"
    table = (place / "sweep.md").read_text().splitlines()
    assert table[0] == "| name | seed | value | seconds | status | run | reason |"
    assert [row.split(" | ")[4] for row in table[2:]] == ["done", "done", "failed", "failed"]
    out, err = capsys.readouterr()
    assert re.search(r"^job 2 of 4, about \d\d:\d\d left: .*seed=2", out, re.MULTILINE)
    assert "failed: ValueError: a bug" in out
    assert "Traceback" not in out + err


def test_sweep_without_failures_ends_in_0(calls: list[SimpleNamespace]) -> None:
    assert cli.main(["-m", "seed=1,2"]) == 0
    assert [call.cfg["seed"] for call in calls] == [1, 2]
    assert len({call.folder for call in calls}) == 2


def test_an_interrupted_sweep_stops_and_shows_its_table(calls: list[SimpleNamespace]) -> None:
    assert cli.main(["-m", "name=term,fine"]) == 143
    assert len(calls) == 1
    (table,) = Path("outputs/sweeps").glob("*/sweep.md")
    assert "interrupted" in table.read_text()
