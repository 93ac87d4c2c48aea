"""The roles of names in Python's standard library: tokens of its own source, and what each name is there."""

from __future__ import annotations

import ast
import io
import keyword
import os
import random
import sysconfig
import tokenize
from collections.abc import Iterator

from seqtrain.data.kinds import Source, Tagged

LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "idlelib", "lib2to3", "turtledemo", "ensurepip"}
SPACE = (tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
SHORTEST, LONGEST = 3, 60  # tokens of a line; a longer one is a table
Place = tuple[int, int]


def modules() -> Iterator[str]:
    """The files of the standard library, without its tests."""
    for folder, folders, files in os.walk(sysconfig.get_paths()["stdlib"]):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT and not name.startswith("config-"))
        yield from (os.path.join(folder, name) for name in sorted(files) if name.endswith(".py"))


def roles(text: str) -> dict[Place, str]:
    """The role of each name by its line and column, as far as the syntax tree has places."""
    lines = text.splitlines(keepends=True)

    def place(line: int | None, column: int | None) -> Place:
        assert line is not None
        assert column is not None
        return line, len(lines[line - 1].encode()[:column].decode())  # the tree counts bytes

    def end(node: ast.Attribute) -> Place:
        line, column = place(node.end_lineno, node.end_col_offset)
        return line, column - len(node.attr)

    found: dict[Place, str] = {}
    for node in ast.walk(ast.parse(text)):  # what holds a name comes before the name itself, and says more
        match node:
            case ast.Call(func=ast.Name() as name):
                found[place(name.lineno, name.col_offset)] = "call"
            case ast.Call(func=ast.Attribute() as attribute):
                found[end(attribute)] = "method"
            case ast.ClassDef():
                names = (base for base in node.bases if isinstance(base, ast.Name))
                found |= {place(name.lineno, name.col_offset): "base" for name in names}
            case ast.Attribute():
                found.setdefault(end(node), "attribute")
            case ast.Name():
                role = "load" if isinstance(node.ctx, ast.Load) else "store"
                found.setdefault(place(node.lineno, node.col_offset), role)
            case ast.arg():
                found[place(node.lineno, node.col_offset)] = "parameter"
            case ast.keyword(arg=str()):
                found[place(node.lineno, node.col_offset)] = "keyword"
    return found


def lines(text: str) -> Iterator[Tagged]:
    """The logical lines of a module. Numbers are 0 and texts are "" in all of them."""
    known = roles(text)
    line: list[tuple[str, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NEWLINE:
            if SHORTEST <= len(line) <= LONGEST:
                tokens, tags = zip(*line, strict=True)
                yield Tagged((tokens,), tags)
            line = []
        elif token.type == tokenize.NUMBER:
            line.append(("0", "O"))
        elif token.type == tokenize.STRING or tokenize.tok_name[token.type].startswith("FSTRING"):
            line.append(('""', "O"))
        elif token.type not in SPACE:
            line.append((token.string, tag(token, line, known) if token.type == tokenize.NAME else "O"))


def tag(name: tokenize.TokenInfo, before: list[tuple[str, str]], known: dict[Place, str]) -> str:
    """The role of a name; O of a keyword, and of one that has none."""
    last = before[-1][0] if before else ""
    if keyword.iskeyword(name.string):
        return "O"
    if last in ("def", "class"):
        return "function" if last == "def" else "class"
    if name.start in known:
        return known[name.start]
    if before and before[0][0] in ("import", "from"):
        return "import"
    return "store" if last == "as" or (before and before[0][0] in ("global", "nonlocal")) else "O"


class Roles(Source[Tagged]):
    """`Tagged` lines of code: each name is a function, class, parameter, attribute, method, call, keyword, import,
    base, or is stored to or loaded from; all other tokens have the tag O. They differ between Python versions.

    Modules in the random order of `seed` fill the test split, then validation, then training; of equal lines only the
    first is kept, so that no line is in two splits.
    """

    kind = "tagged"

    def __init__(self, size: int, valid_size: int, test_size: int, seed: int):
        files = list(modules())
        random.Random(seed).shuffle(files)
        self.splits = {"test": [], "valid": [], "train": []}
        sizes, seen = {"test": test_size, "valid": valid_size, "train": size}, set[Tagged]()
        for file in files:
            split = next((name for name in sizes if len(self.splits[name]) < sizes[name]), None)
            if split is None:
                break
            with tokenize.open(file) as code:
                new = dict.fromkeys(line for line in lines(code.read()) if line not in seen)
            seen.update(new)
            self.splits[split] += list(new)[: sizes[split] - len(self.splits[split])]
