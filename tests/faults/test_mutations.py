"""Damaged checkpoints, configurations and data: refused with a reason, or, for checkpoints, the older one is used."""

import logging
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
import torch
from harness import OF_TASK, OWN, Server, serving, words
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqtrain.commands import run_folder
from seqtrain.commands.assembly import Assembly
from seqtrain.commands.loaded import Loaded
from seqtrain.config import UserError, compose, sources
from seqtrain.contract import Batching
from seqtrain.engine.checkpoint import Checkpoints
from seqtrain.engine.loader import Loader

SEEDED = settings(derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))


def examples(request: pytest.FixtureRequest, long: int, short: int) -> settings:
    return settings(SEEDED, max_examples=long if request.config.getoption("--long") else short)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with checkpoints of steps 1 and 2, `last` and `best` on the second."""
    place = tmp_path_factory.mktemp("mutations") / "run"
    with tiny.no_figures():
        tiny.train(place, "sentiment", trainer__max_steps=2, trainer__eval_every=1)
    shutil.copytree(place / "checkpoints" / "step-2", place / "checkpoints" / "step-1", dirs_exist_ok=True)
    for pointer in ("last", "best"):
        (place / "checkpoints" / pointer).write_text("step-2\n")
    return place


# ---------------------------------------------------------------------------------------------------- checkpoints


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Some bits flipped, the end cut off, or a stretch zeroed; more than a last line end."""
    found = bytearray(content)
    kind = chance.choice(("flip", "cut", "zero"))
    if kind == "cut":
        del found[chance.randrange(len(found)) :]
    elif kind == "zero":
        start = chance.randrange(len(found))
        stop = start + chance.randint(1, 512)
        found[start:stop] = bytes(len(found[start:stop]))
    else:
        for _ in range(chance.randint(1, 8)):
            found[chance.randrange(len(found))] ^= 1 << chance.randrange(8)
    return bytes(found) if bytes(found).strip() != content.strip() else damaged(content, chance)


def damage(run: Path, chance: random.Random) -> Path:
    """Damages one file of the newest checkpoint, sometimes one of the older one, too."""
    files = sorted((run / "checkpoints" / "step-2").iterdir())
    file = chance.choice([*files, run / "checkpoints" / "last"])
    if chance.random() < 0.2:
        older = run / "checkpoints" / "step-1" / chance.choice(files).name
        older.write_bytes(damaged(older.read_bytes(), chance))
    file.write_bytes(damaged(file.read_bytes(), chance))
    return file


def test_damaged_checkpoints_in_process(
    trained: Path, tmp_path: Path, scale: int, caplog: pytest.LogCaptureFixture
) -> None:
    chance, counts = random.Random("damage"), {"fell back": 0, "refused": 0}
    whole, told = Checkpoints(trained).load("last"), []
    for i in range((60, 970)[scale]):
        run = tmp_path / "run"
        shutil.copytree(trained, run)
        file = damage(run, chance)
        caplog.clear()
        try:
            found = Checkpoints(run).load("last")
            assert all(torch.equal(weight, whole.weights[name]) for name, weight in found.weights.items()), (
                f"{i} {file}"
            )
            warned = any("trying the" in record.message for record in caplog.records)
            assert warned or Checkpoints(run).named("last") == "step-1", f"{i} {file}"  # two bits away from step-2
            counts["fell back"] += 1
        except UserError as error:
            told.append(str(error).removeprefix(str(run)))
            counts["refused"] += 1
        assert all(record.levelno == logging.WARNING for record in caplog.records)
        shutil.rmtree(run)
    assert all(text.startswith(": there is no whole checkpoint in it (") for text in told)
    print(f"damaged checkpoints: {sum(counts.values())} tried, {counts}, 0 lost")
    assert all(counts.values())


def test_damaged_checkpoints_as_processes(trained: Path, tmp_path: Path, server: Server, scale: int) -> None:
    chance, codes = random.Random("damage of processes"), []
    (tmp_path / "in.txt").write_text("good\n")
    for i in range((1, 30)[scale]):
        run = tmp_path / str(i)
        shutil.copytree(trained, run)
        shutil.copy(run / "checkpoints" / "last", run / "checkpoints" / "best")
        damage(run, chance)
        (run / "checkpoints" / "best").unlink()  # so that `last` is used
        argv = ["mode=predict", f"checkpoint={run}", "input=in.txt", "device=cpu"]
        code, told = server.run(argv, tmp_path, fresh=i % 10 == 1)
        assert "Traceback" not in told
        assert (code == 0 and "trying the" in told) or (code == 2 and "no whole checkpoint" in told), f"{code}: {told}"
        codes.append(code)
    print(f"damaged checkpoints as processes: {codes.count(0)} fell back, {codes.count(2)} refused, 0 lost")


# ---------------------------------------------------------------------------------------------------- configurations

VALUES = st.sampled_from(
    [
        *(
            "",
            "null",
            "true",
            "x",
            "''",
            "[]",
            "{}",
            "[1, x]",
            "{a: 1}",
            "-1",
            "0",
            "1",
            "0.5",
            "1e-30",
            ".inf",
            ".nan",
        ),
        *("[", "{", "'", "&a b", "*a", "!!python/object:os.system x", "!!int x", "${x}", "${oc.env:HOME}", "@", "? x"),
        "seqtrain.tasks.classification.Classification",
        *("123456789012345678901234567890", "2001-01-01", "é", "\\", "|", "- x"),
    ]
)


@st.composite
def edits(draw: st.DrawFn) -> list[tuple[str, int, str]]:
    """What is done to the lines of a YAML file, in order."""
    kinds = st.sampled_from(["value", "value", "value", "drop", "double", "indent", "cut", "comment", "key"])
    return draw(st.lists(st.tuples(kinds, st.integers(0, 10**6), VALUES), min_size=1, max_size=3))


def edited(text: str, changes: list[tuple[str, int, str]]) -> str:
    lines = text.splitlines()
    for kind, place, value in changes:
        n = place % len(lines)
        key, colon, rest = lines[n].partition(":")
        comment = rest.partition("#")[1] + rest.partition("#")[2]
        made = {
            "value": [f"{key}{colon} {value}  {comment}"],
            "drop": [],
            "double": [lines[n]] * 2,
            "indent": [f"  {lines[n]}"],
            "cut": [lines[n][: place % (len(lines[n]) + 1)]],
            "comment": [f"{key}{colon}{rest.partition('#')[0]}# {value}: {value}"],
            "key": [f"{key.rstrip()}{value}{colon}{rest}"],
        }[kind]
        lines[n : n + 1] = made
        lines = lines or [""]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(("kind", "value"), [("drop", ""), ("key", "x"), ("value", "null"), ("value", "x")])
def test_any_line_of_a_run_folder_may_be_another(
    trained: Path, tmp_path: Path, kind: str, value: str, scale: int
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    text, refused = (trained / "config.yaml").read_text(), []
    for n in range(0, len(text.splitlines()), (7, 1)[scale]):
        (tmp_path / "run" / "config.yaml").write_text(edited(text, [(kind, n, value)]))
        try:
            Loaded(run_folder.read_config(tmp_path / "run"), tmp_path / "run")
        except UserError as error:
            refused.append(str(error))
    assert all(10 < len(text) < 3000 for text in refused)


def test_mutated_configurations_of_run_folders(
    trained: Path, tmp_path: Path, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    text, outcomes = (trained / "config.yaml").read_text(), []
    told: list[str] = []
    shutil.copytree(trained, tmp_path / "run")

    @examples(request, 250, 15)
    @given(edits())
    def check(changes: list[tuple[str, int, str]]) -> None:
        (tmp_path / "run" / "config.yaml").write_text(edited(text, changes))
        try:
            Loaded(run_folder.read_config(tmp_path / "run"), tmp_path / "run")
            outcomes.append("used")
        except UserError as error:
            outcomes.append("refused")
            told.append(str(error))

    check()
    assert all(10 < len(text) < 3000 for text in told)
    print(f"configurations of run folders: {outcomes.count('used')} used, {outcomes.count('refused')} refused")


def test_mutated_options_of_the_user(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    run_folder.register_resolvers()
    outcomes, told = [], []
    for group in ("trainer", "model", "task", "data"):
        (tmp_path / group).mkdir()
    names = ["trainer/default", "model/many_to_one", "task/sentiment", "data/reviews"]

    @examples(request, 250, 15)
    @given(st.sampled_from(names), edits())
    def check(name: str, changes: list[tuple[str, int, str]]) -> None:
        group = name.partition("/")[0]
        text = (sources.ROOT / f"{name}.yaml").read_text(encoding="utf-8")
        (tmp_path / group / "mine.yaml").write_text(edited(text, changes))
        try:
            compose.compose(sources.Configs(config_dir=str(tmp_path)), ["task=sentiment", f"{group}=mine"])
            outcomes.append("composed")
        except UserError as error:
            outcomes.append("refused")
            told.append(str(error))

    check()
    assert all(10 < len(text) < 3000 for text in told)
    print(f"options: {outcomes.count('composed')} composed, {outcomes.count('refused')} refused")


def draws(strategy: st.SearchStrategy, count: int) -> list:
    """Examples for what is too slow to be run by hypothesis itself."""
    found: list = []

    @settings(SEEDED, max_examples=count)
    @given(strategy)
    def collect(example: object) -> None:
        found.append(example)

    collect()
    return found[:count]


def test_mutated_configurations_as_processes(trained: Path, tmp_path: Path, server: Server, scale: int) -> None:
    text, codes = (trained / "config.yaml").read_text(), []
    (tmp_path / "in.txt").write_text("good\n")
    for i, changes in enumerate(draws(edits(), (1, 30)[scale])):
        run = tmp_path / str(i)
        shutil.copytree(trained, run)
        (run / "config.yaml").write_text(edited(text, changes))
        argv = ["mode=predict", f"checkpoint={run}", "input=in.txt"]
        code, told = server.run(argv, tmp_path, fresh=i % 10 == 1)
        assert "Traceback" not in told
        assert code == 0 or (code == 2 and told.startswith("seqtrain: ")), f"{code}: {told}"
        codes.append(code)
    print(f"configurations as processes: {codes.count(0)} used, {codes.count(2)} refused, 0 lost")


# ---------------------------------------------------------------------------------------------------- data

FILES = {
    **{"sentiment": "labelled.csv", "translation": "pairs.tsv", "generation": "text.txt", "forecasting": "series.csv"},
    **{"tagging": "tagged.conll", "tunes": "tunes.abc", "music": "scores/00.mid"},
    **{"speech": "recordings/00.wav", "captioning": "handwriting/00.png"},
}
DATA = {
    **{"sentiment": "labelled", "translation": "pairs", "generation": "text", "forecasting": "series"},
    **{"tagging": "tagged", "tunes": "abc", "music": "scores", "speech": "recordings", "captioning": "pictures"},
}
TABLES = {"speech": "path,text\n{name},one\n", "captioning": "picture,caption\n{name},a one\n"}  # that name the file
BYTES = st.sampled_from(
    [
        b"",
        b"\0",
        b"\xff",
        b"\n",
        b"\r",
        b"\t",
        b",",
        b'"',
        b"nan",
        b"-",
        b"1e999",
        b"\xef\xbb\xbf",
        b"2024-13-45",
        b"\n" * 9,
    ]
)


@st.composite
def cuts(draw: st.DrawFn) -> list[tuple[int, int, bytes]]:
    """Stretches of a file that are replaced."""
    return draw(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 60), BYTES), min_size=1, max_size=4))


def replaced(content: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for place, size, new in changes:
        start = place % (len(content) + 1)
        stop = start + (size if size < 59 else len(content))
        content = content[:start] + new + content[stop:]
    return content


def mutated(place: Path, name: str, changes: list[tuple[int, int, bytes]]) -> dict[str, str]:
    """Writes a file that was changed, and settings of data that read it; a single record is all of each split."""
    file = place / Path(FILES[name]).name
    file.write_bytes(replaced((OWN / FILES[name]).read_bytes(), changes))
    if name in TABLES:
        table = file.with_suffix(".csv")
        table.write_text(TABLES[name].format(name=file.name))
        file = table
    splits = ("train", "valid", "test") if name in TABLES or name == "music" else ("train",)
    return dict.fromkeys(splits, str(file))


def test_mutated_data(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    outcomes, told = Counter[str](), []

    @examples(request, 500, 30)
    @given(st.sampled_from(sorted(FILES)), cuts())
    def check(name: str, changes: list[tuple[int, int, bytes]]) -> None:
        files = {f"data__{split}": file for split, file in mutated(tmp_path, name, changes).items()}
        cfg = tiny.config(name, {"data": DATA[name]}, **files)
        try:
            parts = Assembly(cfg)
            task, records = parts.task, parts.records
            task.report(records)
            for split, found in records.items():
                next(Loader.of(task.examples(found), Batching(4, None), 0 if split == "train" else None).epoch(), None)
            outcomes[f"{name} read"] += 1
        except UserError as error:
            outcomes[f"{name} refused"] += 1
            told.append(str(error))

    check()
    assert all(10 < len(text) < 3000 for text in told)
    print("data:", ", ".join(f"{count} {what}" for what, count in sorted(outcomes.items())))


def test_mutated_data_as_processes(tmp_path: Path, server: Server, scale: int) -> None:
    codes = []
    found = draws(st.tuples(st.sampled_from(sorted(FILES)), cuts()), (1, 30)[scale])
    for i, (name, changes) in enumerate(found):
        (tmp_path / str(i)).mkdir()
        files = mutated(tmp_path / str(i), name, changes)
        data = [f"data={DATA[name]}", *(f"data.{split}={file}" for split, file in files.items())]
        data += ["data.id=shop", "data.known=[holiday]"] if name == "forecasting" else []
        own = [word for word in OF_TASK[name] if not word.startswith("data")]
        argv = [*words(name, tmp_path / f"run-{i}", "trainer.max_steps=2"), *own, *data]
        argv = [
            word
            for n, word in enumerate(argv)
            if word.partition("=")[0] not in {w.partition("=")[0] for w in argv[n + 1 :]}
        ]
        argv = [word for word in argv if not word.startswith("data.") or word in data]
        code, told = server.run(argv, tmp_path, fresh=i % 10 == 1)
        assert "Traceback" not in told, told
        assert code == 0 or (code == 2 and "seqtrain: " in told), f"{code}: {told}"
        codes.append(code)
    print(f"data as processes: {codes.count(0)} trained, {codes.count(2)} refused, 0 lost")
