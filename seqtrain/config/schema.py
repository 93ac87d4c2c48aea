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

from seqtrain.config.quoting import typed
from seqtrain.config.spelling import did_you_mean, near, nearest_keys


class Key(NamedTuple):
    """One key of a configuration: what values it takes, what it is for, and the line of YAML that declares it."""

    expected: str  # the type as it is written: "int >= 1 or null"
    accepts: tuple[Callable[[Any], bool], ...]  # a test for each alternative of the type
    about: str  # the description after the type
    comment: str  # all of the comment
    file: Path
    line: int
    typed: bool  # whether the comment gives the type; otherwise it is that of the default value
    words: tuple[str, ...] = ()  # the allowed words of an enumeration

    def takes(self, value: Any) -> bool:
        return any(accept(value) for accept in self.accepts)


@dataclass
class Schema:
    """The keys of a whole configuration and the comments of its sections, both by dotted name."""

    keys: dict[str, Key] = field(default_factory=dict)
    sections: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, key: Key) -> None:
        """Declares a key. A key without a type, in a file that extends another, keeps the type of the other file."""
        if key.typed or name not in self.keys:
            self.keys[name] = key

    def owner(self, name: str) -> str | None:
        """Returns the declared key that `name` is or lies below (anything may lie below a key that takes a dict)."""
        parts = name.split(".")
        prefixes = (".".join(parts[:n]) for n in range(1, len(parts) + 1))
        key = next((prefix for prefix in prefixes if prefix in self.keys), None)
        if key is None or (key != name and not self.keys[key].takes({})):
            return None
        return key

    def inside(self, section: str) -> list[str]:
        """Returns the names of the keys and sections directly below a section."""
        known = [*self.keys, *self.sections]
        start = f"{section}." if section else ""
        return [n.removeprefix(start) for n in known if n.startswith(start) and "." not in n.removeprefix(start)]


# -------------------------------------------------------------------------------- types


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


TYPES: dict[str, Callable[[Any], bool]] = {
    "int": lambda v: isinstance(v, int) and not isinstance(v, bool) and abs(v) < 2**63,  # what torch can hold
    "float": is_number,
    "bool": lambda v: isinstance(v, bool),
    "str": lambda v: (isinstance(v, str) and v != "") or is_number(v),  # name=3 on a command line
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
    """Parses a range such as `>= a`, `< b` or `in [a, b)`; returns the function that tests a number, or None."""
    if match := BOUND.fullmatch(text):
        holds, bound = BOUNDS[match[1]], float(match[2])
        return lambda v: holds(v, bound)
    if match := INTERVAL.fullmatch(text):
        low, high = float(match[2]), float(match[3])
        above, below = BOUNDS[">=" if match[1] == "[" else ">"], BOUNDS["<=" if match[4] == "]" else "<"]
        return lambda v: above(v, low) and below(v, high)
    return None


def parse_type(text: str) -> Callable[[Any], bool] | None:
    """Parses one type, such as `int >= 1`, `list of float` or `null`; returns the function that tests a value. None
    where the text is not a type."""
    if text.startswith("list of "):
        item = parse_type(text.removeprefix("list of "))
        return item and (lambda v: isinstance(v, list) and all(item(x) for x in v))
    name, _, limits = text.partition(" ")
    if name not in TYPES:
        return None
    of_type = TYPES[name]
    if not limits:
        return of_type
    within = parse_range(limits.strip())
    return (lambda v: of_type(v) and within(v)) if within and name in ("int", "float") else None


def literal(word: str) -> Any:
    """Returns the value of a word of an enumeration: a number where it consists of digits."""
    return int(word) if word.isdigit() else word


def parse_comment(comment: str) -> tuple[str, tuple[Callable[[Any], bool], ...], str, tuple[str, ...]] | None:
    """Parses the comment behind a key, such as `int >= 1 or auto: how many threads`.

    Returns the type, a test for each of its alternatives, the description, and the words of an enumeration; None for a
    comment without a type.
    """
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
        return None  # an enumeration has two words or more: this is a remark of one word
    values = [literal(word) for word in words]
    if values:
        tests.append(lambda v: any(type(v) is type(x) and v == x for x in values))
    return expected, tuple(tests), about.strip(), tuple(words)


def type_of(value: Any) -> str:
    """Returns the type of a default value, for a key whose comment gives none."""
    if isinstance(value, str) and value.startswith("${"):
        return "anything"
    names = {bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "dict"}
    return names.get(type(value), "anything")


# -------------------------------------------------------------------------------- files

LONGEST_COMMENT = 1000  # characters; the regular expressions above must not search a file of any length


class Entry(NamedTuple):
    """A key of a YAML file with its value, or the head of a section, where `key` is None."""

    name: str
    key: Key | None
    value: Any
    comment: str
    line: int


def comment_after(lines: list[str], mark: yaml.Mark) -> str:
    """Returns the comment at the end of the line on which a YAML node ends. mark: where the node ends."""
    after_node = lines[mark.line][mark.column :] if mark.line < len(lines) else ""
    if not re.match(r"[\s,:]*#", after_node):
        return ""
    return " ".join(after_node.partition("#")[2].split())[:LONGEST_COMMENT]


def read_entries(file: Path, text: str | None = None) -> Iterator[Entry]:
    """Yields the keys and sections of a YAML file in its order, except its defaults list and the section hydra. text:
    the content of the file, if it has been read already."""
    text = file.read_text(encoding="utf-8") if text is None else text
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
    """Yields the keys and sections below a YAML node, whose name is `prefix`."""
    for key_node, value_node in node.value:
        name, line = f"{prefix}{key_node.value}", key_node.start_mark.line + 1
        if name in ("defaults", "hydra"):
            continue
        is_block = isinstance(value_node, yaml.CollectionNode) and not value_node.flow_style
        comment = comment_after(lines, key_node.end_mark if is_block else value_node.end_mark)
        if isinstance(value_node, yaml.MappingNode) and value_node.value:
            yield Entry(name, key=None, value=None, comment=comment, line=line)
            yield from walk(loader, value_node, lines, file, f"{name}.")
        else:
            value = loader.construct_object(value_node, deep=True)
            yield Entry(name, make_key(value, comment, file, line), value, comment, line)


def make_key(value: Any, comment: str, file: Path, line: int) -> Key:
    """Makes a key from its default value and its comment. It accepts an empty text only where that is its default."""
    tests_of_empty = ((lambda v: v == ""),) if value == "" else ()
    if parsed := parse_comment(comment):
        expected, tests, about, words = parsed
        return Key(expected, tests + tests_of_empty, about, comment, file, line, typed=True, words=words)
    expected = type_of(value)
    tests = (TYPES.get(expected, lambda v: True), *tests_of_empty)
    return Key(expected, tests, about=comment, comment=comment, file=file, line=line, typed=False)


def read_schema(file: Path, text: str | None = None) -> Schema:
    """Reads the schema of the config.yaml of a run folder, whose comments give the types. text: its content, if it has
    been read already."""
    schema = Schema()
    for entry in read_entries(file, text):
        if entry.key is None:
            schema.sections[entry.name] = entry.comment
        else:
            schema.add(entry.name, entry.key)
    return schema


def describe(file: Path) -> str:
    """Returns the first comment line of an option's file, the sentence that says what the option is."""
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith("#"):
                return ""
            if not line.startswith("# @package"):
                return line.lstrip("#").strip()
    return ""


# -------------------------------------------------------------------------------- checks


def leaves(config: dict[str, Any], schema: Schema, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields each key of a configuration with its value. The dict of a key that takes a dict is one value."""
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value and name not in schema.keys:
            yield from leaves(value, schema, f"{name}.")
        else:
            yield name, value


def check(config: dict[str, Any], schema: Schema) -> dict[str, str]:
    """Returns a message for each key of a configuration that is wrong, unknown or missing."""
    problems: dict[str, str] = {}
    present: set[str] = set()
    for name, value in leaves(config, schema):
        present.add(name)
        if problem := check_value(name, value, schema):
            problems[name] = problem
    for name in schema.keys.keys() - present:
        section_is_wrong = any(name.startswith(f"{other}.") for other in problems)
        if not section_is_wrong:
            problems[name] = f"{name} needs a value: {name}=...; expected {expectation(schema.keys[name])}"
    return problems


def check_value(name: str, value: Any, schema: Schema) -> str | None:
    """Returns what is wrong with one value, or None."""
    if name in schema.sections:
        return f"{name} is a section, not a value; its keys: {', '.join(schema.inside(name))}"
    owner = schema.owner(name)
    if owner is None:
        return f"{name}: there is no such key{suggest(name, schema)}"
    if owner != name or schema.keys[name].takes(value):
        return None
    key = schema.keys[name]
    empty = " (empty: is a variable of the shell not set?)" if value == "" else ""
    hint = did_you_mean(near(str(value), key.words))
    if isinstance(value, bool | float) and key.takes(show(value)):
        hint = f"; as a text: {typed(name, show(value))}"
    return f"{name}={show(value)}{empty}: expected {expectation(key)}{hint}"


def expectation(key: Key) -> str:
    return f"{key.expected} ({key.about})" if key.about else key.expected


def show(value: Any) -> str:
    """Returns a value as a user types it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"'{value}'" if value == "" or (isinstance(value, str) and " " in value) else str(value)


def conform(config: dict[str, Any], schema: Schema, prefix: str = "") -> dict[str, Any]:
    """Returns the configuration with the values in the declared types: an int becomes a float where only a float is
    expected, and a number becomes a text where a text is."""
    out = {}
    for name, value in config.items():
        key = schema.keys.get(f"{prefix}{name}")
        if isinstance(value, dict) and key is None:
            out[name] = conform(value, schema, f"{prefix}{name}.")
        else:
            out[name] = convert(value, key.expected) if key else value
    return out


def convert(value: Any, expected: str) -> Any:
    """Converts a value, or each item of a list, to the type that is expected: see `conform`."""
    if isinstance(value, list):
        return [convert(item, expected) for item in value]
    types = set(re.findall(r"\b(int|float|str)\b", expected))
    if is_number(value) and types == {"float"}:
        return float(value)
    means_text = is_number(value) and "str" in types and type(value).__name__ not in types
    return str(value) if means_text else value


def suggest(name: str, schema: Schema, more: tuple[str, ...] = ()) -> str:
    """Returns the end of a message about an unknown key: the key that was meant, or the keys of its section. more:
    names that are right as well, beside those of the schema."""
    meant = nearest_keys(name, [*schema.keys, *more], lambda n: schema.keys[n].about if n in schema.keys else "")
    if meant:
        return did_you_mean(meant)
    section = name.rpartition(".")[0]
    if section and section in schema.sections:
        return f"; {section} has {', '.join(k for k in schema.inside(section) if k != '_target_')}"
    return "; `seqtrain --cfg job` shows every key"
