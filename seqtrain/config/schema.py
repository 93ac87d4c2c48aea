"""Schemas of configurations, read from the YAML files themselves.

The comment behind a key is its documentation and its type: `hidden_size: 256  # int >= 1: width of every layer`.
A schema is flat, `{"model.hidden_size": Key, ...}`, and so are the problems that `check` finds.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from omegaconf._utils import get_yaml_loader

from seqtrain.config.spelling import did_you_mean, near, nearest_keys


class Key(NamedTuple):
    """One key of a configuration: what it accepts, what it is for, and where its YAML says so."""

    expected: str  # "int >= 1 or null"
    accepts: tuple[Callable[[Any], bool], ...]
    about: str
    comment: str
    file: Path
    line: int
    typed: bool  # the comment gives the type; otherwise it comes from the default
    words: tuple[str, ...] = ()  # of an enumeration

    def takes(self, value: Any) -> bool:
        return any(accept(value) for accept in self.accepts)


@dataclass
class Schema:
    """The keys of a whole configuration and the comments of its sections, both by dotted name."""

    keys: dict[str, Key] = field(default_factory=dict)
    sections: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, key: Key) -> None:
        """Declares a key; a bare value in a file that extends another leaves the type that the other one gave."""
        if key.typed or name not in self.keys:
            self.keys[name] = key

    def owner(self, name: str) -> str | None:
        """The declared key that `name` is, or lies in (a key that takes a dict has what it likes below it)."""
        parts = name.split(".")
        prefixes = (".".join(parts[:n]) for n in range(1, len(parts) + 1))
        found = next((prefix for prefix in prefixes if prefix in self.keys), None)
        return found if found == name or (found and self.keys[found].takes({})) else None

    def inside(self, section: str) -> list[str]:
        """Names of the keys and sections directly below a section."""
        known = [*self.keys, *self.sections]
        start = f"{section}." if section else ""
        return [n.removeprefix(start) for n in known if n.startswith(start) and "." not in n.removeprefix(start)]


# -------------------------------------------------------------------------------- types


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


TYPES: dict[str, Callable[[Any], bool]] = {
    "int": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "float": is_number,
    "bool": lambda v: isinstance(v, bool),
    "str": lambda v: isinstance(v, str) or is_number(v),  # name=3 on a command line
    "null": lambda v: v is None,
    "dict": lambda v: isinstance(v, dict),
    "list": lambda v: isinstance(v, list),
}
NUMBER = r"[+-]?(?:\d[\d_]*\.?\d*(?:e[+-]?\d+)?|\.\d+|inf)"
BOUND = re.compile(rf"(>=|>|<=|<) ?({NUMBER})")
INTERVAL = re.compile(rf"in ?([\[(]) ?({NUMBER}), ?({NUMBER}) ?([\])])")
WORD = re.compile(r"[\w./+-]+")
BOUNDS: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda v, a: v >= a,
    ">": lambda v, a: v > a,
    "<=": lambda v, a: v <= a,
    "<": lambda v, a: v < a,
}


def parse_range(text: str) -> Callable[[float], bool] | None:
    """`>= a`, `< b`, `in [a, b)` and the like as a test of a number."""
    if match := BOUND.fullmatch(text):
        holds, bound = BOUNDS[match[1]], float(match[2])
        return lambda v: holds(v, bound)
    if match := INTERVAL.fullmatch(text):
        low, high = float(match[2]), float(match[3])
        above, below = BOUNDS[">=" if match[1] == "[" else ">"], BOUNDS["<=" if match[4] == "]" else "<"]
        return lambda v: above(v, low) and below(v, high)
    return None


def parse_type(text: str) -> Callable[[Any], bool] | None:
    """One alternative, except a word of an enumeration: `int >= 1`, `list of float`, `null`."""
    if text.startswith("list of "):
        item = parse_type(text.removeprefix("list of "))
        return item and (lambda v: isinstance(v, list) and all(item(x) for x in v))
    name, _, limits = text.partition(" ")
    if name not in TYPES:
        return None
    of_type, within = TYPES[name], parse_range(limits.strip()) if limits else None
    if not limits:
        return of_type
    return (lambda v: of_type(v) and within(v)) if within and name in ("int", "float") else None


def literal(word: str) -> Any:
    return int(word) if word.isdigit() else word


def parse_comment(comment: str) -> tuple[str, tuple[Callable[[Any], bool], ...], str, tuple[str, ...]] | None:
    """The type, its tests, the description and the words of a schema comment; None where it is prose alone."""
    expected, _, about = comment.partition(": ")
    expected = expected.strip().removesuffix(":")
    parts = re.split(r"\s+or\s+|\s*\|\s*", expected)
    tests: list[Callable[[Any], bool]] = []
    words: list[str] = []
    for part in parts:
        if test := parse_type(part):
            tests.append(test)
        elif WORD.fullmatch(part):
            words.append(part)
        else:
            return None
    if words and len(parts) < 2:
        return None  # one word alone is prose
    values = [literal(word) for word in words]
    if values:
        tests.append(lambda v: any(type(v) is type(x) and v == x for x in values))
    return expected, tuple(tests), about.strip(), tuple(words)


def type_of(value: Any) -> str:
    """The type that a default without a schema comment stands for."""
    if isinstance(value, str) and value.startswith("${"):
        return "anything"
    names = {bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "dict"}
    return names.get(type(value), "anything")


# -------------------------------------------------------------------------------- files

LONGEST_COMMENT = 1000  # characters: what expressions search through must not be as long as a stranger likes


class Entry(NamedTuple):
    """A key of one file with its value, or a section (`key` is None then)."""

    name: str
    key: Key | None
    value: Any
    comment: str
    line: int


def comment_after(lines: list[str], mark: yaml.Mark) -> str:
    """The trailing comment of the line on which a node ends."""
    rest = lines[mark.line][mark.column :] if mark.line < len(lines) else ""
    return " ".join(rest.partition("#")[2].split())[:LONGEST_COMMENT] if re.match(r"[\s,:]*#", rest) else ""


def read_entries(file: Path) -> Iterator[Entry]:
    """Keys and sections of a YAML file in its order, except its defaults list."""
    text = file.read_text(encoding="utf-8")
    loader = get_yaml_loader()(text)
    try:
        root = loader.get_single_node()
        if root is not None and not isinstance(root, yaml.MappingNode):
            raise yaml.YAMLError(f"{file}: the file must hold keys and values")
        if root is not None:
            yield from walk(loader, root, text.splitlines(), file, "")
    finally:
        loader.dispose()


def walk(loader: Any, node: yaml.MappingNode, lines: list[str], file: Path, prefix: str) -> Iterator[Entry]:
    for key_node, node_value in node.value:
        name, line = f"{prefix}{key_node.value}", key_node.start_mark.line + 1
        if name == "defaults" or name == "hydra":
            continue
        block = isinstance(node_value, yaml.CollectionNode) and not node_value.flow_style
        comment = comment_after(lines, key_node.end_mark if block else node_value.end_mark)
        if isinstance(node_value, yaml.MappingNode) and node_value.value:
            yield Entry(name, None, None, comment, line)
            yield from walk(loader, node_value, lines, file, f"{name}.")
        else:
            value = loader.construct_object(node_value, deep=True)
            yield Entry(name, make_key(value, comment, file, line), value, comment, line)


def make_key(value: Any, comment: str, file: Path, line: int) -> Key:
    if parsed := parse_comment(comment):
        expected, tests, about, words = parsed
        return Key(expected, tests, about, comment, file, line, True, words)
    expected = type_of(value)
    return Key(expected, (TYPES.get(expected, lambda v: True),), comment, comment, file, line, False)


def read_schema(file: Path) -> Schema:
    """The schema of a file that describes itself: the config.yaml of a run folder."""
    schema = Schema()
    for entry in read_entries(file):
        if entry.key is None:
            schema.sections[entry.name] = entry.comment
        else:
            schema.add(entry.name, entry.key)
    return schema


def describe(file: Path) -> str:
    """The first comment line of an option's file: what it is, in one sentence."""
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith("#"):
                return ""
            if not line.startswith("# @package"):
                return line.lstrip("#").strip()
    return ""


# -------------------------------------------------------------------------------- checks


def leaves(config: dict[str, Any], schema: Schema, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of a configuration with their values; what lies in a key that takes a dict is its value."""
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value and name not in schema.keys:
            yield from leaves(value, schema, f"{name}.")
        else:
            yield name, value


def check(config: dict[str, Any], schema: Schema) -> dict[str, str]:
    """Every problem of a configuration by the key that has it; none for a valid one."""
    problems: dict[str, str] = {}
    found: set[str] = set()
    for name, value in leaves(config, schema):
        found.add(name)
        if problem := check_value(name, value, schema):
            problems[name] = problem
    for name in schema.keys.keys() - found:
        inside = any(name.startswith(f"{other}.") for other in problems)
        if not inside:
            problems[name] = f"{name} needs a value: {name}=...; expected {expectation(schema.keys[name])}"
    return problems


def check_value(name: str, value: Any, schema: Schema) -> str | None:
    """What is wrong with one value, or None."""
    if name in schema.sections:
        return f"{name} is a section, not a value; its keys: {', '.join(schema.inside(name))}"
    owner = schema.owner(name)
    if owner is None:
        return f"{name}: there is no such key{suggest(name, schema)}"
    if owner != name or schema.keys[name].takes(value):
        return None
    key = schema.keys[name]
    return f"{name}={show(value)}: expected {expectation(key)}{did_you_mean(near(str(value), key.words))}"


def expectation(key: Key) -> str:
    return f"{key.expected} ({key.about})" if key.about else key.expected


def show(value: Any) -> str:
    """A value as it is typed."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"'{value}'" if value == "" or (isinstance(value, str) and " " in value) else str(value)


def conform(config: dict[str, Any], schema: Schema, prefix: str = "") -> dict[str, Any]:
    """The same configuration with ints made floats, and numbers text, where only that is meant."""
    out = {}
    for name, value in config.items():
        key = schema.keys.get(f"{prefix}{name}")
        if isinstance(value, dict) and key is None:
            out[name] = conform(value, schema, f"{prefix}{name}.")
        else:
            out[name] = settle(value, key.expected) if key else value
    return out


def settle(value: Any, expected: str) -> Any:
    if isinstance(value, list):
        return [settle(x, expected) for x in value]
    types = set(re.findall(r"\b(int|float|str)\b", expected))
    if is_number(value) and len(types) == 1 and types != {"int"}:
        return float(value) if types == {"float"} else str(value)
    return value


def suggest(name: str, schema: Schema, more: tuple[str, ...] = ()) -> str:
    """The end of a message about an unknown key: the nearest right spelling, or what its section has."""
    found = nearest_keys(name, [*schema.keys, *more], lambda n: schema.keys[n].about if n in schema.keys else "")
    if found:
        return did_you_mean(found)
    section = name.rpartition(".")[0]
    if section and section in schema.sections:
        return f"; {section} has {', '.join(k for k in schema.inside(section) if k != '_target_')}"
    return "; `seqtrain --cfg job` shows every key"
