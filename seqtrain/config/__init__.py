"""The errors that a user can mend, and `build`, which makes an object from a section with a `_target_`."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from seqtrain.config.quoting import typed
from seqtrain.config.spelling import did_you_mean, near


class UserError(Exception):
    """A mistake in the configuration, the data, a path or a checkpoint. The message takes one to a few lines.

    problem: the message. cure: its end where that names settings, which some commands do not have."""

    def __init__(self, problem: str = "", cure: str = ""):
        super().__init__(problem + cure)
        self.problem, self.cure = problem, cure


@contextmanager
def retold(tell: Callable[[Exception], str]) -> Iterator[None]:
    """Raises what a library raises, which may be any kind of exception, as a `UserError`. tell: makes its message."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(tell(error)) from None


class LineError(UserError):
    """A line of the input of mode=predict that cannot be read. number: its number, from 1 on."""

    def __init__(self, number: int, problem: str):
        super().__init__(f"input, line {number}: {problem}")
        self.number, self.problem = number, problem


# A configuration that is not trusted may only name classes of these modules.
AXES = ("tasks", "models", "frontends", "backbones", "likelihoods", "data", "engine.schedules", "engine.trainer")
SAFE = (*(f"seqtrain.{axis}." for axis in AXES), "torch.optim.")
Trust = bool | list[str]  # True: any code may be called; False: only SAFE; a list: SAFE and these packages


def build(node: dict[str, Any], trust: Trust = False, **extra: Any) -> Any:
    """Calls the class or function named by a node's `_target_` with the node's other keys and `extra`.

    Inner nodes are passed as they are. trust: what else than the classes in `SAFE` may be called; False for a
    configuration that came with a run folder. Raises `UserError` for a missing or unknown argument.
    """
    target = node.get("_target_")
    make = locate(target, trust)
    arguments = {key: value for key, value in node.items() if key != "_target_"} | extra
    try:
        parameters, groups = parameters_of(make)
    except ValueError:  # a builtin without a signature checks its own arguments
        return make(**arguments)
    names = [p.name for p in parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for key in arguments:
            if key not in names:
                raise UserError(f"{target} has no parameter {key}{did_you_mean(near(key, names))}")
    needed = [name for name in names if parameters[name].default is inspect.Parameter.empty and name not in arguments]
    if needed:
        raise UserError(f"{target} needs a value for {', '.join(needed)}")
    for name, group in groups.items():
        arguments[name] = group(**{f.name: arguments.pop(f.name) for f in fields(group) if f.name in arguments})
    return make(**arguments)


def parameters_of(make: Any) -> tuple[dict[str, inspect.Parameter], dict[str, Any]]:
    """What a class takes as keys of a configuration, by name: its parameters, and in place of one that is a dataclass
    the fields of that. Then these dataclasses, by the names of the parameters. Raises ValueError."""
    found, groups, module = {}, {}, sys.modules.get(make.__module__)
    for name, parameter in inspect.signature(make).parameters.items():
        hint = parameter.annotation
        group = getattr(module, hint, None) if isinstance(hint, str) else hint
        if isinstance(group, type) and is_dataclass(group):
            groups[name] = group
            found |= inspect.signature(group).parameters
        else:
            found[name] = parameter
    return found, groups


def locate(target: Any, trust: Trust) -> Any:
    """Imports the class or function with a dotted name; raises `UserError` where `trust` does not allow it."""
    allowed = SAFE if isinstance(trust, bool) else (*SAFE, *(f"{package}." for package in trust))
    if not isinstance(target, str):
        raise UserError(f"_target_ {in_brief(target)}: expected the dotted name of a class")
    module, _, name = target.rpartition(".")
    if trust is not True and not target.startswith(allowed):
        raise UserError(
            f"_target_ {in_brief(target)}: this configuration came with a run folder, and it names code outside "
            f"seqtrain; if you know the folder, add {typed('trust', [in_brief(target.partition('.')[0])])}"
        )
    try:
        target_object = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UserError(f"_target_ {in_brief(target)}: it cannot be imported ({in_brief(error)})") from error
    if trust is True:
        valid, kind = callable(target_object), "a class or a function"
    else:  # a module may import classes of other modules: it must be defined where that is allowed
        defined_in = f"{getattr(target_object, '__module__', '')}."
        valid, kind = isinstance(target_object, type) and defined_in.startswith(allowed), "a class"
    if not valid:
        raise UserError(f"_target_ {in_brief(target)}: it must be {kind} of that module")
    return target_object


def in_brief(value: object, max_length: int = 200) -> str:
    """Returns a value as one line of text, cut after `max_length` characters, for a message."""
    text = " ".join(str(value).split())
    return text if len(text) <= max_length else f"{text[:max_length]}…"


def expanded(name: str) -> Path:
    """Returns a path with its ~ replaced by the user's home folder, where there is one.

    Ask os.path.exists(path) instead of path.exists(), which raises an error for a name too long for any file.
    """
    return Path(os.path.expanduser(name))


def near_path(path: Path) -> list[str]:
    """Returns the existing path that is spelled most like one that does not exist, if any is similar: a list of 0 or 1,
    for `did_you_mean`. Where several parts of the path do not exist, the first of them is compared."""
    while not os.path.isdir(path.parent):
        path = path.parent
    try:
        names = os.listdir(path.parent)
    except OSError:
        return []
    stems = {Path(name).stem: name for name in names}  # endings alike make no names alike
    return [str(path.parent / stems[stem]) for stem in near(path.stem, stems)]
