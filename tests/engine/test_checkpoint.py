import ast
import json
import logging
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import seqtrain
from seqtrain.config import UserError
from seqtrain.engine import checkpoint
from seqtrain.engine.checkpoint import Checkpoint, Checkpoints, pack, put_weights, unpack, weights_of
from seqtrain.storage.disk import Folder


@pytest.fixture
def made(tmp_path: Path) -> Checkpoints:
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    return Checkpoints(tmp_path, keep=2)


def example(step: int) -> Checkpoint:
    return Checkpoint({"weight": torch.full((2, 3), float(step))}, {"step": step}, {"items": ["é", "b"]})


def save(checkpoints: Checkpoints, *steps: int, best: int = 0) -> None:
    for step in steps:
        checkpoints.save(step, example(step), step == best)


def names(checkpoints: Checkpoints) -> list[str]:
    return sorted(path.name for path in checkpoints.folder.iterdir())


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_unpack_is_the_reverse_of_pack():
    tree: dict[Any, Any] = {
        0: {"step": torch.tensor(3.0), "exp_avg": torch.arange(6.0).view(2, 3)},
        "groups": [{"lr": 1e-3, "betas": (0.9, 0.98), "fused": None, "flag": True}, {}],
        "state": ((torch.zeros(1, 2), torch.ones(2)), None, ()),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "large": 2**70,
        "float": 0.1 + 0.2,
        "infinite": -math.inf,
        "text": "ü",
    }
    plain, tensors = pack(tree)
    found = unpack(plain, tensors)

    def same(a: Any, b: Any) -> None:
        assert type(a) is type(b)
        if isinstance(a, torch.Tensor):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)
        elif isinstance(a, dict):
            assert list(a) == list(b)
            same(list(a.values()), list(b.values()))
        elif isinstance(a, list | tuple):
            assert len(a) == len(b)
            for one, other in zip(a, b, strict=True):
                same(one, other)
        else:
            assert a == b

    same(found, tree)


def test_a_transposed_or_shared_tensor_is_kept_as_it_is(made: Checkpoints):
    weight = torch.arange(6.0).view(2, 3).T
    made.save(1, Checkpoint({"weight": weight}, {"a": weight, "b": weight[0]}, {}), best=True)
    found = made.load("last")
    assert torch.equal(found.weights["weight"], weight)
    assert torch.equal(found.training["a"], weight)
    assert torch.equal(found.training["b"], weight[0])


def test_the_newest_and_the_best_stay(made: Checkpoints):
    save(made, 1, 2, 3, 10, best=2)
    assert names(made) == ["best", "last", "step-10", "step-2", "step-3"]
    assert made.load("best").training == {"step": 2}
    assert made.load("last").training == {"step": 10}
    assert made.load("last").task == {"items": ["é", "b"]}
    assert (made.folder / "last").read_text() == "step-10\n"


def test_saving_a_step_again_replaces_it(made: Checkpoints):
    save(made, 1, 2, best=2)
    made.save(2, example(7), best=False)
    assert names(made) == ["best", "last", "step-1", "step-2.2"]
    assert made.load("last").training == {"step": 7}
    assert made.load("best").training == {"step": 7}


def test_what_was_just_saved_stays_beside_a_newer_one(made: Checkpoints):
    save(made, 10, 20, 30)
    made.keep = 1
    made.save(15, example(15), best=False)
    assert made.load("last").training == {"step": 15}


@pytest.mark.parametrize(
    "file", ["model.safetensors", "training.safetensors", "training.json", "task.json", "config.yaml", "checksums.json"]
)
@pytest.mark.parametrize("damage", [flip, Path.unlink, lambda file: file.write_bytes(b"")])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    made: Checkpoints, file: str, damage: Any, caplog: pytest.LogCaptureFixture
):
    save(made, 1, 2)
    damage(made.folder / "step-2" / file)
    assert made.load("last").training == {"step": 1}
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "step-2: damaged" in record.message


def test_nothing_left_is_a_user_error(made: Checkpoints):
    save(made, 1)
    flip(made.folder / "step-1" / "model.safetensors")
    with pytest.raises(UserError, match=r"no whole checkpoint in it \(model.safetensors differs from its checksum\)"):
        made.load("last")


def test_a_checkpoint_names_the_versions_it_was_made_with(made: Checkpoints):
    save(made, 1)
    manifest = json.loads((made.folder / "step-1" / "checksums.json").read_text())
    assert manifest["versions"]["torch"] == torch.__version__
    assert {"python", "seqtrain", "numpy"} <= manifest["versions"].keys()


def test_another_format_is_refused(made: Checkpoints, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    save(made, 1)
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"format 2, of seqtrain .*; this version reads 1"):
        made.load("last")


@pytest.mark.parametrize("moment", range(1, 10))
def test_a_kill_at_any_moment_leaves_whole_checkpoints(made: Checkpoints, moment: int, monkeypatch: pytest.MonkeyPatch):
    """Killed before the n-th file is written (the step has six, the pointers one each)."""
    save(made, 1, 2, best=1)
    count = 0

    def write(files: Folder, name: str, content: bytes) -> None:
        nonlocal count
        count += 1
        if count == moment:
            (files.path / name).write_bytes(content[: len(content) // 2])
            raise KeyboardInterrupt
        original(files, name, content)

    original = Folder.write
    monkeypatch.setattr(Folder, "write", write)
    if moment < 9:
        with pytest.raises(KeyboardInterrupt):
            save(made, 3, best=3)
    else:
        save(made, 3, best=3)
    monkeypatch.undo()
    for name in made.steps():
        made.read(name)
    assert {made.named("last"), made.named("best")} <= set(made.steps())
    made.clean()
    assert not [name for name in names(made) if name.startswith(".")]
    assert made.load("last").training == {"step": 3 if moment > 8 else 2}
    assert made.load("best").training == {"step": 3 if moment > 7 else 1}
    save(made, 3, 4, best=4)  # and what was left over does not stand in the way
    assert made.load("best").training == {"step": 4}


def test_put_weights_wants_the_same_shape():
    source, model = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    put_weights(model, weights_of(source))
    assert torch.equal(model.weight, source.weight)
    with pytest.raises(ValueError, match=r"expected weight of shape \(4, 2\) of torch.float32, found \(3, 2\)"):
        put_weights(torch.nn.Linear(2, 4), weights_of(source))
    with pytest.raises(ValueError, match=r"expected bias of shape \(3,\) of torch.float32, found nothing"):
        put_weights(model, {"weight": source.weight})


def test_nothing_in_the_package_unpickles():
    """A checkpoint from elsewhere cannot run code: no torch.load, no pickle, no np.load. The launcher of processes
    unpickles what it has written itself into a folder of its user, and numbers that come with the package are loaded,
    without pickles."""
    package = Path(seqtrain.__path__[0])
    for file in set(package.rglob("*.py")) - {package / "engine" / "processes.py", package / "data" / "pen_digits.py"}:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = [getattr(node, "module", "") or "", *(alias.name for alias in node.names)]
                assert not {"pickle", "dill", "joblib", "shelve", "marshal"} & set(modules), file
            if isinstance(node, ast.Attribute) and node.attr == "load" and isinstance(node.value, ast.Name):
                assert node.value.id not in ("torch", "np", "numpy"), f"{file}:{node.lineno}"


def test_a_checkpoint_can_be_moved(made: Checkpoints, tmp_path: Path):
    save(made, 1, best=1)
    shutil.copytree(made.run, tmp_path / "elsewhere", ignore=lambda *_: ["elsewhere"])
    assert Checkpoints(tmp_path / "elsewhere").load("best").training == {"step": 1}
