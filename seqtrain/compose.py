"""From a command line to a checked configuration: the one place that knows Hydra's insides.

Hydra stops at its first complaint. Here the words of the command line are looked at first, each by itself (`Words`),
then the groups they choose, and only what is sound is composed, so that one look tells every mistake there is.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, OverrideType, Transformer
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from seqtrain.config import UserError, check_together, near_path
from seqtrain.schema import (
    Schema,
    check,
    check_value,
    conform,
    describe,
    did_you_mean,
    leaves,
    near,
    nearest_keys,
    read_entries,
    suggest,
)

ROOT = next(p for p in (Path(__file__).parent / "configs", Path(__file__).parents[1] / "configs") if p.is_dir())


class Mistakes(UserError):
    """Every mistake of a configuration, one a line."""

    def __init__(self, problems: list[str]) -> None:
        problems = list(dict.fromkeys(problems))
        many = f"{len(problems)} mistakes in the configuration:\n  "
        super().__init__(problems[0] if len(problems) == 1 else many + "\n  ".join(problems))


# -------------------------------------------------------------------------------- folders


class Configs:
    """The config folders that a command line sees: ours and the user's own."""

    def __init__(self, root: Path = ROOT, config_dir: str | None = None, name: str = "config") -> None:
        self.name = name.removesuffix(".yaml")
        if not (root / f"{self.name}.yaml").is_file():
            raise UserError(f"--config-path, --config-name: there is no file {root / self.name}.yaml")
        if config_dir is not None and not Path(config_dir).is_dir():
            raise UserError(
                f"--config-dir {config_dir}: there is no such folder{did_you_mean(near_path(Path(config_dir)))}"
            )
        path = create_config_search_path(str(root.absolute()))
        if config_dir is not None:
            path.prepend("command-line", f"file://{Path(config_dir).absolute()}", SearchPathQuery(provider="schema"))
        self.loader = ConfigLoaderImpl(path)

    @classmethod
    def of_job(cls) -> "Configs":
        """The folders that Hydra used for the job that is running."""
        hydra, configs = HydraConfig.get(), cls.__new__(cls)
        path = ConfigSearchPathImpl()
        for source in hydra.runtime.config_sources:
            path.append(source.provider, f"{source.schema}://{source.path}")
        configs.name, configs.loader = hydra.job.config_name, ConfigLoaderImpl(path)
        return configs

    def add(self, folders: list[str]) -> None:
        """Adds what `hydra.searchpath` names."""
        path = self.loader.config_search_path
        for folder in folders:
            path.prepend("hydra.searchpath", folder, SearchPathQuery(provider="schema"))
        self.loader = ConfigLoaderImpl(path)

    def groups(self) -> list[str]:
        return [g for g in self.loader.repository.get_group_options("", ObjectType.GROUP) if g != "hydra"]

    def is_group(self, name: str) -> bool:
        return self.loader.repository.group_exists(name)

    def options(self, group: str) -> list[str]:
        return self.loader.repository.get_group_options(group, ObjectType.CONFIG)

    def file(self, name: str) -> Path | None:
        """The YAML file of a config such as model/seq2seq."""
        for source in self.loader.get_sources():
            if source.scheme() == "file" and (path := Path(source.path, f"{name}.yaml")).is_file():
                return path
        return None


# -------------------------------------------------------------------------------- words


@dataclass
class Words:
    """The overrides of a command line, told apart; `problems` are those that no composition survives."""

    groups: list[Override] = field(default_factory=list)
    values: list[Override] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


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
    if any(c in key for c in " \t\"'"):
        return f"{line}: {key!r} is no name of a setting; expected key=value"
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
    if o.is_delete():
        return f"{o.input_line}: a run needs one {group}; choose with {group}=OPTION"
    if o.type is not OverrideType.CHANGE or o.package is not None:
        return f"{o.input_line}: write {spelled}"
    options = configs.options(group)
    for value in sweep_values(o):
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
    return message + did_you_mean([f"{group}={o}" for o in near(value, options)])


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


# -------------------------------------------------------------------------------- composing


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
    first.swept = [o.key_or_group for o in (*words.groups, *words.values) if o.is_sweep_override()]
    first.overrides = [plain_line(o, first.schema) for o in (*words.groups, *words.values)]
    return first


def plain_line(o: Override, schema: Schema) -> str:
    """An override as Hydra takes it: `+key=` of a key that is there already is `key=`."""
    line = o.input_line or ""
    return line.lstrip("+") if o.key_or_group in schema.keys or o.key_or_group in schema.sections else line


def compose_one(configs: Configs, groups: list[str], words: Words, problems: list[str]) -> Composed | None:
    """One combination of groups with the first value of everything else; appends what is wrong to `problems`."""
    try:
        files = read_files(configs, groups)
        known = known_hydra(configs, groups) if any(is_hydra(o) for o in words.values) else {}
        sound, wrong = [], []
        for o in words.values:
            found = hydra_problems(o, known) if is_hydra(o) else word_problems(o, files.schema, configs)
            wrong += found
            sound += (
                [] if found else [f"++{o.key_or_group}={sweep_texts(o)[0]}" if not o.is_delete() else str(o.input_line)]
            )
        with_hydra = configs.loader.load_configuration(configs.name, [*groups, *sound], RunMode.RUN, from_shell=False)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        problems.append(in_short(error))
        return None
    HydraConfig.instance().set_config(with_hydra)
    config, unresolved = plain(with_hydra)
    for name, problem in {**check(config, files.schema), **unresolved}.items():
        typed = any(f"++{name}=".startswith(f"{o.partition('=')[0]}") for o in sound)
        origin = "" if typed or name not in files.origins else f" (in {files.origins[name]})"
        wrong += [f"{problem}{origin}"] if problem else []
    problems += wrong or check_together(config)
    return Composed(conform(config, files.schema), files.schema, with_hydra, [], [])


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
        if prefix:
            files.schema.sections.setdefault(str(default.package), describe(path))
        for entry in entries:
            files.origins[entry.name] = f"{default.config_path}.yaml, line {entry.line}"
            mine = entry.name.startswith(own) or f"{entry.name}." == own
            if entry.key is None and mine:
                files.schema.sections.setdefault(entry.name, entry.comment)
            elif entry.key is not None and mine and (entry.key.typed or not extends):
                files.schema.add(entry.name, entry.key)
    return files


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
    section, _, last = name.replace("/", ".").partition(".")
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
                problems[name] = f"{name} needs a value: {name}=..."
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
    return " ".join(text.split())


def schema_of_job() -> Schema:
    """The schema of the job that Hydra is running."""
    configs, hydra = Configs.of_job(), HydraConfig.get()
    parser = OverridesParser.create()
    lines = [*hydra.overrides.hydra, *hydra.overrides.task]
    groups = [line for line in lines if configs.is_group(parser.parse_override(line).key_or_group)]
    return read_files(configs, groups).schema
