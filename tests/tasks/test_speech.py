"""Speech from recordings to texts: training that resumes exactly though examples change, and predictions from files."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from small import read

from seqtrain.commands import inputs, predict, run_folder, train
from seqtrain.commands.loaded import load
from seqtrain.config import UserError, build
from seqtrain.data.recordings import Recordings
from seqtrain.engine.checkpoint import Checkpoints
from seqtrain.evaluation import metrics

SHORT = {"trainer__max_steps": 4, "trainer__eval_every": 4}
AXES = {"data": "recordings", "schedule": "constant"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("speech") / "run"
    with tiny.no_figures():
        tiny.train(place, "speech", AXES, **SHORT)
    return place


def test_a_resumed_run_sees_the_very_changes_that_an_uninterrupted_one_sees(run: Path, tmp_path: Path):
    with tiny.no_figures():
        cfg = tiny.start(tmp_path / "cut", "speech", AXES, **SHORT | {"trainer__max_steps": 2})
        train.train(cfg, tmp_path / "cut")
        torch.manual_seed(99)
        cfg["trainer"]["max_steps"] = 4
        train.train(cfg, tmp_path / "cut", resume=True)
    whole, cut = (Checkpoints(place).load("last").training["weights"] for place in (run, tmp_path / "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_files_are_answered_as_records_are(run: Path):
    loaded = load(run)
    name = str(tiny.OWN / "recordings" / "03.wav")
    answer = loaded.predict([name], details=True)[0]
    assert answer["input"] == name
    record = Recordings.record(name, "three")
    examples = loaded.task.examples([record])
    found = loaded.task.answer(loaded.model, examples.batch(np.arange(1)), [record], loaded.decoder)
    assert found[0]["output"] == answer["output"]


def test_a_file_that_is_none_is_named_by_its_line(run: Path, tmp_path: Path):
    (tmp_path / "paths.txt").write_text(f"{tiny.OWN}/recordings/03.wav\nnone.wav\n")
    with pytest.raises(UserError, match=r"input, line 2: sound=none\.wav: there is no such file"):
        load(run).predict([f"{tiny.OWN}/recordings/03.wav", "none.wav"])


def answered(run: Path, monkeypatch: pytest.MonkeyPatch, piped: bytes = b"", **how: str) -> list[str]:
    """What mode=predict writes of an input, which may be piped in."""
    cfg = run_folder.read_config(run) | {"overwrite": True, "output": str(run.parent / "out.txt")} | how
    read, write = os.pipe()
    os.write(write, piped)
    os.close(write)
    monkeypatch.setattr(inputs, "standard_input", lambda: read)
    predict.predict(cfg, run)
    os.close(read)
    return (run.parent / "out.txt").read_text().splitlines()


def test_paths_are_looked_for_beside_the_input_and_recordings_come_in_themselves(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    names = [f"recordings/{number:02}.wav" for number in range(3)]
    (tmp_path / "lines").write_text("\n".join(names))
    (tmp_path / "table.csv").write_text("path,note\n" + "\n".join(f"{name},x" for name in names))
    (tmp_path / "objects.jsonl").write_text("\n".join(f'{{"path": "{name}"}}' for name in names))
    (tmp_path / "recordings").symlink_to(tiny.OWN / "recordings")
    expected = load(run).predict([str(tmp_path / name) for name in names])
    for name in ("lines", "table.csv", "objects.jsonl"):
        assert answered(run, monkeypatch, input=str(tmp_path / name), format="text") == expected
    monkeypatch.chdir(tmp_path)
    assert answered(run, monkeypatch, "\n".join(names).encode(), input="-") == expected
    assert answered(run, monkeypatch, Path(names[1]).read_bytes(), input="-") == expected[1:2]
    assert answered(run, monkeypatch, input=names[1]) == expected[1:2]
    (run.parent / "out.txt").unlink()
    with pytest.raises(UserError, match=r"input, line 1: standard input: cut off"):
        answered(run, monkeypatch, Path(names[1]).read_bytes()[:-200], input="-")
    assert not (run.parent / "out.txt").exists()


def test_missing_and_broken_files_of_a_table_are_named_a_line_each(tmp_path: Path):
    shutil.copytree(tiny.OWN / "recordings", tmp_path / "recordings")
    shutil.copy(tiny.OWN / "recordings.csv", tmp_path)
    own = read("data", "recordings") | {"train": str(tmp_path / "recordings.csv")}
    for number in ("04", "07"):
        (tmp_path / "recordings" / f"{number}.wav").unlink()
    with pytest.raises(UserError) as caught:
        build(own)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert "recordings.csv, line 6: " in lines[0]
    assert "04.wav: No such file" in lines[0]
    for number in ("04", "07"):
        whole = (tiny.OWN / "recordings" / f"{number}.wav").read_bytes()
        (tmp_path / "recordings" / f"{number}.wav").write_bytes(whole[: len(whole) // 2])
    cfg = tiny.config("speech", {"data": "recordings"}, data__train=own["train"])
    with pytest.raises(UserError, match=r"0[47]\.wav: cut off.*") as caught:
        tiny.job(cfg)
    assert len(str(caught.value).splitlines()) in (1, 2)


def test_what_changes_in_a_file_changes_the_key(tmp_path: Path):
    shutil.copytree(tiny.OWN / "recordings", tmp_path / "recordings")
    shutil.copy(tiny.OWN / "recordings.csv", tmp_path)
    own = read("data", "recordings") | {"train": str(tmp_path / "recordings.csv")}
    before = {split: records.key for split, records in build(own).splits.items()}
    shutil.copy(tmp_path / "recordings" / "02.wav", tmp_path / "recordings" / "03.wav")
    after = {split: records.key for split, records in build(own).splits.items()}
    assert sum(before[split] != after[split] for split in before) == 1


def test_error_rates_are_those_counted_by_hand():
    found = metrics.transcription(["one two", "", "five"], ["one three two", "four", "five"])()
    assert found["wer"] == pytest.approx(2 / 5)
    assert found["cer"] == pytest.approx((6 + 4) / (13 + 4 + 4))
    assert found["exact_match"] == pytest.approx(1 / 3)
    jiwer = pytest.importorskip("jiwer")
    random = np.random.default_rng(0)
    texts = [[" ".join(random.choice(list("abc"), random.integers(1, 9))) for _ in range(30)] for _ in range(2)]
    found = metrics.transcription(*texts)()
    assert found["wer"] == pytest.approx(jiwer.wer(texts[1], texts[0]))
    assert found["cer"] == pytest.approx(jiwer.cer(texts[1], texts[0]))
