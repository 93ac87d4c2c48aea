"""Run folders: their names, who owns them, and the configuration that they keep."""

import datetime
import logging
import math
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import get_omega_conf_dumper

from seqtrain.config import UserError, check_together, in_brief, near_path
from seqtrain.config.compose import Mistakes, compose, in_short
from seqtrain.config.schema import Schema, check, conform, read_entries, read_schema
from seqtrain.config.sources import Configs
from seqtrain.config.spelling import did_you_mean
from seqtrain.config.words import parse_value, read_words, sweep_values, word_problems
from seqtrain.disk import contents, locked, replace
from seqtrain.record import flat

log = logging.getLogger(__name__)
SECTIONS = ("task", "model", "backbone", "data", "device", "optimizer", "schedule", "trainer")
FIXED = ("task", "model", "backbone", "seed")  # what a resumed run keeps, beside the content of its data
DEEPEST, LARGEST = 20, 2**18  # levels and bytes of a config.yaml
SWAPS = {
    "train": ("device",),
    "evaluate": ("device", "data"),
    "predict": ("device",),
    "replay": ("device",),
}  # axes a run may change later


def stamp(name: str | None) -> str:
    """The folder name of a run: date, time, the user's word, and a short random id."""
    now = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return "-".join([now, *([str(name)] if name else []), secrets.token_hex(3)])


def job_folder(number: int, overrides: str) -> str:
    """The folder name of one job of a sweep: number and overrides, short and safe in any file system."""
    keys = re.sub(r"(^|;)[^;=]*?([\w-]+)=", r"\1\2-", overrides)
    return f"{number}-{re.sub(r'[^A-Za-z0-9.;-]+', '_', keys).replace(';', '-')}"[:80].rstrip("-._")


def register_resolvers() -> None:
    """What config.yaml names folders with; cached, so that a run keeps its name."""
    setup_globals()  # Hydra's own: hydra, now
    OmegaConf.register_new_resolver("run_stamp", stamp, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)


def reserve(config: DictConfig, typed: list[str], kind: str) -> str:
    """Creates the folder of a "run" or a "sweep", never a taken one, and returns the override that tells Hydra."""
    key = f"hydra.{kind}.dir"
    chosen = any(line.lstrip("+").startswith(f"{key}=") for line in typed)
    folder = Path(config.hydra[kind].dir)
    try:
        folder.mkdir(parents=True, exist_ok=chosen)
    except OSError as error:
        raise UserError(f"{key}={folder}: the folder cannot be created ({error.strerror})") from error
    if any((folder / name).exists() for name in ("config.yaml", "multirun.yaml", "checkpoints")):
        cure = f"go on with resume={folder} or choose another" if kind == "run" else "choose another"
        raise UserError(f"{key}={folder}: the folder is taken; {cure}")
    quoted = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    return f"{key}='{quoted}'"


def claim(folder: Path, config: dict[str, Any], schema: Schema) -> None:
    """Writes config.yaml into a locked folder; the first of two runs that were told the same folder gets it."""
    if (folder / "config.yaml").exists():
        raise UserError(f"{folder}: another run has taken this folder")
    write_config(folder / "config.yaml", config, schema)


def discard(folder: Path) -> None:
    """Removes the folder of a run that was refused before it did anything."""
    if {path.name for path in folder.iterdir()} <= {"config.yaml", "train.log"}:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def write_config(file: Path, config: dict[str, Any], schema: Schema) -> None:
    """Writes config.yaml with the comments of its schema, so that the file is its own schema again."""
    replace(file, "".join(f"{line}\n" for line in render(config, schema, "", "")).encode())


def render(config: dict[str, Any], schema: Schema, prefix: str, indent: str) -> Iterator[str]:
    """The lines of a section, comments one below the other."""
    lines: list[tuple[str, str, list[str]]] = []
    for key, value in config.items():
        name = f"{prefix}{key}"
        declared = schema.keys.get(name)
        comment = declared.comment if declared else schema.sections.get(name, "")
        if isinstance(value, dict) and value and declared is None:
            lines.append((f"{indent}{key}:", comment, list(render(value, schema, f"{name}.", f"{indent}  "))))
        else:
            lines.append((f"{indent}{key}: {flow(value)}", comment, []))
    width = max((len(text) for text, _, _ in lines if len(text) < 40), default=0)
    for text, comment, below in lines:
        yield f"{text:{width}}  # {comment}" if comment else text
        yield from below


def flow(value: Any) -> str:
    """A value as YAML on one line, without aliases, which `checked` refuses."""
    dumper = type("Dumper", (get_omega_conf_dumper(),), {"ignore_aliases": lambda self, data: True})
    text = yaml.dump(value, Dumper=dumper, default_flow_style=True, width=math.inf, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


# -------------------------------------------------------------------------------- a run's own config


def wanted(overrides: list[str]) -> tuple[str, str] | None:
    """The mode and the run folder, if the command line names one; contradictions are left to the checker."""
    typed = {}
    for line in overrides:
        key, equals, value = line.lstrip("+").partition("=")
        if equals and key in ("mode", "checkpoint", "resume"):
            typed[key] = value if key == "mode" else unquote(line)
    mode, checkpoint, resume = typed.get("mode", "train"), typed.get("checkpoint"), typed.get("resume")
    if resume and resume != "auto" and not checkpoint and mode == "train":
        return mode, resume
    if checkpoint and not resume and mode in ("evaluate", "predict", "replay"):
        return mode, checkpoint
    return None


def unquote(line: str) -> str | None:
    """The value of an override that is one word."""
    try:
        value = parse_value(line.partition("=")[2])
    except HydraException:
        return None
    return str(value) if isinstance(value, str | int | float) else None


def find(path: str, key: str) -> Path:
    """The run folder that `checkpoint=` or `resume=` names."""
    folder = Path(path).expanduser()
    if not folder.exists():
        raise UserError(f"{key}={path}: there is no such folder{did_you_mean(near_path(folder))}")
    if folder.parent.name == "checkpoints":
        raise UserError(f"{key}={path}: give the run folder that it lies in: {key}={folder.parent.parent}")
    needed = ("config.yaml",) if key == "resume" else ("config.yaml", "checkpoints")  # killed before its first save
    missing = [name for name in needed if not (folder / name).exists()]
    if missing:
        inner = sorted(p.parent for p in folder.glob("*/config.yaml")) if folder.is_dir() else []
        hint = f"; there is one in {inner[-1]}" if inner else ""
        raise UserError(f"{key}={path}: this is no run folder, it has no {' and no '.join(missing)}{hint}")
    return folder


def run_config(folder: Path, configs: Configs, overrides: list[str], mode: str) -> tuple[dict[str, Any], Schema]:
    """The configuration that a run folder keeps, with what was typed on top, checked."""
    file = folder / "config.yaml"
    try:
        config = checked(file)
        schema = read_schema(file)
        add_new_keys(config, schema, configs)
        config.trust = False  # a folder cannot vouch for itself
    except Exception as error:  # whatever a damaged file makes a YAML reader raise
        raise UserError(f"{file}: the file cannot be read ({in_brief(in_short(error))})") from error
    words = read_words(overrides, configs, multirun=False)
    if words.problems:
        raise Mistakes(words.problems)
    kept: Any = OmegaConf.to_container(config, resolve=False)
    for group in words.groups:
        name = group.key_or_group
        values = [str(word.input_line) for word in words.values if word.key_or_group.startswith(f"{name}.")]
        swap(name, [str(group.input_line), *values], config, schema, configs, mode)
    problems = []
    for word in words.values:
        if word.key_or_group.startswith("hydra"):
            problems.append(f"{word.input_line}: a run folder that exists already keeps its place; leave this out")
        elif wrong := word_problems(word, schema, configs):
            problems += wrong
        else:
            OmegaConf.update(config, word.key_or_group, sweep_values(word)[0], merge=True, force_add=True)
    plain: Any = OmegaConf.to_container(config, resolve=False)
    try:
        if not problems:
            problems = [f"{problem} (in {file})" for problem in check(plain, schema).values()]
            problems += [f"{name}: this section is missing in {file}" for name in SECTIONS
                         if not isinstance(plain.get(name), dict)]  # fmt: skip
        settled = conform(plain, schema)
        problems = problems or check_together(settled)
    except Exception as error:  # the file says what its keys are, and may say nonsense
        raise UserError(f"{file}: the configuration cannot be used ({in_brief(in_short(error))})") from error
    if mode == "train":
        problems = problems or list(refused(conform(kept, schema), settled))
    if problems:
        raise Mistakes(problems)
    return settled, schema


def checked(file: Path) -> DictConfig:
    """A config.yaml, perhaps a stranger's: of bearable size and depth, and without aliases, which can stand for more
    than memory holds."""
    text, depth = contents(file, file.parent, LARGEST).decode(), 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"line {event.start_mark.line + 1} has an alias, *{event.anchor}")
        if depth > DEEPEST:
            raise ValueError(f"line {event.start_mark.line + 1} is nested more than {DEEPEST} levels deep")
    config = OmegaConf.create(text)
    if not isinstance(config, DictConfig):
        raise ValueError("the file must hold keys and values")
    return config


def differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Name, old and new value of each setting that is no longer the same."""
    before = flat(old)
    for name, value in flat(new).items():
        if value != before.get(name) and name not in ("resume", "trust"):
            yield name, before.get(name), value


def refused(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """What a resumed run cannot change, in words. (The data may move: their content is compared later.)"""
    for name, was, value in differences(old, new):
        section = name.partition(".")[0]
        if section in FIXED and "dropout" not in name:
            yield f"{name}={value}: a resumed run keeps its {section} ({name}={was}); leave it out or start a new run"


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a run folder, checked and not trusted."""
    return run_config(find(str(folder), "checkpoint"), Configs(), [], "predict")[0]


def add_new_keys(config: DictConfig, schema: Schema, configs: Configs) -> None:
    """Gives a run that is older than a key of the root file, or of the device, that key with its default."""
    for name, prefix in ((configs.name, ""), ("device/auto", "device.")):
        file = configs.file(name)
        for entry in read_entries(file) if file else []:
            name = f"{prefix}{entry.name}"
            if entry.key is None:
                schema.sections.setdefault(name, entry.comment)
            elif name not in schema.keys:
                schema.add(name, entry.key)
                OmegaConf.update(config, name, entry.value, force_add=True)


def swap(group: str, lines: list[str], config: DictConfig, schema: Schema, configs: Configs, mode: str) -> None:
    """Replaces one section of a run's configuration by another option of its group, with what was typed for it."""
    if group not in SWAPS[mode]:
        raise UserError(
            f"{lines[0]}: a run keeps its {group}; with this folder only {' and '.join(SWAPS[mode])} may change"
        )
    composed = compose(configs, lines)
    config[group] = composed.config[group]
    schema.keys = {n: k for n, k in schema.keys.items() if not n.startswith(f"{group}.")}
    schema.keys |= {n: k for n, k in composed.schema.keys.items() if n.startswith(f"{group}.")}


def rewrite(folder: Path, config: dict[str, Any], schema: Schema) -> None:
    """Tells and keeps what a resumed run changes."""
    before: Any = OmegaConf.to_container(checked(folder / "config.yaml"), resolve=False)
    for name, was, value in differences(conform(before, schema), config):
        log.info("changed: %s from %s to %s", name, was, value)
    write_config(folder / "config.yaml", {**config, "resume": None, "trust": False}, schema)


def unfinished(config: DictConfig, wanted: dict[str, Any], configs: Configs) -> Path | None:
    """The newest run beside the folder that `config` would get that has the same settings, has not ended, and is not
    being written by a process that lives."""
    place = Path(config.hydra.run.dir)
    found = [file for file in {place, *place.parent.glob("*")} if (file / "config.yaml").is_file()]
    for folder in sorted(found, key=lambda folder: (folder / "config.yaml").stat().st_mtime_ns, reverse=True):
        try:
            same = {**run_config(folder, configs, [], "predict")[0], "resume": None, "trust": wanted["trust"]} == wanted
            if same and not (folder / "metrics.json").exists():
                with locked(folder):
                    return folder
        except UserError:  # damaged, or in use
            continue
    return None
