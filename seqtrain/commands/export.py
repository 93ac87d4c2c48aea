"""mode=export: a trained model as a folder of programs, which run without seqtrain and without its code."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seqtrain.commands.assembly import Config
from seqtrain.commands.loaded import Loaded
from seqtrain.commands.modes import EXPORTED
from seqtrain.config import UserError, expanded
from seqtrain.contract import Batch, Free
from seqtrain.engine.recorder import line
from seqtrain.machine import onnx
from seqtrain.machine.programs import Scores, Start, Step, program
from seqtrain.models.base import Generator
from seqtrain.reading.lines import one_line, unescaped
from seqtrain.storage.disk import Folder
from seqtrain.trees import leaves, tensors

log = logging.getLogger(__name__)
CHECKED = 200  # lines whose answers are compared
CLOSE = 1e-3  # scores of a program and of the model may differ by so much, as they add up in another order
ENDINGS = {"onnx": ".onnx", "torch": ".pt2"}
RUNNER = (
    *(f"exported/{name}.py" for name in ("run", "inputs", "search", "series", "texts")),
    *("codecs/words.py", "reading/lines.py", "reading/steps.py"),
)

Made = dict[str, tuple[torch.export.ExportedProgram, nn.Module, tuple[Any, ...]]]


def export(cfg: Config, checkpoint: Path) -> None:
    """Writes the programs of a model, what is to be known beside them, and for ONNX a script that answers lines with
    them. What they answer to lines of the test split has to be what the model answers; else nothing is left."""
    kind = cfg["format"] or "onnx"
    if kind not in EXPORTED:
        raise UserError(f"format={kind}: mode=export writes {' or '.join(EXPORTED)}")
    if kind == "onnx":
        onnx.require()
    elif cfg["quantize"]:
        raise UserError("quantize=true goes with format=onnx")
    loaded = Loaded(cfg | {"device": cfg["device"] | {"kernels": "plain"}}, checkpoint)
    about = description(loaded)
    folder = new_folder(cfg["output"])
    try:
        with onnx.single_operations(loaded.model) if kind == "onnx" else nullcontext():
            made, memory = programs(loaded, examples(loaded))
        for name, (found, _, _) in made.items():
            save = onnx.save if kind == "onnx" else torch.export.save
            save(found, folder / f"{name}{ENDINGS[kind]}")
        if about is not None and kind == "onnx":
            for file in RUNNER:
                shutil.copy(str(files("seqtrain") / file), folder)
            text = json.dumps(about | {"memory": memory}, ensure_ascii=False)
            (folder / "model.json").write_text(text, encoding="utf-8")
        lines = check(loaded, folder, made, kind, about)
        (folder / "README.md").write_text(card(loaded, checkpoint, kind, about, lines), encoding="utf-8")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    for text in lines:
        log.info("%s", text)


def new_folder(name: str | None) -> Path:
    if name in (None, "-"):
        raise UserError("mode=export needs output=FOLDER, a new folder")
    folder = expanded(str(name))
    try:
        folder.mkdir()
    except FileExistsError:
        raise UserError(f"output={name}: it is there already; mode=export writes a new folder") from None
    except OSError as error:
        raise UserError(f"output={name}: {error.strerror}") from None
    return folder


def description(loaded: Loaded) -> dict[str, Any] | None:
    """What `run.py` has to know to make positions of lines, and answers of scores; None where it cannot."""
    task, decode = loaded.task, loaded.cfg["decode"]
    plain = {
        "coverage_penalty": 0,
        "min_length": 0,
        "no_repeat": 0,
        "mbr": 0,
        "repetition_penalty": 1,
        "glossary": None,
    }
    for name, value in plain.items():
        if decode[name] != value:
            without = "null" if value is None else value
            raise UserError(f"decode.{name}={decode[name]}: an exported model cannot do that; "
                            f"decode.{name}={without} leaves it out")  # fmt: skip
    sides = task.exported()
    if sides is None or task.spec.likelihood.aligns:
        return None
    search = {name: decode[name] for name in ("beam_size", "length_penalty", "temperature", "max_length")}
    return {
        "seqtrain": metadata.version("seqtrain"),
        "task": type(task).__name__,
        **dict(zip(("source", "target"), sides, strict=True)),
        "many": task.many,
        "search": search | {"seed": loaded.cfg["seed"]},
    }


# -------------------------------------------------------------------------------- the programs


def examples(loaded: Loaded) -> tuple[Batch, Batch]:
    """Two batches of the test split, of two short and of four long sources: sizes that differ become free."""
    asked = loaded.task.asked(loaded.records["test"][:CHECKED])
    order = np.argsort(asked.sizes[:, 0], kind="stable")
    return asked.batch(order[:2]), asked.batch(order[-4:])


@torch.no_grad()
def programs(loaded: Loaded, batches: tuple[Batch, Batch]) -> tuple[Made, int]:
    """The programs, and of how many tensors the memory of a source is made.

    Of a model that writes step by step: "start" (source, lengths -> memory, state), if it has a source, and "step"
    (items, state, memory -> scores, state), with "first" for a first step that finds another state, or none. Of others
    "model" (source, lengths -> scores)."""
    made: Made = {}
    model: Any = loaded.model

    def add(name: str, module: nn.Module, *given: tuple[Any, ...]) -> None:
        made[name] = program(module, *given), module, given[1]

    if not isinstance(model, Generator) or not isinstance(model.spec.form, Free):
        given = ((batch.source, batch.source_lengths, batch.inputs) for batch in batches)
        add("model", Scores(model, loaded.task.calibrated), *given)
        return made, 0
    sources = [(batch.source, batch.source_lengths) for batch in batches]
    if model.spec.source is not None:
        add("start", Start(model), *sources)
    # what a program keeps may have another size than what the model keeps, which takes room in blocks
    start = made["start"][0].module() if made else model.start
    started = [start(*source) for source in sources]
    kept = len(tensors(started[0][0]))
    inputs = [batch.inputs[:, :1] for batch in batches if batch.inputs is not None]
    firsts = [(x, state, memory) for x, (memory, state) in zip(inputs, started, strict=True)]
    after = [model.step(*first)[1] for first in firsts]
    if shapes(after[0]) == shapes(started[0][1]):
        add("step", Step(model), *firsts)
        return made, kept
    longer = [(torch.cat([x] * size, 1), state, memory) for size, (x, state, memory) in enumerate(firsts, 2)]
    add("first", Step(model), *longer)
    first = made["first"][0].module()
    steps = [(x, first(*given)[1], given[2]) for x, given in zip(inputs, longer, strict=True)]
    add("step", Step(model), *steps)
    return made, kept


def shapes(tree: Any) -> list[Any]:
    return [leaf.shape[1:] if isinstance(leaf, Tensor) else leaf for leaf in leaves(tree)]


# -------------------------------------------------------------------------------- whether they are right


def check(loaded: Loaded, folder: Path, made: Made, kind: str, about: dict[str, Any] | None) -> list[str]:
    """Compares the programs with the model, but for states of another size, and the lines that `run.py` writes with
    those of mode=predict."""
    worst = 0.0
    for name, (_, module, given) in made.items():
        file = folder / f"{name}{ENDINGS[kind]}"
        with torch.no_grad():
            wanted = tensors(module(*given))
            if kind == "onnx":
                outputs = onnx.run(file, tensors(given))
            else:
                outputs = tensors(torch.export.load(file).module()(*given))
        pairs = zip(outputs, wanted, strict=True)
        same = [(a.double(), b.double()) for i, (a, b) in enumerate(pairs) if i == 0 or a.shape == b.shape]
        worst = max([worst, *(float((a - b).abs().max()) for a, b in same if b.numel())])
    if worst > CLOSE:
        raise UserError(f"the exported programs differ from the model by {worst:.2g}, and nothing was written")
    told = [f"{', '.join(made)}: the scores are those of the model, the largest difference {worst:.1g}"]
    if about is None or kind != "onnx":
        return told
    lines, greedy = loaded.task.lines(loaded.records["test"], CHECKED), {"temperature": 0.0}
    if isinstance(loaded.task.form, Free):
        loaded.cfg["decode"] |= greedy  # samples cannot be compared
    wanted, answers = loaded.predict(lines), onnx.answers(folder, lines, greedy)
    differing = [i for i, pair in enumerate(zip(answers, wanted, strict=True)) if not same_answer(*pair)]
    if differing:
        i = differing[0]
        raise UserError(
            f"{len(differing)} of {len(lines)} answers differ from those of mode=predict, and nothing was written: "
            f"{lines[i][:60]!r}: {answers[i]!r}, not {one_line(wanted[i])!r}"
        )
    told.append(f"{len(lines)} of {len(lines)} answers are those of mode=predict")
    if loaded.cfg["quantize"]:
        for name in made:
            onnx.shrink(folder / f"{name}.onnx")
        told.append(quality(loaded, lines, onnx.answers(folder, lines, greedy), wanted))
    return told


def quality(loaded: Loaded, lines: Sequence[str], answers: Sequence[str], before: Sequence[Any]) -> str:
    """What eight bits change: how many answers, and the metrics of the task. answers: lines."""
    task, records = loaded.task, loaded.records["test"][: len(lines)]
    same = sum(map(same_answer, answers, before))
    told = f"eight bits: {same} of {len(lines)} answers stay the same"
    if task.field != task.fields[0]:
        return told
    targets = [getattr(record, task.fields[1]) for record in records]
    was, now = (line(task.compare(some, targets)) for some in (before, [unescaped(answer) for answer in answers]))
    return f"{told}; on these lines {was}, now {now}"


def same_answer(written: str, answer: Any) -> bool:
    """Whether a line is what mode=predict writes for an answer; numbers may differ a little."""
    if isinstance(answer, str):
        return written == one_line(answer)
    return bool(np.allclose(np.array(json.loads(written), float), np.array(answer, float), rtol=1e-4, atol=1e-4))


def card(loaded: Loaded, run: Path, kind: str, about: dict[str, Any] | None, checked: Sequence[str]) -> str:
    """The model card: what it is, how well it does, and how to use it."""
    model, cfg = loaded.model, loaded.cfg
    names = {axis: str(cfg[axis].get("_target_")).rpartition(".")[2] for axis in ("task", "model", "backbone", "data")}
    parameters = sum(parameter.numel() for parameter in model.parameters())
    lines = [f"# {names['model']} of seqtrain", "", f"- task: {names['task']}, data: {names['data']}"]
    lines += [f"- model: {names['model']}, backbone: {names['backbone']}, {parameters:,} parameters"]
    with suppress(
        OSError, ValueError, TypeError, LookupError, AttributeError
    ):  # it may be a stranger's, or not be there
        scores = json.loads(Folder(run).read("metrics.json", limit=2**24))
        lines += [f"- {split}: {line(scores[split])}" for split in ("valid", "test") if scores.get(split)]
    lines += [f"- seqtrain {metadata.version('seqtrain')}, torch {torch.__version__}", ""]
    if kind == "torch":
        lines += ["`torch.export.load(FILE).module()` is a function of tensors; torch alone is needed.", ""]
    elif about is None:
        lines += ["Each file is a program for onnxruntime, of arrays: what this model reads is no line of text.", ""]
    else:
        lines += ["`python run.py < lines.txt` answers each line; `--help` says what it needs.", ""]
    return "\n".join([*lines, "Checked when it was made:", "", *(f"- {text}" for text in checked), ""])
