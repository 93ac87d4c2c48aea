"""The overrides of a command line, `key=value`, each checked by itself."""

import re
import shlex
from dataclasses import dataclass, field
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, OverrideType, Transformer
from hydra.errors import HydraException

from seqtrain.config.quoting import typed
from seqtrain.config.schema import Schema, check_value, describe, leaves, read_entries, suggest
from seqtrain.config.sources import Configs
from seqtrain.config.spelling import did_you_mean, near


@dataclass
class Overrides:
    """The overrides of a command line. problems: messages about those that Hydra could not compose."""

    groups: list[Override] = field(default_factory=list)  # model=seq2seq
    values: list[Override] = field(default_factory=list)  # model.hidden_size=64
    problems: list[str] = field(default_factory=list)


PLUGINS = ("joblib", "submitit", "ray")  # launchers that are extras
NAME = re.compile(r"[+~]{0,2}[\w$-]+([./@:][\w$-]+)*")


def read_overrides(lines: list[str], configs: Configs, multirun: bool) -> Overrides:
    """Parses each override of a command line, and checks what needs no schema: its form, and that options exist."""
    overrides = Overrides()
    parser = OverridesParser.create(config_loader=configs.loader)
    for line in lines:
        try:
            override = parser.parse_override(line)
        except HydraException as error:
            overrides.problems.append(malformed(line, error))
            continue
        override.config_loader = configs.loader
        problem = sweep_problem(override, multirun) or malformed_key(override)
        is_group = configs.is_group(override.key_or_group)
        if problem is None and is_group:
            problem = group_problem(override, configs)
        if problem:
            overrides.problems.append(problem)
        elif is_group:
            overrides.groups.append(override)
        else:
            overrides.values.append(override)
    return overrides


def malformed(line: str, error: Exception) -> str:
    """Returns the message for a line that Hydra's parser refuses."""
    key, equals, value = line.partition("=")
    if not equals:
        return f"{line}: expected key=value" + (f", for example {key}=1" if key and not key.startswith("-") else "")
    if not NAME.fullmatch(key):
        return f"{line}: {key!r} is no name of a setting; expected key=value, such as trainer.epochs=3"
    reason = " ".join(str(error).split())
    return f"{line}: the value cannot be read ({reason}); quote special characters: {typed(key, value)}"


def malformed_key(o: Override) -> str | None:
    if not o.key_or_group:
        return f"{o.input_line}: there is no name before the =; expected key=value"
    return None


def sweep_problem(o: Override, multirun: bool) -> str | None:
    """Returns what is wrong with an override of several values: no sweep was asked for, or Hydra cannot sweep it."""
    if not o.is_sweep_override():
        return None
    if not multirun:
        key, text = o.key_or_group, text_of(o)
        one_list = shlex.quote(f"{key}=[{text}]")
        one_text = f", for one text {typed(key, text)}" if " " in text else ""
        return f"{o.input_line}: several values need a sweep: add -m; for one list write {one_list}{one_text}"
    if o.key_or_group.startswith("hydra.") or o.key_or_group.startswith("hydra/"):
        return f"{o.input_line}: settings of hydra cannot be swept over; give one value"
    return None


def group_problem(o: Override, configs: Configs) -> str | None:
    """Returns what is wrong with an override that chooses an option, such as model=seq2seq."""
    group = o.key_or_group
    if group == "hydra":
        return f"{o.input_line}: hydra is a section, not a value; set its keys, such as hydra.run.dir=FOLDER"
    if o.is_delete():
        return f"{o.input_line}: a run needs one {group}; choose with {group}=OPTION"
    if o.type is not OverrideType.CHANGE or o.package is not None:
        return f"{o.input_line}: write {group}={text_of(o)}"
    options = configs.options(group)
    values = sweep_values(o)
    if not values:
        return f"{o.input_line}: no {group} matches; there are: {', '.join(options)}"
    for value in values:
        if not isinstance(value, str | int | float) and value is not None:
            return f"{o.input_line}: {group} takes the name of one option; there are: {', '.join(options)}"
        if value is None and group in ("experiment", "hydra/callbacks"):
            continue
        if str(value) not in options:
            return unknown_option(group, show_option(value), options, configs)
    return None


def show_option(value: Any) -> str:
    return "null" if value is None else str(value)


def unknown_option(group: str, value: str, options: list[str], configs: Configs) -> str:
    """Returns the message for an option that does not exist: a group that has it, or the option that was meant."""
    there_are = f"there are: {', '.join(options)}" if options else "there are none yet"
    message = f"{group}={value}: there is no such {group}; {there_are}"
    elsewhere = [g for g in configs.groups() if g != group and value in configs.options(g)]
    if elsewhere:
        return message + f"; {value} is an option of {elsewhere[0]}: {elsewhere[0]}={value}"
    if group.startswith("hydra/"):
        extra = next((extra for extra in PLUGINS if value.startswith(extra)), None)
        cure = f"pip install 'seqtrain[{extra}]'" if extra else "others come with plugins of Hydra"
        return f"{message}{did_you_mean([f'{group}={o}' for o in near(value, options)])} ({cure})"
    files = {option: configs.file(f"{group}/{option}") for option in options}
    meant = [o for o, path in files.items() if path and value.lower() in re.findall(r"\w+", describe(path).lower())]
    return message + did_you_mean([f"{group}={o}" for o in meant or near(value, options)])


def text_of(o: Override) -> str:
    """Returns the part of an override behind the =, as it was typed."""
    return (o.input_line or "").partition("=")[2]


def sweep_values(o: Override) -> list[Any]:
    """Returns the values of an override: several in a sweep, else one. Of an interval, its two ends are checked."""
    value = o.value()
    if isinstance(value, IntervalSweep):
        return [value.start, value.end]
    return [parse_value(text) for text in sweep_texts(o)] if o.is_sweep_override() else [value]


def sweep_texts(o: Override) -> list[str]:
    """Returns the same values as `sweep_values`, as texts in Hydra's grammar."""
    if not o.is_sweep_override():
        return [text_of(o)]
    value = o.value()
    if isinstance(value, IntervalSweep):
        return [str(value.start), str(value.end)]
    return [str(text) for text in o.sweep_iterator(transformer=Transformer.encode)]


def parse_value(text: str) -> Any:
    return OverridesParser.create().parse_override(f"key={text}").value()


def override_problems(o: Override, schema: Schema, configs: Configs) -> list[str]:
    """Returns what is wrong with `key=value`, for each of its values in a sweep."""
    name = o.key_or_group
    if schema.owner(name) is None and name not in schema.sections:
        return [unknown_key(name, o, schema, configs)]
    if o.is_delete():
        needed = name in schema.keys or name in schema.sections
        return [f"{o.input_line}: {name} cannot be taken away; set it to a value, such as null"] if needed else []
    problems = []
    for value in sweep_values(o):
        is_section = isinstance(value, dict) and name not in schema.keys
        settings = leaves(value, schema, f"{name}.") if is_section else [(name, value)]
        for key, setting in settings:
            interpolated = isinstance(setting, str) and "${" in setting  # checked once it is resolved
            if not interpolated and (problem := check_value(key, setting, schema)):
                if cure := whole_numbers(o, key, setting, schema):
                    return [problem + cure]
                problems.append(problem)
    return problems


def whole_numbers(o: Override, name: str, value: Any, schema: Schema) -> str:
    """Returns the end of a message about an interval where whole numbers are expected."""
    fits = isinstance(o.value(), IntervalSweep) and isinstance(value, float) and value.is_integer()
    if not fits or check_value(name, int(value), schema):
        return ""
    return f"; for whole numbers: {shlex.quote(f'{name}=int({text_of(o)})')}"


def unknown_key(name: str, o: Override, schema: Schema, configs: Configs) -> str:
    """Returns the message for a key that does not exist, with the most probable mistake: a / for a dot, a key below a
    value, a key of another option, or an option of another group."""
    groups = configs.groups()
    message = f"{name}: there is no such key"
    if (with_dots := name.replace("/", ".")) in schema.keys:
        return f"{message}{did_you_mean([with_dots])}"
    section, _, key = with_dots.partition(".")
    if (parent := name.rpartition(".")[0]) in schema.keys:
        return f"{name}: {parent} is a value and has no keys of its own"
    if section in groups and key:
        options = [option for option in configs.options(section) if key in option_keys(configs, section, option)]
        if options:
            return f"{message} with this {section}; {' or '.join(f'{section}={o}' for o in options)} has it"
    if not key:
        value = "" if o.is_delete() else str(sweep_values(o)[0])
        groups_with_option = [g for g in groups if value in configs.options(g)]
        if groups_with_option:
            nearest = near(name, groups_with_option, cutoff=0.0) or groups_with_option
            return f"{message}{did_you_mean([f'{nearest[0]}={value}'])}"
        if nearest := near(name, groups, cutoff=0.7):
            return f"{message}{did_you_mean([f'{nearest[0]}=OPTION'])}"
    return message + suggest(name, schema)


def option_keys(configs: Configs, group: str, option: str) -> set[str]:
    """Returns the keys that an option declares in the section of its group; none where its file cannot be read."""
    path = configs.file(f"{group}/{option}")
    try:
        return {entry.name.removeprefix(f"{group}.") for entry in read_entries(path)} if path else set()
    except (yaml.YAMLError, OSError, UnicodeDecodeError):
        return set()
