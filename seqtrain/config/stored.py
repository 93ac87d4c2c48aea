"""Reads the configuration that a run folder keeps, which may come from somebody who is not trusted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from seqtrain.config import UserError, in_brief
from seqtrain.config.compose import in_short
from seqtrain.config.schema import Entry, Schema, read_entries, read_schema
from seqtrain.config.sources import Configs
from seqtrain.storage.disk import Folder

AXES = ("task", "model", "frontend", "backbone", "likelihood", "data", "optimizer", "schedule", "trainer")
OPTIONAL = ("likelihood",)  # axes that a configuration need not have
DEFAULT_TARGETS = {"frontend": "seqtrain.frontends.embedding.Embedding"}  # of axes that older runs do not name
# the sections that a run folder decides; the others come from the user. (init and refit say how it began: they are not
# followed again.)
TAKEN = ("seed", "name", "init", "refit", "decode", *AXES)
MOVED = {  # classes whose name has changed since older runs: (beginning of the) old name -> new name
    "seqtrain.train.": "seqtrain.engine.trainer.",
    "seqtrain.schedules.": "seqtrain.engine.schedules.",
    "seqtrain.tasks.sentiment.Sentiment": "seqtrain.tasks.classification.Classification",
}
REMOVED_KEYS = {"decode": ("graphs",)}  # keys of older runs that no longer exist and change no result
MAX_DEPTH = 20  # levels of a config.yaml
MAX_SIZE = 2**18  # bytes of a config.yaml


def read_stored(folder: Path, configs: Configs) -> tuple[DictConfig, Schema]:
    """Reads the configuration of a run folder, and the schema to check it with.

    Only the sections in `TAKEN` come from the folder. Their schema is that of the options of seqtrain and of the user
    whose `_target_` is the same class; a key that an older run lacks gets its default. For a class that no option names
    (an optimizer of torch, or a class of a package that the user has to trust) the folder itself gives the schema.
    """
    file = folder / "config.yaml"
    try:
        text = check_yaml(Folder(folder).read("config.yaml", MAX_SIZE).decode())
        stored: Any = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
        stored_schema = read_schema(file, text)
        config = {name: stored[name] for name in TAKEN if name in stored}
        for section, keys in REMOVED_KEYS.items():
            for key in keys:
                if isinstance(config.get(section), dict):
                    config[section].pop(key, None)
        for axis in AXES:
            if isinstance(section := config.get(axis), dict) and "_target_" in section:
                section["_target_"] = current_name(section["_target_"])
    except UserError:
        raise
    except Exception as error:  # a damaged file makes a YAML reader raise any kind of exception
        raise UserError(f"{file}: the file cannot be read ({in_brief(in_short(error))})") from error
    schema = Schema()
    declare(entries_of("", configs.name, configs), config, schema)
    declare(entries_of("device.", "device/auto", configs), config, schema)
    for axis in AXES:
        if axis in DEFAULT_TARGETS:
            config.setdefault(axis, {"_target_": DEFAULT_TARGETS[axis]})
        section = config.get(axis)
        if axis in OPTIONAL and axis not in config:
            continue
        if not isinstance(section, dict):
            raise UserError(f"{file}: the section {axis} is missing; is the file cut off?")
        target = section.get("_target_")
        options = configs.options(axis)
        entries = [entry for option in options for entry in entries_if_of_class(target, axis, option, configs)]
        declare(entries, config, schema)
        if not entries:
            if str(target).startswith("seqtrain.") or (str(target).startswith("torch.") and axis != "optimizer"):
                raise UserError(f"{file}: {axis}._target_ {in_brief(target)}: no option of {axis} is of this class")
            schema.keys |= {n: key for n, key in stored_schema.keys.items() if f"{n}.".startswith(f"{axis}.")}
            schema.sections |= {n: text for n, text in stored_schema.sections.items() if f"{n}.".startswith(f"{axis}.")}
    return OmegaConf.create(config), schema


def current_name(target: Any) -> Any:
    """Returns the name that a class has today."""
    for old, new in MOVED.items():
        if str(target).startswith(old):
            return str(target).replace(old, new, 1)
    return target


def check_yaml(text: str) -> str:
    """Returns the YAML; raises ValueError where it is nested too deep or has aliases, which can expand to more than
    memory holds."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"line {event.start_mark.line + 1} has an alias, *{event.anchor}")
        if depth > MAX_DEPTH:
            raise ValueError(f"line {event.start_mark.line + 1} is nested more than {MAX_DEPTH} levels deep")
    return text


def entries_of(prefix: str, name: str, configs: Configs) -> list[Entry]:
    """Reads the entries of a config such as device/auto, their names with `prefix` before them."""
    file = configs.file(name)
    entries = list(read_entries(file)) if file else []
    return [entry._replace(name=f"{prefix}{entry.name}") for entry in entries]


def entries_if_of_class(target: Any, axis: str, option: str, configs: Configs) -> Iterator[Entry]:
    """Yields the entries of an option if its `_target_` is the class `target`, otherwise nothing."""
    file = configs.file(f"{axis}/{option}")
    try:
        if file is None or str(target) not in file.read_text(encoding="utf-8"):
            return
        for prefix in (f"{axis}.", ""):  # a file with `# @package _global_` names its section itself
            entries = entries_of(prefix, f"{axis}/{option}", configs)
            if any(entry.name == f"{axis}._target_" and entry.value == target for entry in entries):
                yield from (entry for entry in entries if entry.name.startswith(f"{axis}."))
    except (yaml.YAMLError, OSError, UnicodeDecodeError):  # a broken option of the user, not the one of this run
        return


def declare(entries: list[Entry], config: dict[str, Any], schema: Schema) -> None:
    """Adds entries to the schema, and their default values to the configuration where it lacks them."""
    for entry in entries:
        if entry.key is None:
            schema.sections.setdefault(entry.name, entry.comment)
            continue
        schema.add(entry.name, entry.key)
        *sections, last = entry.name.split(".")
        section: Any = config
        for name in sections:
            section = section.setdefault(name, {}) if isinstance(section, dict) else None
        if isinstance(section, dict) and entry.value != "???":  # Hydra's mark of a value that the user must give
            section.setdefault(last, entry.value)
