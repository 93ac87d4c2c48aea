"""The words of a command line, each looked at by itself."""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, OverrideType, Transformer
from hydra.errors import HydraException

from seqtrain.config.schema import Schema, check_value, describe, leaves, read_entries, suggest
from seqtrain.config.sources import Configs
from seqtrain.config.spelling import did_you_mean, near


@dataclass
class Words:
    """The overrides of a command line, told apart; `problems` are those that no composition survives."""

    groups: list[Override] = field(default_factory=list)
    values: list[Override] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


NAME = re.compile(r"[+~]{0,2}[\w$-]+([./@:][\w$-]+)*")


def read_words(lines: list[str], configs: Configs, multirun: bool) -> Words:
    words, parser = Words(), OverridesParser.create(config_loader=configs.loader)
    for line in lines:
        try:
            override = parser.parse_override(line)
        except HydraException as error:
            words.problems.append(malformed(line, error))
            continue
        override.config_loader = configs.loader
        problem = sweep_problem(override, multirun) or malformed_key(override)
        is_group = configs.is_group(override.key_or_group)
        if problem is None and is_group:
            problem = group_problem(override, configs)
        if problem:
            words.problems.append(problem)
        else:
            (words.groups if is_group else words.values).append(override)
    return words


def malformed(line: str, error: Exception) -> str:
    key, equals, value = line.partition("=")
    if not equals:
        return f"{line}: expected key=value" + (f", for example {key}=1" if key and not key.startswith("-") else "")
    if not NAME.fullmatch(key):
        return f"{line}: {key!r} is no name of a setting; expected key=value, such as trainer.epochs=3"
    return f"{line}: the value cannot be read ({error}); quote special characters: '{key}=\"{value}\"'".replace(
        "\n", " "
    )


def malformed_key(o: Override) -> str | None:
    if not o.key_or_group:
        return f"{o.input_line}: there is no name before the =; expected key=value"
    return None


def sweep_problem(o: Override, multirun: bool) -> str | None:
    if not o.is_sweep_override():
        return None
    if not multirun:
        text = text_of(o)
        return f"{o.input_line}: several values need a sweep: add -m; for one list write {o.key_or_group}=[{text}]"
    if o.key_or_group.startswith("hydra.") or o.key_or_group.startswith("hydra/"):
        return f"{o.input_line}: settings of hydra cannot be swept over; give one value"
    return None


def group_problem(o: Override, configs: Configs) -> str | None:
    group, spelled = o.key_or_group, f"{o.key_or_group}={text_of(o)}"
    if group == "hydra":
        return f"{o.input_line}: hydra is a section, not a value; set its keys, such as hydra.run.dir=FOLDER"
    if o.is_delete():
        return f"{o.input_line}: a run needs one {group}; choose with {group}=OPTION"
    if o.type is not OverrideType.CHANGE or o.package is not None:
        return f"{o.input_line}: write {spelled}"
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
    there_are = f"there are: {', '.join(options)}" if options else "there are none yet"
    message = f"{group}={value}: there is no such {group}; {there_are}"
    elsewhere = [g for g in configs.groups() if g != group and value in configs.options(g)]
    if elsewhere:
        return message + f"; {value} is an option of {elsewhere[0]}: {elsewhere[0]}={value}"
    if group.startswith("hydra/"):
        return message + " (others come with plugins, such as hydra-joblib-launcher)"
    files = {option: configs.file(f"{group}/{option}") for option in options}
    meant = [o for o, path in files.items() if path and value.lower() in re.findall(r"\w+", describe(path).lower())]
    return message + did_you_mean([f"{group}={o}" for o in meant or near(value, options)])


def text_of(o: Override) -> str:
    """The value part of an override as it was typed."""
    return (o.input_line or "").partition("=")[2]


def sweep_values(o: Override) -> list[Any]:
    """The values that an override takes in the jobs of a sweep, or its one value."""
    value = o.value()
    if isinstance(value, IntervalSweep):
        return [value.start, value.end]
    return [parse_value(text) for text in sweep_texts(o)] if o.is_sweep_override() else [value]


def sweep_texts(o: Override) -> list[str]:
    if not o.is_sweep_override():
        return [text_of(o)]
    value = o.value()
    if isinstance(value, IntervalSweep):
        return [str(value.start), str(value.end)]
    return [str(text) for text in o.sweep_iterator(transformer=Transformer.encode)]


def parse_value(text: str) -> Any:
    return OverridesParser.create().parse_override(f"key={text}").value()


def word_problems(o: Override, schema: Schema, configs: Configs) -> list[str]:
    """What is wrong with one `key=value`, with each of its values in a sweep."""
    name = o.key_or_group
    if schema.owner(name) is None and name not in schema.sections:
        return [unknown_key(name, o, schema, configs)]
    if o.is_delete():
        needed = name in schema.keys or name in schema.sections
        return [f"{o.input_line}: {name} cannot be taken away; set it to a value, such as null"] if needed else []
    problems = []
    for value in sweep_values(o):
        inner = (
            leaves(value, schema, f"{name}.")
            if isinstance(value, dict) and name not in schema.keys
            else [(name, value)]
        )
        problems += [check_value(n, v, schema) for n, v in inner if not (isinstance(v, str) and "${" in v)]
    return [problem for problem in problems if problem]


def unknown_key(name: str, o: Override, schema: Schema, configs: Configs) -> str:
    groups = configs.groups()
    message = f"{name}: there is no such key"
    if (spelled := name.replace("/", ".")) in schema.keys:
        return f"{message}{did_you_mean([spelled])}"
    section, _, last = spelled.partition(".")
    if (holder := name.rpartition(".")[0]) in schema.keys:
        return f"{name}: {holder} is a value and has no keys of its own"
    if section in groups and last:
        others = [
            f"{section}={option}" for option in configs.options(section) if last in own_keys(configs, section, option)
        ]
        if others:
            return f"{message} with this {section}; {' or '.join(others)} has it"
    if not last:
        value = "" if o.is_delete() else str(sweep_values(o)[0])
        holders = [g for g in groups if value in configs.options(g)]
        if holders:
            best = near(name, holders, 0.0) or holders
            return f"{message}{did_you_mean([f'{best[0]}={value}'])}"
        if found := near(name, groups, 0.7):
            return f"{message}{did_you_mean([f'{found[0]}=OPTION'])}"
    return message + suggest(name, schema)


def own_keys(configs: Configs, group: str, option: str) -> set[str]:
    """The keys of one option of a group, by their names in its section."""
    path = configs.file(f"{group}/{option}")
    try:
        return {entry.name.removeprefix(f"{group}.") for entry in read_entries(path)} if path else set()
    except (yaml.YAMLError, OSError, UnicodeDecodeError):
        return set()
