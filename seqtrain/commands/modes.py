"""What seqtrain can do: a row for each mode. A new mode is a row here, its word in the comment of `mode` in
configs/config.yaml, and a file of its name beside this one with a function of its name."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from seqtrain.config.compose import Mistakes
from seqtrain.config.quoting import typed
from seqtrain.machine.signals import importing


class Mode(NamedTuple):
    """about: what it does, for `seqtrain --help`. needs: the settings without which it cannot run. takes: those that it
    can do without; both with an example; modes that neither need nor take them refuse them. swaps: the axes that may
    have another option than in the configuration of its run folder."""

    about: str
    needs: Mapping[str, str] = {}
    takes: Mapping[str, str] = {}
    swaps: tuple[str, ...] = ()


RUN, INPUT = {"checkpoint": "RUN"}, {"input": "FILE"}
TOGETHER = ("evaluate", "predict", "score", "serve")  # modes that use an ensemble as they use a model
EXAMPLES = {  # what the examples stand for
    "RUN": ", the folder of a run (outputs/...)",
    "FILE": "; input=- reads standard input",
    "[A,B]": ", two runs, or two lists of runs",
}
EXPORTED = ("onnx", "torch")  # formats of mode=export; the others are of tables and lines
MODES = {
    "train": Mode("train", swaps=("device",)),
    "evaluate": Mode("score a trained run", needs=RUN, swaps=("device", "data")),
    "predict": Mode("use it; - is standard input", needs=RUN | INPUT, swaps=("device",)),
    "score": Mode("how probable given outputs are", needs=RUN | INPUT, swaps=("device",)),
    "serve": Mode("a web page and an API for it", needs=RUN, swaps=("device",)),
    "export": Mode("write its programs, for ONNX or torch", needs=RUN, swaps=("data",)),
    "inspect": Mode("report on the data, without training"),
    "compare": Mode("two runs: settings, scores, significance", needs={"runs": "[A,B]"}, swaps=("device", "data")),
    "runs": Mode("a table of the runs below a folder", takes={"runs": "FOLDER"}),
    "replay": Mode("find the layer that made the loss NaN", needs=RUN, swaps=("device",)),
    "doctor": Mode("check this machine and a configuration"),
}


def function(mode: str) -> Callable[..., Any]:
    """Imports the function of a mode. It takes a configuration and, where the mode needs one, a run folder, or several
    with their configurations; it returns False where it has found problems."""
    with importing():
        return getattr(importlib.import_module(f"seqtrain.commands.{mode}"), mode)


def check(config: dict[str, Any], sweeps: bool) -> None:
    """Raises `Mistakes` for settings that do not go with the mode. sweeps: whether the command is a sweep."""
    found = problems(config)
    if sweeps and config["mode"] != "train":
        found.append(f"--multirun trains new runs; it does not go with mode={config['mode']}")
    if not sweeps and config["jobs"] != 1:
        found.append(f"jobs={config['jobs']} goes with a sweep: add -m, or leave it out; device.processes shares out "
                     "one run")  # fmt: skip
    if found:
        raise Mistakes(found)


def problems(config: dict[str, Any]) -> list[str]:
    """Returns a message for each setting that the mode lacks, or that it does not use."""
    mode, resume, checkpoint = config["mode"], config["resume"], config["checkpoint"]
    if resume is not None and checkpoint is not None:
        return ["resume and checkpoint: give one; resume goes on training, checkpoint evaluates or predicts"]
    if resume is not None and mode != "train":
        return [f"resume goes on training; for mode={mode} write {typed('checkpoint', resume)}"]
    found = []
    if config["init"] is not None and mode != "train" and checkpoint is None:
        found.append(f"init begins a new training; with mode={mode} leave it out")
    if config["refit"] and config["init"] is None:
        found.append("refit=true goes with init=RUN, the run that a new training begins from")
    for key, exports in {"format": config["format"] in EXPORTED, "quantize": config["quantize"]}.items():
        if exports and mode != "export":
            found.append(f"{key}={str(config[key]).lower()} goes with mode=export; with mode={mode} leave it out")
    if mode == "train" and (config.get("decode") or {}).get("glossary") is not None:
        found.append("decode.glossary goes with a run that is trained: leave it out here")
    if isinstance(checkpoint, list) and mode not in TOGETHER:
        several = " or ".join(f"mode={name}" for name in TOGETHER)
        found.append(f"checkpoint: several runs answer together with {several}; with mode={mode} give one")
    row = MODES[mode]
    for key in ("checkpoint", "input", "runs"):
        users = [f"mode={name}" for name, other in MODES.items() if key in {**other.needs, **other.takes}]
        if key in row.needs and config[key] in (None, []):
            found.append(f"mode={mode} needs {key}={row.needs[key]}{EXAMPLES[row.needs[key]]}")
        elif key not in {**row.needs, **row.takes} and config[key] is not None:
            go_on = "; to go on training write resume=" if (key, mode) == ("checkpoint", "train") else ""
            found.append(f"{key} goes with {' or '.join(users)}; with mode={mode} leave {key} out{go_on}")
    return found
