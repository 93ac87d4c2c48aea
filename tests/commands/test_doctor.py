from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from seqtrain.backbones import recurrent
from seqtrain.commands import doctor
from seqtrain.engine import job
from seqtrain.machine import kernels as machine_kernels
from seqtrain.machine import threads
from seqtrain.models.base import Generator


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch):
    """A busy machine changes no verdict of these tests."""
    monkeypatch.setattr(doctor, "SECONDS", float("inf"))


def examine(capsys: pytest.CaptureFixture[str], cfg: dict[str, Any]) -> tuple[bool, dict[str, str]]:
    """Whether all is well, and the lines by what they are about."""
    well = doctor.doctor(cfg)
    lines = capsys.readouterr().out.splitlines()
    return well, {line[9:41].strip(): line for line in lines}


@pytest.mark.parametrize("task", tiny.TASKS)
def test_a_sound_configuration_is_well(task: str, capsys: pytest.CaptureFixture[str]):
    well, found = examine(capsys, tiny.config(task))
    assert well, "\n".join(found.values())
    assert {"threads", "free disk", "padding", "cut of a batch", "one batch by heart", "write, kill, resume"} <= set(
        found
    )
    assert all(line.startswith("ok ") for line in found.values())


def ill(capsys: pytest.CaptureFixture[str], **changes: Any) -> list[str]:
    well, found = examine(capsys, tiny.config("translation", **changes))
    bad = [what for what, line in found.items() if line.startswith("NOT OK")]
    assert well == (not bad)
    return bad


def test_a_model_that_reads_padding_is_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def careless(lengths: torch.Tensor, width: int) -> torch.Tensor:
        return torch.arange(width).flip(0).expand(len(lengths), -1)

    monkeypatch.setattr(recurrent, "reversal", careless)
    assert "padding" in ill(capsys)


def test_a_step_unlike_the_whole_is_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    run = recurrent.Recurrent.run

    def forgetful(self: Any, layer: Any, x: torch.Tensor, state: Any) -> Any:
        return run(self, layer, x, None if x.size(1) == 1 else state)

    monkeypatch.setattr(recurrent.Recurrent, "run", forgetful)
    assert "forward against step" in ill(capsys)


def test_a_model_that_does_not_learn_is_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    forward = Generator.forward

    def stuck(self: Any, *given: Any) -> Any:
        output = forward(self, *given)
        return output._replace(scores=output.scores * 1e-3)

    monkeypatch.setattr(Generator, "forward", stuck)
    assert "one batch by heart" in ill(capsys)


def test_a_model_that_learns_slowly_is_not_blamed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "SECONDS", 0)
    ((_, fine, found),) = doctor.by_heart(doctor.Patient(tiny.config("translation")))
    assert fine
    assert "in 2 steps, all that 0 s had room for" in found


def test_more_threads_than_cores_and_too_little_room_are_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(doctor, "granted", lambda: threads.granted() - threads.granted())
    monkeypatch.setattr(doctor, "NEEDED", 1e12)
    found = ill(capsys)
    assert {"threads", "free disk"} <= set(found)


def test_a_resumption_that_forgets_is_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(job, "set_random_state", lambda *_: torch.manual_seed(-1))
    assert "write, kill, resume" in ill(capsys, model__dropout=0.5)


def test_kernels_are_shown_with_the_times_of_their_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEQTRAIN_CACHE", str(tmp_path))
    monkeypatch.setattr(machine_kernels, "cached_value", lambda key, make: ("cell", {"layer": 2.0, "cell": 0.5}))
    (_, _, count), *lines = doctor.kernels(doctor.Patient(tiny.config("translation")))
    assert count == f"{len(lines)} of {len(lines)} choices by trial, kept in {tmp_path}"
    steps = [line for _, fine, line in lines if fine and line.startswith("LSTM 8 to 8, 64 rows, float32: step: ")]
    assert [line.rpartition("step: ")[2] for line in steps] == ["cell (layer 2 ms, cell 0.5 ms)"]


def test_kernels_that_were_not_tried_are_said_to_be(monkeypatch: pytest.MonkeyPatch):
    (_, _, count), *lines = doctor.kernels(doctor.Patient(tiny.config("translation")))
    assert count.startswith("0 of ")
    assert all(line.endswith(" (not tried)") for _, _, line in lines)
    (plain,) = doctor.kernels(doctor.Patient(tiny.config("translation", device__kernels="plain")))
    assert plain == ("", True, "those of torch (device=cpu, device.kernels=plain)")
