"""hydra/sweeper=optuna: what it searches, how it goes on after it was killed, which jobs it stops."""

import json
import math
import random
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

import seqtrain.commands
from seqtrain import cli
from seqtrain.commands import study, sweep, sweep_table, sweeper
from seqtrain.commands.search_space import read_space
from seqtrain.config import UserError
from seqtrain.config.sources import Configs
from seqtrain.machine.signals import Pruned

RATE = "optimizer.lr=tag(log,interval(1e-4,1))"
SEARCH = ["-m", "hydra/sweeper=optuna", "hydra.sweep.dir=S", "hydra.sweeper.startup=2", "task=sentiment"]
SEARCH += ["task.monitor=loss"]


class Trainings:
    """Stands for `commands.train`: the loss of a job depends on its learning rate and falls with each of three
    evaluations. ends: numbers of jobs that are interrupted before their last evaluation, once."""

    def __init__(self) -> None:
        self.begun, self.done, self.resumed, self.ends = list[str](), list[str](), list[str](), set[int]()

    def train(self, cfg: dict[str, Any], folder: Path, resume: bool, swept: list[str], judge: Any) -> float:
        self.begun.append(folder.name)
        self.resumed += [folder.name] * resume
        bad = abs(math.log10(cfg["optimizer"]["lr"]) + 2) + cfg["seed"] / 100
        losses = list[float]()
        for step in (1, 2, 3):
            losses.append(bad + 1 / step)
            if step < 3 and judge and judge(losses, "min"):
                raise Pruned("loss", "min", losses[-1])
        if (number := int(folder.name.partition("-")[0])) in self.ends:
            self.ends.remove(number)
            raise SystemExit(143)
        if cfg["name"] == "diverge":
            raise FloatingPointError("diverged")
        found = {"loss": losses[-1], "accuracy": 1 - bad / 9}
        kept = {"monitor": {"name": "loss", "direction": "min", "value": losses[-1]}, "valid": found}
        kept |= {"parameters": cfg["model"]["hidden_size"], "speed": {"seconds": 1.0}}
        (folder / "metrics.json").write_text(json.dumps(kept))
        self.done.append(folder.name)
        return losses[-1]


@pytest.fixture
def trainings(tmp_path: Path, own_log: None, monkeypatch: pytest.MonkeyPatch) -> Trainings:
    made, module = Trainings(), ModuleType("seqtrain.commands.train")
    monkeypatch.setattr(module, "train", made.train, raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(seqtrain.commands, "train", module, raising=False)
    monkeypatch.setattr(sweep_table, "draw", lambda *anything: False)
    monkeypatch.chdir(tmp_path)
    return made


def states() -> Counter[TrialState]:
    return Counter(trial.state for trial in study.Study(Path("S")).trials)


def statuses() -> list[str]:
    return [row["status"] for row in sorted(sweep.gather(Path("S")), key=lambda row: row["number"])]


# ---------------------------------------------------------------------------------------------------- what is searched


def test_the_words_of_hydra_say_what_is_searched() -> None:
    lines = ["task=sentiment", "backbone=gru,lstm", "model.hidden_size=choice(64,128)", "model.num_layers=range(1,6,2)"]
    lines += ["model.dropout=range(0.0,0.5,0.1)", "optimizer.lr=tag(log,interval(1e-4,1e-2))"]
    lines += ["decode.top_p=interval(0.5,1)", "decode.top_k=tag(log,int(interval(1,100)))"]
    lines += ["seed=1,2", "data.fold=3,4", "name=x"]
    space = read_space(lines, Configs().loader)
    assert space.fixed == ["task=sentiment", "name=x"]
    assert space.searched == {
        "backbone": CategoricalDistribution(["gru", "lstm"]),
        "model.hidden_size": CategoricalDistribution(["64", "128"]),
        "model.num_layers": IntDistribution(1, 5, step=2),
        "model.dropout": FloatDistribution(0.0, 0.4, step=0.1),
        "optimizer.lr": FloatDistribution(1e-4, 1e-2, log=True),
        "decode.top_p": FloatDistribution(0.5, 1.0),
        "decode.top_k": IntDistribution(1, 100, log=True),
    }
    assert space.repeats == [
        ["seed=1", "data.fold=3"],
        ["seed=1", "data.fold=4"],
        ["seed=2", "data.fold=3"],
        ["seed=2", "data.fold=4"],
    ]
    values = {**dict.fromkeys(space.searched, "x"), "optimizer.lr": 1e-05, "model.num_layers": 3}
    overrides = space.overrides(values, 3)
    assert {"optimizer.lr=1e-05", "model.num_layers=3", "backbone=x", "seed=2", "name=x"} <= {*overrides}


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (["optimizer.lr=tag(lgo,interval(1e-4,1))"], "did you mean log?"),
        (["optimizer.lr=tag(log,choice(1,2))"], "the tag log goes with interval"),
        (["optimizer.lr=interval(2,1)"], "ends at 1.0, which is not above its beginning, 2.0"),
        (["optimizer.lr=tag(log,interval(0.0,1))"], "optimizer.lr=0.0: expected float > 0"),
        (["model.hidden_size=interval(4,8)"], "for whole numbers: 'model.hidden_size=int(interval(4,8))'"),
        (["seed=int(interval(1,8))", RATE], "give a list, such as 1,2,3"),
        (["seed=1,2"], "nothing is searched"),
        ([RATE, "hydra.sweeper.n_trails=3"], "did you mean hydra.sweeper.n_trials?"),
        ([RATE, "hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials=0: expected int >= 1"),
        ([RATE, "hydra.sweeper.sampler=tpi"], "did you mean tpe?"),
        ([RATE, "hydra.sweeper.pruner=asah"], "did you mean asha?"),
        ([RATE, "hydra.sweeper.sampler=grid"], "grid takes lists and ranges"),
        ([RATE, "backbone=gru,lstm", "hydra.sweeper.sampler=cmaes"], "two numbers or more"),
        ([RATE, "hydra.sweeper.objectives=[accuracy,paramters]"], "did you mean parameters?"),
        ([RATE, "hydra.sweeper.objectives=[loss]"], "give two or more"),
    ],
)
def test_wrong_searches_are_told_in_a_line(
    words: list[str], cure: str, trainings: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*SEARCH, *words]) == 2
    error = capsys.readouterr().err
    assert cure in error
    assert error.count("\n") == 1
    assert not Path("S").exists()


def test_what_goes_without_the_sweeper(
    trainings: Trainings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["-m", RATE]) == 2
    assert "an interval has no end of values: add hydra/sweeper=optuna" in capsys.readouterr().err
    assert cli.main(["hydra/sweeper=optuna"]) == 2
    assert "add -m" in capsys.readouterr().err
    assert cli.main(["-m", "hydra/launcher=ray", "seed=1"]) == 2
    assert "pip install 'seqtrain[ray]'" in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main([*SEARCH, RATE]) == 2
    assert "pip install 'seqtrain[optuna]'" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------- how it searches


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "random", "nsga2"])
def test_each_sampler_searches(sampler: str, trainings: Trainings) -> None:
    words = ["hydra.sweeper.n_trials=6", f"hydra.sweeper.sampler={sampler}", "model.hidden_size=int(interval(4,8))"]
    assert cli.main([*SEARCH, RATE, *words, "hydra.sweeper.pruner=none"]) == 0
    assert len(trainings.done) == 6
    rows = sweep.gather(Path("S"))
    assert rows[0]["value"] == min(row["value"] for row in rows)
    assert sampler == "nsga2" or len({row["overrides"]["optimizer.lr"] for row in rows}) == 6  # it crosses them
    assert states() == {TrialState.COMPLETE: 6}


def test_a_grid_ends_with_its_last_combination(trainings: Trainings) -> None:
    words = ["model.hidden_size=range(4,7)", "optimizer.lr=1e-2,1e-3", "hydra.sweeper.sampler=grid"]
    assert cli.main([*SEARCH, *words, "hydra.sweeper.pruner=none"]) == 0
    found = [tuple(row["overrides"].values())[-2:] for row in sweep.gather(Path("S"))]
    assert len(found) == len({*found}) == 6


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_no_setting_of_a_finite_space_comes_twice(sampler: str, trainings: Trainings) -> None:
    words = ["model.hidden_size=4,8,16", "optimizer.lr=0.1,0.2", f"hydra.sweeper.sampler={sampler}"]
    assert cli.main([*SEARCH, *words, "hydra.sweeper.n_trials=20"]) == 0
    trials = study.Study(Path("S")).trials
    assert len({(*trial.params.values(),) for trial in trials}) == len(trials) == 6


def test_tpe_comes_near_the_best(trainings: Trainings) -> None:
    assert cli.main([*SEARCH, RATE, "hydra.sweeper.n_trials=12", "hydra.sweeper.pruner=none"]) == 0
    assert sweep.gather(Path("S"))[0]["value"] < 1 / 3 + 0.2


def test_a_setting_is_tried_with_all_seeds_and_its_mean_counts(
    trainings: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*SEARCH, RATE, "seed=1,3", "hydra.sweeper.n_trials=3", "hydra.sweeper.pruner=none"]) == 0
    assert len(trainings.done) == 6
    for trial in study.Study(Path("S")).trials:
        assert trial.value == pytest.approx(abs(math.log10(trial.params["optimizer.lr"]) + 2) + 1 / 3 + 0.02)
    found = json.loads(Path("S/seeds.json").read_text())
    assert [row["seeds"] for row in found] == [["1", "3"]] * 3
    means = [row["valid"]["loss"]["mean"] for row in found]
    assert means == sorted(means)
    assert re.search(r"^[\d.e-]+ +2 +loss +[\d.]+ ± 0\.01414$", capsys.readouterr().out, re.MULTILINE)


def test_several_objectives(trainings: Trainings) -> None:
    words = ["hydra.sweeper.objectives=[accuracy,parameters]", "model.hidden_size=range(4,9)"]
    assert cli.main([*SEARCH, RATE, *words, "hydra.sweeper.n_trials=4"]) == 0
    for trial in study.Study(Path("S")).trials:
        bad = abs(math.log10(trial.params["optimizer.lr"]) + 2)
        assert trial.values == pytest.approx([1 - bad / 9, trial.params["model.hidden_size"]])


def test_settings_of_a_yaml_file_are_searched_too(trainings: Trainings) -> None:
    Path("mine/experiment").mkdir(parents=True)
    text = (
        "# @package _global_\nhydra:\n  sweeper:\n    n_trials: 3\n    params:\n      optimizer.lr: interval(0.1,1)\n"
    )
    Path("mine/experiment/rates.yaml").write_text(text)
    assert cli.main([*SEARCH, "--config-dir=mine", "experiment=rates"]) == 0
    assert len(trainings.begun) == 3


# ---------------------------------------------------------------------------------------------------- which jobs stop


@pytest.mark.parametrize("pruner", ["median", "asha", "hyperband"])
def test_a_job_that_is_worse_is_stopped_and_not_run_again(
    pruner: str, trainings: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["hydra.sweeper.n_trials=9", "hydra.sweeper.sampler=random", f"hydra.sweeper.pruner={pruner}"]
    assert cli.main([*SEARCH, RATE, *words]) == 0
    pruned = [row for row in sweep.gather(Path("S")) if row["status"] == "pruned"]
    assert pruned
    assert states()[TrialState.PRUNED] == len(pruned)
    assert all(row["value"] > 1 / 3 and row["monitor"] == "loss" for row in pruned)
    assert re.search(r" pruned +S/", capsys.readouterr().out)
    best = sweep.gather(Path("S"))[0]
    assert best["status"] == "done"
    assert cli.main(["resume=S"]) == 0
    assert len(trainings.begun) == 9


def test_a_job_that_diverges_counts_as_a_bad_one(trainings: Trainings) -> None:
    words = ["hydra.sweeper.n_trials=3", "name=diverge", "hydra.sweeper.pruner=none"]
    assert cli.main([*SEARCH, RATE, *words]) == 0
    assert statuses() == ["diverged"] * 3
    assert states() == {TrialState.PRUNED: 3}


def test_a_judge_that_fails_costs_the_pruning_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / sweep.STUDY).write_text("{}\n")
    judge = study.Judge(tmp_path, 0)
    assert not judge([1.0], "min")
    assert not judge([1.0, 2.0], "min")
    assert len(caplog.messages) == 1


# ---------------------------------------------------------------------------------------------------- how it goes on


def test_a_search_that_ends_three_times_repeats_no_job_and_loses_none(trainings: Trainings) -> None:
    words = ["hydra.sweeper.n_trials=5", "hydra.sweeper.sampler=random", "hydra.sweeper.pruner=none"]
    trainings.ends = {1, 2, 4}
    assert cli.main([*SEARCH, RATE, *words]) == 143
    for _ in range(2):
        assert cli.main(["resume=S"]) == 143
    assert cli.main(["resume=S"]) == 0
    assert Counter(int(name.partition("-")[0]) for name in trainings.done) == dict.fromkeys(range(5), 1)
    assert sorted(int(name.partition("-")[0]) for name in trainings.resumed) == [1, 2, 4]
    assert len({row["overrides"]["optimizer.lr"] for row in sweep.gather(Path("S"))}) == 5
    assert states() == {TrialState.COMPLETE: 5}
    assert cli.main(["resume=S", "hydra.sweeper.n_trials=6"]) == 0
    assert len(trainings.done) == 6
    assert cli.main(["resume=S", "hydra.sweeper.seed=3"]) == 2


def test_a_study_that_was_cut_off_anywhere_goes_on(trainings: Trainings) -> None:
    """Killed while it drew a setting, or while it wrote a line."""
    words = ["hydra.sweeper.n_trials=3", "model.hidden_size=4,8", "hydra.sweeper.pruner=none"]
    assert cli.main([*SEARCH, RATE, *words]) == 0
    content = Path("S", sweep.STUDY).read_bytes()
    settings = {"sampler": "tpe", "startup": 2, "seed": 0, "pruner": "none", "min_evaluations": 1, "reduction": 3,
                "objectives": None, "n_trials": 3}  # fmt: skip
    space = read_space([RATE, "model.hidden_size=4,8"], Configs().loader)
    begun = content.index(b"\n", content.index(b"repeats")) + 1
    for place, cut in enumerate(random.Random(0).sample(range(begun, len(content)), 6)):
        folder = Path(f"cut-{place}")
        folder.mkdir()
        (folder / sweep.STUDY).write_bytes(content[:cut])
        search = sweeper.Search(folder, settings, space, "loss")
        jobs = dict(search.jobs())
        finished = [trial.number for trial in search.study.trials if trial.state.is_finished()]
        assert sorted([*jobs, *finished]) == [0, 1, 2]
        assert all(trial.distributions == space.searched for trial in search.study.trials)


def test_the_study_of_a_stranger_is_not_believed(trainings: Trainings, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*SEARCH, RATE, "hydra.sweeper.n_trials=1", "backbone=gru,lstm"]) == 0
    content = Path("S", sweep.STUDY).read_text()
    for changed in (content.replace("lstm", "os.system"), "[1]\n"):
        Path("S", sweep.STUDY).write_text(changed)
        assert cli.main(["resume=S"]) == 2
        assert f"{sweep.STUDY}: damaged" in capsys.readouterr().err
    Path("S", sweep.STUDY).unlink()
    Path("S", sweep.STUDY).symlink_to("elsewhere")
    assert cli.main(["resume=S"]) == 2
    assert "a link" in capsys.readouterr().err


def test_a_study_with_a_pickle_needs_trust(trainings: Trainings, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["model.hidden_size=range(4,9)", "hydra.sweeper.sampler=cmaes", "hydra.sweeper.n_trials=2"]
    assert cli.main([*SEARCH, RATE, *words]) == 0
    assert cli.main(["resume=S"]) == 2
    assert "add trust=true" in capsys.readouterr().err
    assert cli.main(["resume=S", "trust=true", "hydra.sweeper.n_trials=3"]) == 0
    assert len(trainings.done) == 3


def test_other_launchers_get_jobs_whose_numbers_follow_each_other() -> None:
    jobs = [(number, [str(number)]) for number in (1, 3, 4, 5, 9)]
    found = [[number for number, _ in batch] for batch in sweeper.batches(iter(jobs), 3)]
    assert found == [[1], [3, 4], [5], [9]]


def test_figures_of_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = dict[str, Any]()
    rows = [
        {"number": n, "value": v, "status": s, "overrides": {"a": str(n)}, "swept": ["a"], "direction": "min"}
        for n, v, s in [(0, 3.0, "done"), (2, 1.0, "done"), (1, 2.0, "pruned"), (3, None, "failed")]
    ]
    monkeypatch.setattr(
        "seqtrain.engine.recorder.Recorder.show", lambda self, step, figures, keep: drawn.update(figures)
    )
    (tmp_path / sweep.STUDY).touch()
    assert sweep_table.draw(rows, tmp_path, {"a": 0.9, "b": 0.1})
    (axes,) = drawn["sweep history"].axes
    assert {line.get_label(): [*map(float, line.get_ydata())] for line in axes.get_lines()} == {
        "pruned": [2.0],
        "done": [3.0, 1.0],
        "best so far": [3.0, 1.0],
    }
    (axes,) = drawn["sweep importance"].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a"]


def test_of_another_sweep_nothing_is_important(tmp_path: Path) -> None:
    assert sweep_table.importance(tmp_path) == {}
    with pytest.raises(UserError, match="there is no metric accuracyy; did you mean accuracy"):
        sweeper.directions(["accuracyy", "loss"])
