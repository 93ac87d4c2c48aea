"""Schemas, the checker, the composition, and the building of what `_target_` names."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from seqtrain.codecs.text import fit
from seqtrain.commands import modes
from seqtrain.commands.run_folder import register_resolvers, write_config
from seqtrain.config import UserError, build, locate, parameters_of
from seqtrain.config.compose import Composed, Mistakes, compose
from seqtrain.config.rules import check_together
from seqtrain.config.schema import Schema, check, conform, make_key, parse_comment, read_entries, read_schema
from seqtrain.config.sources import ROOT, Configs
from seqtrain.config.spelling import nearest_keys

OPTIONS = sorted(path for path in ROOT.glob("*/*.yaml"))


@pytest.fixture(autouse=True)
def resolvers() -> None:
    register_resolvers()


def composed(*words: str, config_dir: Path | None = None, multirun: bool = False) -> Composed:
    return compose(Configs(config_dir=str(config_dir) if config_dir else None), list(words), multirun)


def mistakes(*words: str, config_dir: Path | None = None, multirun: bool = False) -> str:
    with pytest.raises(Mistakes) as caught:
        composed(*words, config_dir=config_dir, multirun=multirun)
    return str(caught.value)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# -------------------------------------------------------------------------------- types in comments


@pytest.mark.parametrize(
    ("comment", "good", "bad"),
    [
        ("int >= 1: width", [1, 99], [0, 1.5, True, "1", None]),
        ("float in [0, 1): share", [0, 0.0, 0.5], [1, 1.0, -0.1, "x", float("nan"), False]),
        ("float in (0, 1]", [1, 1.0, 0.5], [0, 0.0, 1.1]),
        ("float > 0 or null: clip", [0.1, 3, None], [0, -1, "null"]),
        ("dot | general | multi_head: the score", ["dot", "multi_head"], ["Dot", "x", None, 1]),
        ("16 | 32: bits", [16, 32], [8, "16"]),
        ("word or null", ["word", None], ["other"]),
        ("bool", [True, False], [1, "true", None]),
        ("str or null: a word", ["x", 3, None], [True, ["x"], ""]),
        ("list of float in [0, 1): betas", [[], [0.9, 0]], [[1.0], 0.9, ["x"]]),
        ("list of str or null", [["a"], None], ["a", [None]]),
        ("int <= -1", [-1], [0]),
        ("float >= 1e-3", [0.001], [0.0001]),
        ("dict: whatever", [{}, {"a": 1}], [1, []]),
    ],
)
def test_type_of_a_comment(comment: str, good: list[Any], bad: list[Any]) -> None:
    key = make_key(None, comment, Path("x"), 1)
    assert key.typed
    assert [value for value in good if not key.takes(value)] == []
    assert [value for value in bad if key.takes(value)] == []


@pytest.mark.parametrize(
    "comment", ["", "the width of a layer", "paper: Luong et al. 2015", "int of some size: x", "int >= one"]
)
def test_prose_is_no_type(comment: str) -> None:
    assert parse_comment(comment) is None


@pytest.mark.parametrize(
    ("default", "good", "bad"),
    [
        (3, [4], [4.5, "x"]),
        (0.5, [1, 2.5], ["x"]),
        (True, [False], [1]),
        ("a", ["b"], [[], ""]),
        ("", ["b", ""], []),
        (None, [1, "x", []], []),
    ],
)
def test_type_of_a_default(default: Any, good: list[Any], bad: list[Any]) -> None:
    key = make_key(default, "some prose", Path("x"), 1)
    assert all(key.takes(value) for value in good)
    assert not any(key.takes(value) for value in bad)


def schema_of(tmp_path: Path, text: str) -> Schema:
    return read_schema(write(tmp_path / "schema.yaml", text))


TREE = """\
seed: 0              # int >= 0: seed
words: ["#", 'a#b']  # list of str: with signs of comments
inner:               # a section
  rate: 1e-3         # float > 0: learning rate
  kind: x            # x | y
  free: {}
  deep:
    size: 1
"""


def test_schema_of_a_file(tmp_path: Path) -> None:
    schema = schema_of(tmp_path, TREE)
    assert list(schema.keys) == ["seed", "words", "inner.rate", "inner.kind", "inner.free", "inner.deep.size"]
    assert schema.sections == {"inner": "a section", "inner.deep": ""}
    assert schema.keys["inner.rate"].line == 4
    assert schema.keys["words"].expected == "list of str"


GOOD = {"seed": 1, "words": [], "inner": {"rate": 1, "kind": "y", "free": {"a": {"b": 1}}, "deep": {"size": 2}}}


def test_check_tells_everything(tmp_path: Path) -> None:
    schema = schema_of(tmp_path, TREE)
    assert check(GOOD, schema) == {}
    bad = {"seed": -1, "sead": 1, "inner": {"rate": 0, "kind": "z", "deep": 3, "free": 1}}
    found = check(bad, schema)
    assert set(found) == {"seed", "sead", "words", "inner.rate", "inner.kind", "inner.deep", "inner.free"}
    assert "did you mean seed?" in found["sead"]
    assert found["seed"] == "seed=-1: expected int >= 0 (seed)"
    assert "needs a value" in found["words"]
    assert "size" in found["inner.deep"]


def test_columns_named_like_numbers() -> None:
    words = ("task=translation", "data=pairs", "data.train=x.csv")
    data = composed(*words, "data.source=0.0", "data.target=2024").config["data"]
    assert (data["source"], data["target"]) == ("0.0", 2024)  # a whole number is a place
    assert composed(*words, "data.source=2024-01-31", 'data.target="1"').config["data"]["target"] == "1"
    assert "as a text: 'data.source=\"true\"'" in mistakes(*words, "data.source=true")


def test_conform_makes_floats_and_text(tmp_path: Path) -> None:
    settled = conform(GOOD | {"words": [1, "x"]}, schema_of(tmp_path, TREE))
    assert isinstance(settled["inner"]["rate"], float)
    assert settled["words"] == ["1", "x"]
    assert settled["seed"] == 1


def test_a_written_config_is_its_own_schema(tmp_path: Path) -> None:
    found = composed("optimizer.lr=1e-5", "name=a-b")
    write_config(tmp_path, found.config, found.schema)
    again = read_schema(tmp_path / "config.yaml")
    values: dict[str, Any] = {e.name: e.value for e in read_entries(tmp_path / "config.yaml") if e.key}
    assert {n: k.expected for n, k in again.keys.items()} == {n: k.expected for n, k in found.schema.keys.items()}
    assert values["optimizer.lr"] == 1e-5
    assert values["name"] == "a-b"
    assert check(found.config, again) == {}


@pytest.mark.parametrize(
    "value", ["", "a b", "x: y", "# no", "1e-3", "null", "é", "${x}", "- a", "'", '"', "a\nb", 1e-9, 10**9]
)
def test_any_value_survives_writing(tmp_path: Path, value: Any) -> None:
    schema = schema_of(tmp_path, "key: null  # a comment\n")
    write_config(tmp_path, {"key": value}, schema)
    assert [entry.value for entry in read_entries(tmp_path / "config.yaml")] == [value]


# -------------------------------------------------------------------------------- spelling


NAMES = [
    "trainer.batch_size",
    "trainer.epochs",
    "optimizer.lr",
    "model.hidden_size",
    "model.num_layers",
    "decode.top_k",
]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("lr", "optimizer.lr"),
        ("trainer.lr", "optimizer.lr"),
        ("hidden_size", "model.hidden_size"),
        ("bach_size", "trainer.batch_size"),
        ("model.hiden", "model.hidden_size"),
        ("n_layers", "model.num_layers"),
        ("trainer.max_epochs", "trainer.epochs"),
        ("trainer/epochs", "trainer.epochs"),
        ("decode.topk", "decode.top_k"),
        ("learning_rate", "optimizer.lr"),
        ("lerning_rate", "optimizer.lr"),
    ],
)
def test_nearest_key(wrong: str, right: str) -> None:
    assert (
        nearest_keys(wrong, NAMES, lambda name: "learning rate, at its peak" if name == "optimizer.lr" else "")[0]
        == right
    )


def test_no_guess_without_likeness() -> None:
    assert nearest_keys("vocabulary", NAMES) == []


# -------------------------------------------------------------------------------- composing


def test_order_of_precedence(tmp_path: Path) -> None:
    """Task over defaults, experiment over task, command line over all."""
    write(
        tmp_path / "experiment" / "mine.yaml",
        "# @package _global_\ndefaults:\n  - override /task: sentiment\n  - override /model: seq2seq\n"
        "decode:\n  beam_size: 3\ntrainer:\n  epochs: 77\n",
    )
    targets = {task: composed(f"task={task}").config for task in ("translation", "sentiment", "generation")}
    assert len({config["model"]["_target_"] for config in targets.values()}) == 3
    assert len({config["data"]["_target_"] for config in targets.values()}) == 3
    assert composed("task=sentiment", "model=seq2seq").config["model"]["_target_"].endswith("Seq2Seq")
    mine = composed("experiment=mine", config_dir=tmp_path).config
    assert mine["task"] == targets["sentiment"]["task"]
    assert mine["model"]["_target_"].endswith("Seq2Seq")
    assert (mine["decode"]["beam_size"], mine["trainer"]["epochs"]) == (3, 77)
    last = composed(
        "experiment=mine", "task=translation", "model=attn_seq2seq", "decode.beam_size=9", config_dir=tmp_path
    )
    assert last.config["decode"]["beam_size"] == 9
    assert last.config["task"] == targets["translation"]["task"]
    assert last.config["model"]["_target_"].endswith("AttnSeq2Seq")


def test_every_mistake_is_told_at_once() -> None:
    found = mistakes("bach_size=3", "lr=0.1", "hidden_size=3", "+trainer.lrr=1", "hydra.ouput_subdir=x", "seed=-1")
    assert found.startswith("6 mistakes")
    for cure in ("trainer.batch_size", "optimizer.lr", "model.hidden_size", "hydra.output_subdir", "int >= 0"):
        assert cure in found


def test_mistakes_in_files_name_the_file(tmp_path: Path) -> None:
    write(tmp_path / "experiment" / "bad.yaml", "# @package _global_\ntrainer:\n  lrr: 1\n  epochs: ten\nsead: 1\n")
    found = mistakes("experiment=bad", config_dir=tmp_path)
    assert found.startswith("3 mistakes")
    assert "(in experiment/bad.yaml, line 3)" in found
    assert "trainer.epochs=ten: expected int >= 1 or null" in found
    assert "did you mean seed?" in found


def test_own_option_has_its_own_schema(tmp_path: Path) -> None:
    write(
        tmp_path / "data" / "mine.yaml",
        "# My data.\n_target_: mine.Data\npath: ???  # str: file\nshare: 0.1  # float in [0, 1)\nnested:\n  size: 3\n",
    )
    assert composed("data=mine", "data.path=x", config_dir=tmp_path).config["data"]["path"] == "x"
    assert "data.path needs a value: data.path=..." in mistakes("data=mine", config_dir=tmp_path)
    found = mistakes(
        "data=mine", "data.path=x", "data.shaer=1", "data.share=1", "data.nested.siez=2", config_dir=tmp_path
    )
    for cure in ("did you mean data.share?", "float in [0, 1)", "did you mean data.nested.size?"):
        assert cure in found


def test_option_that_extends_another(tmp_path: Path) -> None:
    text = "# Wider.\ndefaults:\n  - seq2seq\n  - _self_\nhidden_size: 512\n"
    write(tmp_path / "model" / "wide.yaml", text)
    write(tmp_path / "model" / "wrong.yaml", text.replace("hidden_size: 512", "hiden_size: 512\ndropout: 1.0"))
    assert composed("model=wide", config_dir=tmp_path).config["model"]["hidden_size"] == 512
    assert "int >= 1" in mistakes("model=wide", "model.hidden_size=0", config_dir=tmp_path)
    found = mistakes("model=wrong", config_dir=tmp_path)
    assert (
        "model.hiden_size: there is no such key; did you mean model.hidden_size? (in model/wrong.yaml, line 5)" in found
    )
    assert "float in [0, 1)" in found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("model/broken", "a: [1,\n"),
        ("model/list", "- a\n- b\n"),
        ("experiment/gone", "# @package _global_\ndefaults:\n  - override /model: gone\n"),
        ("experiment/group", "# @package _global_\ndefaults:\n  - override /modle: seq2seq\n"),
        ("data/binary", "path: \x00\n"),
    ],
)
def test_broken_files_are_mistakes(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path / f"{name}.yaml", text)
    group, _, option = name.partition("/")
    assert mistakes(f"{group}={option}", config_dir=tmp_path)


def test_a_sweep_checks_every_value_and_every_combination() -> None:
    assert "optimizer.lr=-1" in mistakes("optimizer.lr=1e-3,-1,2", multirun=True)
    assert "trainer.epochs=0" in mistakes("trainer.epochs=range(0,3)", multirun=True)
    assert "attn_seq2seq has it" in mistakes("model=attn_seq2seq,seq2seq", "model.attention=dot", multirun=True)
    assert "backbone=gru" in mistakes("model=seq2seq,gru", multirun=True)
    found = composed("optimizer.lr=1e-3,2e-3", "model=seq2seq,attn_seq2seq", "seed=3", multirun=True)
    assert sorted(found.swept) == ["model", "optimizer.lr"]


def test_a_plus_before_a_known_key_is_harmless() -> None:
    found = composed("+trainer.epochs=3", "++seed=4")
    assert found.config["trainer"]["epochs"] == 3
    assert found.overrides == ["trainer.epochs=3", "seed=4"]


def test_values_may_refer_to_others() -> None:
    assert composed("trainer.epochs=${model.num_layers}").config["trainer"]["epochs"] == 1
    assert "int >= 1" in mistakes("trainer.epochs=${seed}")
    assert "'nothing' not found" in mistakes("trainer.epochs=${nothing}")


# -------------------------------------------------------------------------------- rules between keys


NONE = ("checkpoint", "resume", "init", "input", "name", "runs", "format")
BASE = {"jobs": 1, "mode": "train", "refit": False, "quantize": False} | dict.fromkeys(NONE)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, None),
        ({"mode": "evaluate"}, "checkpoint=RUN"),
        ({"mode": "predict", "checkpoint": "x"}, "input=FILE"),
        ({"resume": "x", "checkpoint": "y"}, "give one"),
        ({"resume": "x", "mode": "evaluate"}, "checkpoint=x"),
        ({"checkpoint": "x"}, "resume="),
        ({"init": "x"}, None),
        ({"init": "x", "mode": "doctor"}, "leave it out"),
        ({"init": "x", "mode": "evaluate", "checkpoint": "y"}, None),
        ({"refit": True}, "init=RUN"),
        ({"format": "onnx"}, "mode=export"),
        ({"mode": "predict", "checkpoint": "x", "input": "no-such-file"}, "no such file"),
        ({"mode": "predict", "checkpoint": "x", "input": "-"}, None),
        ({"input": "-"}, "mode=predict"),
        ({"name": "a/b"}, "letters"),
        ({"trainer": {"batch_size": 1, "batch_tokens": 2}}, "trainer.batch_size=null"),
        ({"trainer": {"batch_size": None, "batch_tokens": None}}, "set one"),
        ({"trainer": {"batch_size": None, "batch_tokens": 2}}, None),
    ],
)
def test_rules_between_keys(changes: dict[str, Any], told: str | None) -> None:
    config = {**BASE, **changes}
    problems = [*check_together(config), *modes.problems(config)]
    assert problems == [] if told is None else any(told in problem for problem in problems)


# -------------------------------------------------------------------------------- building


def test_build_calls_the_target() -> None:
    made = build({"_target_": "collections.Counter", "a": 2}, trust=True, b=3)
    assert made == {"a": 2, "b": 3}
    assert build({"_target_": "datetime.date", "year": 1999, "month": 5}, trust=True, day=3).isoformat() == "1999-05-03"


@pytest.mark.parametrize(
    "target",
    [
        *("os.system", "collections.Counter", "seqtrain.config.importlib.import_module", "seqtrain.config.Path"),
        *("seqtrain", "seqtrain.cli.main", "seqtrain.engine.recorder.Recorder", "seqtrain.storage.downloads.download"),
        *(
            "seqtrain.engine.trainer.signal.signal",
            "seqtrain.engine.trainer.make_optimizer",
            "torch.optim.lr_scheduler.Tensor",
        ),
    ],
)
def test_build_does_not_trust_a_run_folder(target: str) -> None:
    with pytest.raises(UserError):
        locate(target, trust=False)


def test_a_package_that_the_user_names_is_trusted_and_no_other() -> None:
    assert locate("collections.Counter", trust=["collections"]).__name__ == "Counter"
    for target in ("datetime.date", "collectionsx.Counter", "collections.abc.sys.exit"):
        with pytest.raises(UserError, match="_target_"):
            locate(target, trust=["collections"])


@pytest.mark.parametrize(
    "target", ["no.such.module", "seqtrain.nothing.Model", "seqtrain.config.Nothing", "", "x", "..a"]
)
def test_a_target_that_cannot_be_imported(target: str) -> None:
    with pytest.raises(UserError, match="_target_"):
        locate(target, trust=True)


def test_build_tells_wrong_parameters() -> None:
    with pytest.raises(UserError, match=r"no parameter facter; did you mean factor\?"):
        build({"_target_": "seqtrain.engine.schedules.Plateau", "facter": 1})
    with pytest.raises(UserError, match=r"needs a value for .*factor"):
        build({"_target_": "seqtrain.engine.schedules.Plateau"})


# -------------------------------------------------------------------------------- the shipped options


def section(path: Path) -> dict[str, Any]:
    """An option's own keys and values; a global file has them below the name of its group."""
    values = {entry.name: entry.value for entry in read_entries(path) if entry.key}
    group = f"{path.parent.name}."
    return {n.removeprefix(group): v for n, v in values.items() if path.parent.name != "task" or n.startswith(group)}


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shipped_option_is_documented_and_valid(path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("# @package")]
    assert lines[0].startswith("# ")
    own = "" if path.parent.name != "task" else "task."
    for entry in read_entries(path):
        if (
            entry.key
            and entry.name.startswith(own)
            and not entry.name.endswith("_target_")
            and path.parent.name != "experiment"
        ):
            assert entry.key.typed, f"{entry.name} has no type"
            assert not entry.key.takes(""), f"{entry.name}: an empty variable of the shell would pass"
            assert entry.value == "???" or entry.key.takes(entry.value), entry.name


# What the program itself hands to a constructor, beside the keys of the option.
GIVEN = {
    "model": {"spec", "frontend", "backbone"},
    "frontend": {"source", "size", "dropout", "word_dropout", "scaled"},
    "likelihood": {"outputs", "cross_entropy", "weights"},
    "backbone": {"input_size", "hidden_size", "num_layers", "dropout", "causal", "summary_size"},
    "optimizer": {"params"},
}


@pytest.mark.parametrize(
    "path", [p for p in OPTIONS if "_target_" in section(p)], ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_shipped_option_fits_its_constructor(path: Path) -> None:
    values = section(path)
    parameters, _ = parameters_of(locate(values["_target_"], trust=False))
    inner = {key.partition(".")[2] for key in values if key.startswith("tokenizer.")}
    assert inner == (set(inspect.signature(fit).parameters) - {"texts", "spaces"} if inner else set())
    keys, given = {key.partition(".")[0] for key in values} - {"_target_"}, GIVEN.get(path.parent.name, set())
    assert keys <= set(parameters)
    assert not keys & given
    if values["_target_"].startswith("seqtrain."):
        assert set(parameters) == keys | given & set(parameters)
        hidden = {name: p.default for name, p in parameters.items() if p.default is not p.empty and name not in given}
        stated = {entry.name: entry.value for entry in read_entries(path)}
        if path.parent.name == "likelihood":  # a task makes its own without the YAML, by the same defaults
            hidden = {k: v for k, v in hidden.items() if stated[k] != (list(v) if isinstance(v, tuple) else v)}
        assert hidden == {}, "defaults stand in YAML alone"


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shipped_option_composes(path: Path) -> None:
    needed = [f"{path.parent.name}.{entry.name}=x" for entry in read_entries(path) if entry.value == "???"]
    composed(f"{path.parent.name}={path.stem}", *needed)
