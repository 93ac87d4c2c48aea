"""From a command line to a checked configuration, with every mistake reported at once.

Hydra stops at the first mistake. Here each override of the command line is checked by itself, then every group is.
Only the valid overrides are composed, so that one error can list every mistake.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from seqtrain.config import UserError
from seqtrain.config.overrides import (
    Overrides,
    override_problems,
    parse_value,
    read_overrides,
    sweep_texts,
    sweep_values,
)
from seqtrain.config.rules import check_together
from seqtrain.config.schema import Schema, check, check_value, conform, describe, read_entries
from seqtrain.config.sources import Configs
from seqtrain.config.spelling import did_you_mean, nearest_keys

BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


class Mistakes(UserError):
    """Every mistake of a configuration, one on each line."""

    def __init__(self, problems: list[str]) -> None:
        problems = list(dict.fromkeys(problems))
        heading = f"{len(problems)} mistakes in the configuration:\n  "
        super().__init__(problems[0] if len(problems) == 1 else heading + "\n  ".join(problems))


@dataclass
class Composed:
    """A configuration without mistakes."""

    config: dict[str, Any]  # plain values, interpolations resolved, without the section hydra
    schema: Schema
    hydra: DictConfig  # the same as Hydra composed it, with the section hydra
    overrides: list[str]  # the command line in the form that Hydra accepts
    swept: list[str]  # the keys and groups that have several values


def compose(configs: Configs, lines: list[str], multirun: bool = False) -> Composed:
    """Composes the configuration of a command line and checks it; raises `Mistakes` with everything that is wrong.

    lines: the overrides, as they were typed. In a sweep every value and every combination of groups is checked, and the
    result is the configuration of the first job.
    """
    searchpath = [line for line in lines if line.startswith("hydra.searchpath=")]
    multirun = multirun or "hydra.mode=MULTIRUN" in lines
    if searchpath:
        configs.add(parse_value(searchpath[-1].partition("=")[2]))
    overrides = read_overrides(lines, configs, multirun)
    if overrides.problems:
        raise Mistakes(overrides.problems)
    choices = [[f"{o.key_or_group}={text}" for text in sweep_texts(o)] for o in overrides.groups]
    problems: list[str] = []
    first: Composed | None = None
    for groups in itertools.product(*choices):
        composed = compose_one(configs, list(groups), overrides, problems)
        if first is None:
            first = composed
    if problems or first is None:
        raise Mistakes(problems)
    if multirun or first.hydra.hydra.mode == RunMode.MULTIRUN:
        params = add_sweeper_params(first, configs)
        check_intervals(first, [*params, *overrides.values])
    first.swept += [o.key_or_group for o in (*overrides.groups, *overrides.values) if o.is_sweep_override()]
    first.overrides = [plain_line(o, first.schema) for o in (*overrides.groups, *overrides.values)]
    return first


def add_sweeper_params(composed: Composed, configs: Configs) -> list[Override]:
    """Checks `hydra.sweeper.params`, the values that a YAML file sweeps over, like those of a command line, and returns
    them."""
    params = OmegaConf.select(composed.hydra, "hydra.sweeper.params") or {}  # it may be null
    overrides = read_overrides([f"{key}={value}" for key, value in params.items()], configs, multirun=True)
    problems = [p for o in overrides.values for p in override_problems(o, composed.schema, configs)]
    if overrides.problems or problems:
        raise Mistakes([f"{p} (in hydra.sweeper.params)" for p in overrides.problems + problems])
    composed.swept += [str(key) for key in params]
    return overrides.values


def check_intervals(composed: Composed, overrides: list[Override]) -> None:
    """Raises `Mistakes` for intervals where the sweeper takes every combination of values."""
    if composed.hydra.hydra.sweeper._target_ == BASIC_SWEEPER:
        lines = [o.input_line for o in overrides if isinstance(o.value(), IntervalSweep)]
        if lines:
            raise Mistakes([f"{line}: an interval has no end of values: add hydra/sweeper=optuna, or give a list"
                            for line in lines])  # fmt: skip


def plain_line(o: Override, schema: Schema) -> str:
    """Returns an override in the form that Hydra accepts: `key=` where `+key=` was typed for a key that exists, and
    `++key=` where new keys may come below it."""
    line = o.input_line or ""
    owner = schema.owner(o.key_or_group)
    if (is_hydra(o) or (owner and schema.keys[owner].takes({}))) and not o.is_delete():
        return f"++{line.lstrip('+')}"
    return line.lstrip("+") if o.key_or_group in schema.keys or o.key_or_group in schema.sections else line


def compose_one(configs: Configs, groups: list[str], overrides: Overrides, problems: list[str]) -> Composed | None:
    """Composes one combination of groups with the first value of every other override.

    Appends the mistakes to `problems`; returns None where Hydra could not compose at all. `compose` fills in the fields
    `overrides` and `swept`.
    """
    try:
        files = read_files(configs, groups)
        hydra_section = load_hydra_section(configs, groups) if any(is_hydra(o) for o in overrides.values) else {}
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, OSError, ValueError) as error:
        problems.append(in_short(error))
        return None
    valid_lines = [*groups]
    new_problems: list[str] = []
    invalid_keys = set[str]()
    for o in overrides.values:
        of_this = (
            hydra_problems(o, hydra_section, files.hydra)
            if is_hydra(o)
            else override_problems(o, files.schema, configs)
        )
        new_problems += of_this
        if of_this:
            invalid_keys.add(o.key_or_group)
        else:
            valid_lines.append(str(o.input_line) if o.is_delete() else f"++{o.key_or_group}={sweep_texts(o)[0]}")
    try:
        composed = configs.loader.load_configuration(configs.name, valid_lines, RunMode.RUN, from_shell=False)
    except Exception as error:  # a strange value makes OmegaConf raise any kind of exception
        problems += [*new_problems, in_short(error)]
        return None
    HydraConfig.instance().set_config(composed)
    values, unresolved = plain(composed)
    config = conform(values, files.schema)
    typed = [o.key_or_group for o in overrides.values]
    for name, problem in {**check(values, files.schema), **unresolved}.items():
        from_file = name in files.origins and not any(name == key or name.startswith(f"{key}.") for key in typed)
        if problem and name not in invalid_keys:
            new_problems.append(f"{problem} (in {files.origins[name]})" if from_file else problem)
    for name in files.hydra.keys:
        value = OmegaConf.select(composed, name)
        value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        if name not in invalid_keys and (problem := check_value(name, value, files.hydra)):
            new_problems.append(problem)
    problems += new_problems or check_together(config)  # rules between settings need valid settings
    return Composed(config, files.schema, composed, overrides=[], swept=[])


@dataclass
class Files:
    """What the chosen YAML files declare, and where each key was set last. hydra: the schema of those options of Hydra
    that are ours."""

    schema: Schema = field(default_factory=Schema)
    hydra: Schema = field(default_factory=Schema)
    origins: dict[str, str] = field(default_factory=dict)


def read_files(configs: Configs, groups: list[str]) -> Files:
    """Reads the schema from the YAML files that a composition uses, in Hydra's order.

    A file declares the keys of its own section. Keys of other sections, in a task or an experiment, only set values; so
    do keys without a type in an option that extends another one through its defaults list.
    """
    files = Files()
    targets: dict[str, Any] = {}  # the `_target_` of each section so far
    defaults = configs.loader.compute_defaults_list(configs.name, groups, RunMode.RUN)
    for default in defaults.defaults:
        path = default.config_path and configs.file(default.config_path)
        if not path:
            continue
        if str(default.config_path).startswith("hydra/"):
            for entry in read_entries(path):
                if entry.key is not None and entry.key.typed:
                    files.hydra.add(f"{default.package}.{entry.name}", entry.key)
            continue
        group = str(default.config_path).rpartition("/")[0]
        prefix = f"{default.package}." if default.package else ""
        entries = [e._replace(name=f"{prefix}{e.name}") for e in read_entries(path)]
        section = f"{default.package or group}." if group else ""
        target = next((e.value for e in entries if e.name == f"{section}_target_"), None)
        extends = bool(section) and section in targets and target in (None, targets[section])
        targets[section] = target or targets.get(section)
        if section:
            files.schema.sections.setdefault(section.removesuffix("."), describe(path))
        for entry in entries:
            files.origins[entry.name] = f"{default.config_path}.yaml, line {entry.line}"
            in_section = entry.name.startswith(section) or f"{entry.name}." == section
            if entry.key is None and in_section:
                files.schema.sections.setdefault(entry.name, entry.comment)
            elif entry.key is not None and in_section and (entry.key.typed or not extends):
                files.schema.add(entry.name, entry.key)
    return files


# -------------------------------------------------------------------------------- hydra's section

ANY_KEY_BELOW = (  # sections of hydra that may have keys of any name
    *("hydra.job.env_set.", "hydra.sweeper.params.", "hydra.callbacks.", "hydra.env."),
    *("hydra.launcher.ray.", "hydra.launcher.additional_parameters."),
    *(f"hydra.{log}_logging.{part}." for log in ("job", "hydra") for part in ("loggers", "handlers", "formatters")),
)


def is_hydra(o: Override) -> bool:
    return o.key_or_group == "hydra" or o.key_or_group.startswith("hydra.")


def load_hydra_section(configs: Configs, groups: list[str]) -> dict[str, Any]:
    """Loads the section hydra without the overrides of its values: a name that is not in it is wrong."""
    config = configs.loader.load_configuration(configs.name, groups, RunMode.RUN, from_shell=False)
    container = OmegaConf.to_container(config.hydra, resolve=False, throw_on_missing=False, enum_to_str=True)
    return {"hydra": container}


def hydra_problems(o: Override, hydra_section: dict[str, Any], schema: Schema) -> list[str]:
    """Returns what is wrong with an override of the section hydra: an unknown key, an empty value, or one that its
    schema does not take, if it has one."""
    name = o.key_or_group
    names = list(dotted_names(hydra_section))
    if name.startswith(ANY_KEY_BELOW):
        return []
    if name in schema.keys and "${" not in str(o.input_line):
        return [problem for value in sweep_values(o) if (problem := check_value(name, value, schema))]
    if name in names:
        return [f"{o.input_line} is empty: is a variable of the shell not set?"] if o.value() == "" else []
    return [f"{name}: there is no such key{did_you_mean(nearest_keys(name, names)[:1])}"]


def dotted_names(config: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from dotted_names(value, f"{prefix}{key}.")


# -------------------------------------------------------------------------------- values


def plain(config: DictConfig) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns a configuration as plain values with interpolations resolved, and a message for each key whose
    interpolation failed: "" for ${hydra:...}, which only a running job can resolve."""
    problems: dict[str, str] = {}

    def walk(node: DictConfig, prefix: str) -> dict[str, Any]:
        out = {}
        for key in node:
            name = f"{prefix}{key}"
            if name == "hydra":
                continue
            try:
                value = node[key]
                value = walk(value, f"{name}.") if isinstance(value, DictConfig) else value
                out[str(key)] = OmegaConf.to_container(value, resolve=True) if isinstance(value, ListConfig) else value
            except MissingMandatoryValue:
                continue  # `check` reports missing keys
            except OmegaConfBaseException as error:
                raw = str(OmegaConf.to_container(node, resolve=False)[key])  # pyright: ignore
                problems[name] = "" if "${hydra:" in raw else f"{name}={raw}: {in_short(error)}"
        return out

    return walk(config, ""), problems


def in_short(error: BaseException) -> str:
    """Returns the message of an exception of Hydra, OmegaConf or YAML as one line."""
    text = str(error) or str(error.__cause__ or type(error).__name__)
    if isinstance(error, HydraException) and isinstance(error.__cause__, OmegaConfBaseException) and str(error):
        text = f"{text}: {str(error.__cause__).partition(chr(10))[0]}"
    text = re.split(r"\n(?:Config search path|Search path|\s*full_key)", text)[0]
    return " ".join(text.split()).replace("Error merging override ++", "")


def schema_of_job() -> Schema:
    """Reads the schema of the job that Hydra is running."""
    configs = Configs.of_job()
    hydra = HydraConfig.get()
    parser = OverridesParser.create()
    lines = [*hydra.overrides.hydra, *hydra.overrides.task]
    groups = [line for line in lines if configs.is_group(parser.parse_override(line).key_or_group)]
    return read_files(configs, groups).schema
