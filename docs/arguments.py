"""An extension of Griffe, which reads docstrings for the API pages: makes their arguments a table.

A docstring explains an argument or a field in a line of its own, `name: what it is`. The arguments that an option's
YAML sets are explained there (`hidden_size: 128  # int >= 1: width of every layer`), and only there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import griffe

from seqtrain.config.schema import read_entries

CONFIGS = Path(__file__).parents[1] / "configs"


def yaml_comments() -> dict[str, dict[str, str]]:
    """What the YAML files say of the arguments of each class, by its dotted name; of a section, its keys in a row."""
    classes: dict[str, dict[str, str]] = {}
    for file in sorted(CONFIGS.glob("*/*.yaml")):
        entries = {entry.name: entry for entry in read_entries(file)}
        for name in [name for name in entries if name.split(".")[-1] == "_target_"]:
            start, about = name.removesuffix("_target_"), classes.setdefault(str(entries[name].value), {})
            for entry in (e for e in entries.values() if e.name.startswith(start) and e.comment):
                argument, _, key = entry.name.removeprefix(start).partition(".")
                more = f"{about[argument]}; " if key and argument in about else ""
                about[argument] = f"{more}`{key}`: {entry.comment}" if key else entry.comment
    return classes


class Arguments(griffe.Extension):
    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        known = yaml_comments()
        for item in list(members(pkg)):
            fields = [name for name, member in item.members.items() if isinstance(member, griffe.Attribute)]
            if isinstance(item, griffe.Class):
                if any(str(base) == "NamedTuple" for base in item.bases):
                    item.set_member("__init__", constructor(item))
                for name in [n for n, a in item.attributes.items() if not a.inherited and a.docstring is None]:
                    item.del_member(name)
            about = known.get(item.path, {})
            names = [p.name for p in getattr(item, "parameters", ())]
            if item.docstring is None and about:
                item.docstring = griffe.Docstring("", parent=item)
            if item.docstring is not None:
                item.docstring.value = rewritten(item.docstring.value, names, fields, about)


def constructor(item: griffe.Class) -> griffe.Function:
    """That of a NamedTuple, whose fields are its parameters."""
    fields = [
        griffe.Parameter(
            name,
            annotation=field.annotation,
            default=field.value,
            kind=griffe.ParameterKind.positional_or_keyword,
        )
        for name, field in item.attributes.items()
        if field.annotation is not None and not field.inherited
    ]
    self = griffe.Parameter("self", kind=griffe.ParameterKind.positional_only)
    return griffe.Function("__init__", parameters=griffe.Parameters(self, *fields))


def members(item: griffe.Object) -> Any:
    for member in item.members.values():
        if not member.is_alias and isinstance(member, griffe.Object):
            yield member
            yield from members(member)


def rewritten(text: str, arguments: list[str], fields: list[str], about: dict[str, str]) -> str:
    """A docstring with its explanations in sections of Google's style, which Griffe reads."""
    prose: list[str] = []
    explained: dict[str, list[str]] = {}
    name = None
    for line in text.splitlines():
        start = re.match(r"(\w+): (.*)", line)
        if start and start[1] in (*arguments, *fields):
            name = start[1]
            explained[name] = [start[2]]
        elif name and line.strip():
            explained[name].append(line.strip())
        else:
            name = None
            prose.append(line)
    texts = {name: " ".join(lines) for name, lines in explained.items()} | about
    for title, names in (("Args", arguments), ("Attributes", [name for name in fields if name not in arguments])):
        lines = [f"    {name}: {texts[name]}" for name in names if name in texts]
        prose += ["", f"{title}:", *lines] if lines else []
    return "\n".join(prose)
