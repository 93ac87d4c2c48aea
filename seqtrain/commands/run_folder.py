"""Run folders: their names, how a run gets one of its own, and the configuration that they keep."""

import datetime
import logging
import math
import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import glob
from pathlib import Path
from typing import Any

import yaml
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import get_omega_conf_dumper

from seqtrain.commands import modes
from seqtrain.commands.modes import MODES
from seqtrain.config import UserError, expanded, in_brief, near_path
from seqtrain.config.compose import Mistakes, compose, in_short
from seqtrain.config.json_values import flat
from seqtrain.config.overrides import override_problems, parse_value, read_overrides, sweep_values
from seqtrain.config.quoting import in_hydra, typed
from seqtrain.config.rules import check_together
from seqtrain.config.schema import Schema, check, conform
from seqtrain.config.sources import Configs
from seqtrain.config.spelling import did_you_mean
from seqtrain.config.stored import TAKEN, read_stored
from seqtrain.storage.disk import Folder, LogFile, locked

log = logging.getLogger(__name__)
# what a resumed run keeps, beside the content of its data
FIXED = ("task", "model", "frontend", "backbone", "likelihood", "seed")
ORDER = "trainer.rates"  # by which an optimizer sorts weights, whose state it keeps in this order


def stamp(name: str | None) -> str:
    """Returns the folder name of a run: date, time, the name that the user gave, if any, and a short random id."""
    now = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return "-".join([now, *([str(name)] if name else []), secrets.token_hex(3)])


def job_folder(number: int, overrides: str) -> str:
    """Returns the folder name of a job of a sweep: its number and overrides, short and safe for any file system."""
    keys = re.sub(r"(^|;)[^;=]*?([\w-]+)=", r"\1\2-", overrides)
    return f"{number}-{re.sub(r'[^A-Za-z0-9.;-]+', '_', keys).replace(';', '-')}"[:80].rstrip("-._")


def register_resolvers() -> None:
    """Registers the functions with which config.yaml names folders. `run_stamp` is cached: a run keeps its name."""
    setup_globals()  # Hydra's own: hydra, now
    OmegaConf.register_new_resolver("run_stamp", stamp, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)


@contextmanager
def reserved(config: DictConfig, overrides: list[str], kind: str) -> Iterator[str]:
    """Creates the folder of a "run" or a "sweep", and gives the override that passes it to Hydra. Raises `UserError`
    where another run has the folder. At the end, folders that it has created and that are still empty are removed, as
    after a run that was refused."""
    key = f"hydra.{kind}.dir"
    chosen_by_user = any(line.lstrip("+").startswith(f"{key}=") for line in overrides)
    folder = Path(config.hydra[kind].dir)
    created = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=chosen_by_user)
        except OSError as error:
            raise UserError(f"{key}={folder}: the folder cannot be created ({error.strerror})") from error
        if any(Folder(folder).has(name) for name in ("config.yaml", "multirun.yaml", "checkpoints")):
            cure = f"go on with {typed('resume', folder)} or choose another" if kind == "run" else "choose another"
            raise UserError(f"{key}={folder}: the folder is taken; {cure}")
        yield f"{key}={in_hydra(folder)}"
    finally:
        for path in created:
            with suppress(OSError):
                path.rmdir()


def claim(folder: Path, config: dict[str, Any], schema: Schema) -> None:
    """Writes config.yaml into a locked folder. Of two runs that were given the same folder, the second is refused."""
    if Folder(folder).has("config.yaml"):
        raise UserError(f"{folder}: another run has taken this folder")
    write_config(folder, config, schema)


def discard(folder: Path) -> None:
    """Removes the files of a run that was refused before it began."""
    if {path.name for path in folder.iterdir()} <= {"config.yaml", "train.log"}:
        for path in folder.iterdir():
            path.unlink()


def log_to_run(folder: Path) -> None:
    """Sends the log to standard output and, with the time, to the run's train.log."""
    handlers = [logging.StreamHandler(sys.stdout), LogFile(folder / "train.log")]
    handlers[0].setFormatter(logging.Formatter("%(message)s"))
    handlers[1].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.raiseExceptions = False  # a closed standard output must not stop a training
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)


def write_config(folder: Path, config: dict[str, Any], schema: Schema) -> None:
    """Writes config.yaml with the comments of its schema, so that the file is its own schema again."""
    content = "".join(f"{line}\n" for line in render(config, schema, "", ""))
    Folder(folder).replace("config.yaml", content.encode())


def render(config: dict[str, Any], schema: Schema, prefix: str, indent: str) -> Iterator[str]:
    """Yields the lines of a section in YAML, with aligned comments."""
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
    """Returns a value as YAML on one line, without aliases, which `stored.check_yaml` refuses."""
    dumper = type("Dumper", (get_omega_conf_dumper(),), {"ignore_aliases": lambda self, data: True})
    text = yaml.dump(value, Dumper=dumper, default_flow_style=True, width=math.inf, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


# -------------------------------------------------------------------------------- a run's own config


def named_on_command_line(overrides: list[str]) -> tuple[str, str] | None:
    """Returns (mode, run folder) where the command line names a run folder, else None. Settings that contradict each
    other give None as well: `modes.problems` reports them."""
    settings = {}
    for line in overrides:
        key, equals, value = line.lstrip("+").partition("=")
        if equals and key in ("mode", "checkpoint", "resume"):
            settings[key] = value if key == "mode" else first(line)
    mode, checkpoint, resume = settings.get("mode", "train"), settings.get("checkpoint"), settings.get("resume")
    if resume and resume != "auto" and not checkpoint and mode == "train":
        return mode, resume
    if checkpoint and not resume and mode in MODES and "checkpoint" in MODES[mode].needs:
        return mode, checkpoint
    return None


def named_sides(overrides: list[str]) -> list[list[Path]] | None:
    """Returns the run folders of both sides where the command line compares runs, else None. Raises `UserError` where
    there are not two sides, or one of them has no run."""
    settings = {line.lstrip("+").partition("=")[0]: line for line in overrides}
    line = settings.get("runs")
    if line is None or settings.get("mode", "").partition("=")[2] != "compare":
        return None
    try:
        value = parse_value(line.partition("=")[2])
    except HydraException:
        return None  # reported with all other mistakes
    if not isinstance(value, list) or len(value) != 2 or not all(value):
        raise UserError(f"{line}: expected two runs, or two lists of runs: runs=[A,B], runs=[[A1,A2],[B1,B2]]")
    return [[run for name in (side if isinstance(side, list) else [side]) for run in matching(str(name))]
            for side in value]  # fmt: skip


def matching(name: str) -> list[Path]:
    """Returns the run of a path, or all that are of a pattern."""
    path = expanded(name)
    if os.path.exists(path):
        return [find(name, "runs")]
    folders = [Path(found) for found in sorted(glob(str(path), recursive=True))]
    runs = [folder for folder in folders if folder.is_dir() and {"config.yaml", "checkpoints"} <= {*os.listdir(folder)}]
    return runs or [find(name, "runs")]  # which says what is wrong


def first(line: str) -> str | None:
    """Returns the value of an override, or the first of a list, as text; None where there is none."""
    try:
        value = parse_value(line.partition("=")[2])
    except HydraException:
        return None
    value = value[0] if isinstance(value, list) and value else value
    return str(value) if isinstance(value, str | int | float) else None


def find(path: str, key: str) -> Path:
    """Returns the run folder that `checkpoint=` or `resume=` names; raises `UserError` where it is not a run folder.
    key: which of the two."""
    folder = expanded(path)
    if not os.path.exists(folder):
        raise UserError(f"{key}={path}: there is no such folder{did_you_mean(near_path(folder))}")
    for inner in (folder, folder.parent):
        if inner.name == "checkpoints" and os.path.exists(inner.parent / "config.yaml"):
            raise UserError(f"{key}={path}: give the run folder that it lies in: {typed(key, inner.parent)}")
    needed = ("config.yaml",) if key == "resume" else ("config.yaml", "checkpoints")  # killed before its first save
    missing = [name for name in needed if not folder.is_dir() or not Folder(folder).has(name)]
    if missing:
        inner = sorted(p.parent for p in folder.glob("*/config.yaml")) if folder.is_dir() else []
        hint = f"; there is one in {inner[-1]}" if inner else ""
        raise UserError(f"{key}={path}: this is no run folder, it has no {' and no '.join(missing)}{hint}")
    return folder


def run_config(folder: Path, configs: Configs, overrides: list[str], mode: str) -> tuple[dict[str, Any], Schema]:
    """Reads the configuration that a run folder keeps, applies the overrides, and checks the result.

    Returns it with its schema; raises `Mistakes` or another `UserError`.
    """
    file = folder / "config.yaml"
    config, schema = read_stored(folder, configs)
    parsed = read_overrides(overrides, configs, multirun=False)
    if parsed.problems:
        raise Mistakes(parsed.problems)
    stored: Any = OmegaConf.to_container(config, resolve=False)
    for group in parsed.groups:
        name = group.key_or_group
        values = [str(o.input_line) for o in parsed.values if o.key_or_group.startswith(f"{name}.")]
        swap(name, [str(group.input_line), *values], config, schema, configs, mode)
    problems: list[str] = []
    for o in parsed.values:
        if o.key_or_group.startswith("hydra"):
            problems.append(f"{o.input_line}: a run folder that exists already keeps its place; leave this out")
        elif o.key_or_group in ("init", "refit"):
            problems.append(f"{o.input_line}: it begins a new training, and this run is there already; leave it out")
        elif wrong := override_problems(o, schema, configs):
            problems += wrong
        else:
            OmegaConf.update(config, o.key_or_group, sweep_values(o)[0], merge=True, force_add=True)
    plain: Any = OmegaConf.to_container(config, resolve=False)
    try:
        if not problems:
            problems = [f"{problem} (in {file})" for problem in check(plain, schema).values()]
        checked = conform(plain, schema)
        if not problems:
            problems = [*check_together(checked), *modes.problems(checked)]
    except Exception as error:  # the schema of a class of another package comes from the file, which may be nonsense
        raise UserError(f"{file}: the configuration cannot be used ({in_brief(in_short(error))})") from error
    if mode == "train" and not problems:
        problems = list(refused(conform(stored, schema), checked))
    if problems:
        raise Mistakes(problems)
    return checked, schema


def differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yields name, old and new value of each setting that has changed."""
    before = flat(old)
    for name, value in flat(new).items():
        if value != before.get(name) and name not in ("resume", "trust"):
            yield name, before.get(name), value


def refused(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """Yields a message for each changed setting that a resumed run must keep. (The files of the data may have moved:
    their content is compared later.)"""
    for name, was, value in differences(old, new):
        section = name.partition(".")[0]
        if (section in FIXED and "dropout" not in name) or name.startswith(ORDER):
            kept = name if name.startswith(ORDER) else section
            yield f"{name}={value}: a resumed run keeps its {kept} ({name}={was}); leave it out or start a new run"


def read_config(folder: Path) -> dict[str, Any]:
    """Reads and checks the configuration of a run folder, for a use in which it is not trusted."""
    return run_config(find(str(folder), "checkpoint"), Configs(), [], "predict")[0]


def swap(group: str, lines: list[str], config: DictConfig, schema: Schema, configs: Configs, mode: str) -> None:
    """Replaces a section of a run's configuration by another option. lines: the overrides of this section. Raises
    `UserError` where the mode does not allow that."""
    if group not in (swaps := MODES[mode].swaps):
        command = "resume" if mode == "train" else f"mode={mode}"
        others = f"; {command} takes another {' or '.join(swaps)} alone" if swaps else ""
        raise UserError(f"{lines[0]}: a run keeps its {group}{others}")
    composed = compose(configs, lines)
    config[group] = composed.config[group]
    schema.keys = {n: k for n, k in schema.keys.items() if not n.startswith(f"{group}.")}
    schema.keys |= {n: k for n, k in composed.schema.keys.items() if n.startswith(f"{group}.")}


def rewrite(folder: Path, config: dict[str, Any], schema: Schema, configs: Configs) -> None:
    """Logs which settings a resumed run changes, and writes its new config.yaml."""
    stored: Any = OmegaConf.to_container(read_stored(folder, configs)[0], resolve=False)
    for name, old, new in differences(conform(stored, schema), config):
        if not name.startswith("device."):  # that of another command was not kept
            log.info("changed: %s from %s to %s", name, old, new)
    write_config(folder, {**config, "resume": None, "trust": False}, schema)


def unfinished(config: DictConfig, wanted: dict[str, Any], configs: Configs) -> Path | None:
    """Returns the newest run with the same settings that has not ended and that no process is writing; None where there
    is none. It looks in the parent folder of the one that a new run would get."""
    new_folder = Path(config.hydra.run.dir)
    runs = [run for run in {new_folder, *new_folder.parent.glob("*")} if (run / "config.yaml").is_file()]
    for folder in sorted(runs, key=lambda run: (run / "config.yaml").stat().st_mtime_ns, reverse=True):
        try:
            stored = run_config(folder, configs, [], "predict")[0]
            same = all(stored.get(name) == wanted.get(name) for name in TAKEN)
            begun = stored["init"] is None or Folder(folder).has("checkpoints/last")  # else it cannot go on
            if same and begun and not Folder(folder).has("metrics.json"):
                with locked(folder):
                    return folder
        except UserError:  # damaged, or in use
            continue
    return None
