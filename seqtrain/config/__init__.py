"""User errors, the rules between settings, and building what `_target_` names."""

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

from seqtrain.config.spelling import did_you_mean, near


class UserError(Exception):
    """A mistake in the configuration, the data, a path or a checkpoint, told in one to a few lines."""


class LineError(UserError):
    """A line of the input that nothing can be predicted from; the first line is 1."""

    def __init__(self, number: int, problem: str):
        super().__init__(f"input, line {number}: {problem}")
        self.number, self.problem = number, problem


# Where the classes of a configuration from elsewhere may come from: those that an axis of the configuration is made of.
SAFE = tuple(f"seqtrain.{axis}." for axis in ("tasks", "models", "backbones", "data", "schedules", "train"))
SAFE += ("torch.optim.",)
Trust = bool | list[str]  # everything or nothing besides; or the names of packages


def build(node: dict[str, Any], trust: Trust = False, **extra: Any) -> Any:
    """Calls the class or function named by a node's `_target_` with the node's other keys and `extra`.

    Inner nodes are handed over as they are. Without `trust` (a configuration that came with a run folder) only classes
    that an axis of seqtrain or torch.optim defines are called, and those of the packages that `trust` names.
    """
    target = node.get("_target_")
    make = locate(target, trust)
    arguments = {key: value for key, value in node.items() if key != "_target_"} | extra
    try:
        parameters = inspect.signature(make).parameters.values()
    except ValueError:  # a builtin without a signature checks its own arguments
        return make(**arguments)
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for key in arguments:
            if key not in names:
                raise UserError(f"{target} has no parameter {key}{did_you_mean(near(key, names))}")
    needed = [p.name for p in parameters if p.name in names and p.default is p.empty and p.name not in arguments]
    if needed:
        raise UserError(f"{target} needs a value for {', '.join(needed)}")
    return make(**arguments)


def locate(target: Any, trust: Trust) -> Any:
    """The class or function with a dotted name."""
    allowed = SAFE if isinstance(trust, bool) else (*SAFE, *(f"{package}." for package in trust))
    if not isinstance(target, str):
        raise UserError(f"_target_ {in_brief(target)}: expected the dotted name of a class")
    module, _, name = target.rpartition(".")
    if trust is not True and not target.startswith(allowed):
        raise UserError(
            f"_target_ {in_brief(target)}: this configuration came with a run folder, and it names code outside "
            f"seqtrain; if you know the folder, add trust=[{in_brief(target.partition('.')[0])}]"
        )
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UserError(f"_target_ {in_brief(target)}: it cannot be imported ({in_brief(error)})") from error
    defined = f"{getattr(found, '__module__', '')}."
    if not callable(found) or (trust is not True and not (isinstance(found, type) and defined.startswith(allowed))):
        kind = "a class or a function" if trust is True else "a class"
        raise UserError(f"_target_ {in_brief(target)}: it must be {kind} of that module")
    return found


def in_brief(value: object) -> str:
    """A value from elsewhere, short enough for a message."""
    text = " ".join(str(value).split())
    return text if len(text) <= 200 else f"{text[:200]}…"


def check_together(config: dict[str, Any]) -> list[str]:
    """Rules between settings, each of them valid alone; every one that is broken, in words."""
    mode, problems = config["mode"], []
    if config["resume"] is not None and config["checkpoint"] is not None:
        problems.append("resume and checkpoint: give one; resume goes on training, checkpoint evaluates or predicts")
    if config["resume"] is not None and mode != "train":
        problems.append(f"resume goes on training; for mode={mode} write checkpoint={config['resume']}")
    if mode == "train" and config["checkpoint"] is not None:
        problems.append("checkpoint goes with mode=evaluate or mode=predict; to go on training write resume=")
    if mode in ("inspect", "doctor") and config["checkpoint"] is not None:
        problems.append(f"mode={mode} reports on what comes before a run: leave checkpoint out")
    if mode in ("evaluate", "predict", "replay") and config["checkpoint"] is None and config["resume"] is None:
        problems.append(f"mode={mode} needs checkpoint=RUN, the folder of a run (outputs/...)")
    if mode == "predict" and config["input"] is None:
        problems.append("mode=predict needs input=FILE; input=- reads standard input")
    if mode != "predict" and config["input"] is not None:
        problems.append(f"input goes with mode=predict, and the mode is {mode}")
    if (path := config["input"]) not in (None, "-") and not Path(path).expanduser().is_file():
        problems.append(f"input={path}: there is no such file{did_you_mean(near_path(Path(path)))}")
    if (name := config["name"]) is not None and not re.fullmatch(r"[\w.-]+", name):
        problems.append(
            f"name={name}: expected letters, digits, '.', '_' and '-' only: it becomes part of a folder's name"
        )
    trainer = config.get("trainer") or {}
    sizes = [key for key in ("batch_size", "batch_tokens") if trainer.get(key) is not None]
    if {"batch_size", "batch_tokens"} <= trainer.keys() and len(sizes) != 1:
        cure = "set one" if not sizes else "add trainer.batch_size=null or trainer.batch_tokens=null"
        state = "both are" if sizes else "neither is"
        problems.append(f"exactly one of trainer.batch_size and trainer.batch_tokens must be set, and {state}: {cure}")
    if {"epochs", "max_steps"} <= trainer.keys() and trainer["epochs"] is None and trainer["max_steps"] is None:
        problems.append("one of trainer.epochs and trainer.max_steps must be set: neither says when training ends")
    return problems


def near_path(path: Path) -> list[str]:
    """An existing neighbour of a path that does not exist, spelled most like it."""
    while not path.parent.is_dir():
        path = path.parent
    return [str(path.parent / name) for name in near(path.name, [p.name for p in path.parent.iterdir()])]
