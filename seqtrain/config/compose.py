"""From a command line to a checked configuration: with every mistake told at once.

Hydra stops at its first complaint. Here the words of the command line are looked at first, each by itself (`Words`),
then the groups they choose, and only what is sound is composed, so that one look tells every mistake there is.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from seqtrain.config import UserError, check_together
from seqtrain.config.schema import Schema, check, conform, describe, read_entries
from seqtrain.config.sources import Configs
from seqtrain.config.spelling import did_you_mean, nearest_keys
from seqtrain.config.words import Words, parse_value, read_words, sweep_texts, word_problems


class Mistakes(UserError):
    """Every mistake of a configuration, one a line."""

    def __init__(self, problems: list[str]) -> None:
        problems = list(dict.fromkeys(problems))
        many = f"{len(problems)} mistakes in the configuration:\n  "
        super().__init__(problems[0] if len(problems) == 1 else many + "\n  ".join(problems))


@dataclass
class Composed:
    """A configuration without mistakes."""

    config: dict[str, Any]  # plain, resolved, without the section hydra
    schema: Schema
    hydra: DictConfig
    overrides: list[str]  # to be handed to Hydra
    swept: list[str]  # keys and groups with several values


def compose(configs: Configs, lines: list[str], multirun: bool = False) -> Composed:
    """Composes and checks; raises Mistakes with everything that is wrong. In a sweep every value is checked, and every
    combination of groups; the result is then the first job's."""
    searchpath = [line for line in lines if line.startswith("hydra.searchpath=")]
    multirun = multirun or "hydra.mode=MULTIRUN" in lines
    if searchpath:
        configs.add(parse_value(searchpath[-1].partition("=")[2]))
    words = read_words(lines, configs, multirun)
    if words.problems:
        raise Mistakes(words.problems)
    choices = [[f"{o.key_or_group}={text}" for text in sweep_texts(o)] for o in words.groups]
    problems: list[str] = []
    first: Composed | None = None
    for groups in itertools.product(*choices):
        composed = compose_one(configs, list(groups), words, problems)
        first = first or composed
    if problems or first is None:
        raise Mistakes(problems)
    if multirun or first.hydra.hydra.mode == RunMode.MULTIRUN:
        add_params(first, configs)
    first.swept += [o.key_or_group for o in (*words.groups, *words.values) if o.is_sweep_override()]
    first.overrides = [plain_line(o, first.schema) for o in (*words.groups, *words.values)]
    return first


def add_params(composed: Composed, configs: Configs) -> None:
    """Checks what the configuration itself sweeps over, `hydra.sweeper.params`, in the way of the command line."""
    params = OmegaConf.select(composed.hydra, "hydra.sweeper.params") or {}
    words = read_words([f"{key}={value}" for key, value in params.items()], configs, multirun=True)
    problems = [p for o in words.values for p in word_problems(o, composed.schema, configs)]
    if words.problems or problems:
        raise Mistakes([f"{p} (in hydra.sweeper.params)" for p in words.problems + problems])
    composed.swept += [str(key) for key in params]


def plain_line(o: Override, schema: Schema) -> str:
    """An override as Hydra takes it: `+key=` of a key that is there already is `key=`."""
    line = o.input_line or ""
    if is_hydra(o) and not o.is_delete():
        return f"++{line.lstrip('+')}"
    return line.lstrip("+") if o.key_or_group in schema.keys or o.key_or_group in schema.sections else line


def compose_one(configs: Configs, groups: list[str], words: Words, problems: list[str]) -> Composed | None:
    """One combination of groups with the first value of everything else; appends what is wrong to `problems`."""
    try:
        files = read_files(configs, groups)
        known = known_hydra(configs, groups) if any(is_hydra(o) for o in words.values) else {}
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, OSError, ValueError) as error:
        problems.append(in_short(error))
        return None
    sound, wrong = [*groups], []
    for o in words.values:
        found = hydra_problems(o, known) if is_hydra(o) else word_problems(o, files.schema, configs)
        wrong += found
        if not found:
            sound.append(str(o.input_line) if o.is_delete() else f"++{o.key_or_group}={sweep_texts(o)[0]}")
    try:
        composed = configs.loader.load_configuration(configs.name, sound, RunMode.RUN, from_shell=False)
    except Exception as error:  # the values alone can be to blame: OmegaConf raises whatever it stumbles over
        problems += [*wrong, in_short(error)]
        return None
    HydraConfig.instance().set_config(composed)
    found, unresolved = plain(composed)
    config = conform(found, files.schema)
    typed = [o.key_or_group for o in words.values]
    for name, problem in {**check(found, files.schema), **unresolved}.items():
        from_file = name in files.origins and not any(name == key or name.startswith(f"{key}.") for key in typed)
        wrong += [f"{problem} (in {files.origins[name]})" if from_file else problem] if problem else []
    problems += wrong or check_together(config)
    return Composed(config, files.schema, composed, [], [])


@dataclass
class Files:
    """What the chosen YAML files declare, and where each key was set last."""

    schema: Schema = field(default_factory=Schema)
    origins: dict[str, str] = field(default_factory=dict)


def read_files(configs: Configs, groups: list[str]) -> Files:
    """The schema of a composition.

    An option declares the keys of its own section. What a global file (a task, an experiment) says about other sections
    are values only, and so are the bare keys of an option that extends another one through its defaults list.
    """
    files, targets = Files(), {}
    defaults = configs.loader.compute_defaults_list(configs.name, groups, RunMode.RUN)
    for default in defaults.defaults:
        path = default.config_path and configs.file(default.config_path)
        if not path or str(default.config_path).startswith("hydra/"):
            continue
        group = str(default.config_path).rpartition("/")[0]
        prefix = f"{default.package}." if default.package else ""
        entries = [e._replace(name=f"{prefix}{e.name}") for e in read_entries(path)]
        own = f"{default.package or group}." if group else ""
        target = next((e.value for e in entries if e.name == f"{own}_target_"), None)
        extends = bool(own) and own in targets and target in (None, targets[own])
        targets[own] = target or targets.get(own)
        if own:
            files.schema.sections.setdefault(own.removesuffix("."), describe(path))
        for entry in entries:
            files.origins[entry.name] = f"{default.config_path}.yaml, line {entry.line}"
            mine = entry.name.startswith(own) or f"{entry.name}." == own
            if entry.key is None and mine:
                files.schema.sections.setdefault(entry.name, entry.comment)
            elif entry.key is not None and mine and (entry.key.typed or not extends):
                files.schema.add(entry.name, entry.key)
    return files


# -------------------------------------------------------------------------------- hydra's section

FREE = (
    *("hydra.job.env_set.", "hydra.sweeper.params.", "hydra.callbacks.", "hydra.env."),
    *(f"hydra.{log}_logging.{part}." for log in ("job", "hydra") for part in ("loggers", "handlers", "formatters")),
)


def is_hydra(o: Override) -> bool:
    return o.key_or_group == "hydra" or o.key_or_group.startswith("hydra.")


def known_hydra(configs: Configs, groups: list[str]) -> dict[str, Any]:
    """The section hydra before values are set in it, so that a wrong name shows."""
    config = configs.loader.load_configuration(configs.name, groups, RunMode.RUN, from_shell=False)
    container = OmegaConf.to_container(config.hydra, resolve=False, throw_on_missing=False, enum_to_str=True)
    return {"hydra": container}


def hydra_problems(o: Override, known: dict[str, Any]) -> list[str]:
    name = o.key_or_group
    names = list(dotted(known))
    if name in names or name.startswith(FREE):
        return []
    return [f"{name}: there is no such key{did_you_mean(nearest_keys(name, names)[:1])}"]


def dotted(config: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{key}.")


# -------------------------------------------------------------------------------- values


def plain(config: DictConfig) -> tuple[dict[str, Any], dict[str, str]]:
    """A configuration as plain resolved values, and what could not be resolved ("" where only a running job can)."""
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
                continue  # `check` tells what is missing
            except OmegaConfBaseException as error:
                raw = str(OmegaConf.to_container(node, resolve=False)[key])  # pyright: ignore
                problems[name] = "" if "${hydra:" in raw else f"{name}={raw}: {in_short(error)}"
        return out

    return walk(config, ""), problems


def in_short(error: BaseException) -> str:
    """One line for an exception of Hydra, OmegaConf or YAML."""
    text = str(error) or str(error.__cause__ or type(error).__name__)
    if isinstance(error, HydraException) and isinstance(error.__cause__, OmegaConfBaseException) and str(error):
        text = f"{text}: {str(error.__cause__).partition(chr(10))[0]}"
    text = re.split(r"\n(?:Config search path|Search path|\s*full_key)", text)[0]
    return " ".join(text.split()).replace("Error merging override ++", "")


def schema_of_job() -> Schema:
    """The schema of the job that Hydra is running."""
    configs, hydra = Configs.of_job(), HydraConfig.get()
    parser = OverridesParser.create()
    lines = [*hydra.overrides.hydra, *hydra.overrides.task]
    groups = [line for line in lines if configs.is_group(parser.parse_override(line).key_or_group)]
    return read_files(configs, groups).schema
