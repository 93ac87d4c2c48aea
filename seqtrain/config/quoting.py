"""Command lines for messages, quoted so that they work when the user pastes them."""

import re
import shlex
from collections.abc import Mapping
from typing import Any


def command(**settings: Any) -> str:
    """Returns the command line of seqtrain with these settings."""
    return " ".join(["seqtrain", *(typed(key, value) for key, value in settings.items())])


def resume_command(folder: object, device: Mapping[str, Any]) -> str:
    """Returns the command that resumes a run, with the settings of the section `device` that are not the default: a run
    folder does not keep them, and only the same device gives the same bits."""
    defaults = {"threads": None, "processes": 1, "shard": False, "gradients": "float32"}
    changed = {"device": device["name"]} if device["name"] != "auto" else {}
    changed |= {f"device.{key}": device[key] for key, default in defaults.items() if device[key] != default}
    return command(resume=folder, **changed)


def typed(key: str, value: Any) -> str:
    """Returns `key=value`, quoted where Hydra's grammar or the shell needs it."""
    return shlex.quote(f"{key}={in_hydra(value)}")


def in_hydra(value: Any) -> str:
    """Returns a value in Hydra's grammar. In a quoted text Hydra only treats backslashes before a quote, and at the
    end, as escapes: only those are doubled."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(in_hydra, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value)
    if isinstance(value, int | float) or is_word(text):
        return text
    doubled = re.sub(r'(\\*)("|\Z)', lambda match: match[1] * 2 + match[2].replace('"', '\\"'), text)
    return f'"{doubled}"'


def is_word(text: str) -> bool:
    """Whether Hydra reads a text without quotes as that same text."""
    from hydra.errors import HydraException

    from seqtrain.config.overrides import parse_value

    try:
        value = parse_value(text)
    except HydraException:
        return False
    return isinstance(value, str) and value == text
