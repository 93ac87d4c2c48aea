"""Builds the docs site into build/site: python docs/build.py. A warning ends the build with exit code 1.

The pages are Markdown, as they are read in the repository. For the site they are copied to build/docs, where

- README.md is the front page, and RESULTS.md the page of results. A link that leads outside of the site becomes text;
- `<!-- keys: model -->` becomes a table of the keys of each option in configs/model, `<!-- keys: task translation -->`
  that of one option, `<!-- keys: config decode -->` the keys in configs/config.yaml that begin with `decode.`;
- each public part of the package gets an API page, which mkdocstrings makes from the docstrings (see arguments.py).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from seqtrain.config.schema import Entry, describe, read_entries, show

ROOT = Path(__file__).parents[1]
SITE = ROOT / "build" / "docs"
MOVED = {ROOT / "README.md": "index.md", ROOT / "RESULTS.md": "results.md"}
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")
KEYS = re.compile(r"^<!-- keys: ([\w/]+) ?(\w+)? -->$", re.M)
API = {
    "use": "seqtrain.commands.loaded.Loaded",
    "trainer": "seqtrain.engine.trainer",
    "schedules": "seqtrain.engine.schedules",
}
PARTS = ("contract", "tasks", "models", "frontends", "backbones", "likelihoods", "layers", "decoding", "codecs", "data")
API |= {part: f"seqtrain.{part}" for part in PARTS}


def main() -> int:
    shutil.rmtree(SITE, ignore_errors=True)
    for file in (*MOVED, *(ROOT / "docs").rglob("*.md")):
        write(place(file), page(file))
    shutil.copytree(ROOT / "docs" / "images", SITE / "images")
    shutil.copy(ROOT / "docs" / "site.css", SITE)
    for name, item in API.items():
        write(f"api/{name}.md", f"# {item}\n\n::: {item}\n")
    return subprocess.run([sys.executable, "-m", "zensical", "build", "--strict", "--clean"], cwd=ROOT).returncode


def write(name: str, text: str) -> None:
    (SITE / name).parent.mkdir(parents=True, exist_ok=True)
    (SITE / name).write_text(text, encoding="utf-8")


def place(file: Path) -> str:
    """Where a file of the repository stands in the site; empty where it does not."""
    inside = file.is_relative_to(ROOT / "docs") and file.suffix in (".md", ".png")
    return MOVED.get(file) or (str(file.relative_to(ROOT / "docs")) if inside else "")


def page(file: Path) -> str:
    """A page with its links and tables as the site has them."""

    def link(found: re.Match[str]) -> str:
        image, text, target, anchor = found.groups()
        where = place((file.parent / target).resolve())
        if not where:
            return text
        return f"{image}[{text}]({os.path.relpath(where, Path(place(file)).parent)}{anchor or ''})"

    text = KEYS.sub(lambda found: "\n".join(tables(found[1], found[2])), file.read_text(encoding="utf-8"))
    return LINK.sub(link, text)


def tables(group: str, only: str | None) -> Iterator[str]:
    """The keys of every option of an axis, or of one only; of the root file those without, or with a prefix only."""
    if group == "config":
        entries = read_entries(ROOT / "configs" / "config.yaml")
        yield from table([e for e in entries if e.key and e.name.rpartition(".")[0] == (only or "")], "")
        return
    for file in sorted((ROOT / "configs" / group).glob(f"{only or '*'}.yaml")):
        entries = {entry.name: entry for entry in read_entries(file)}
        own = f"{group}." if f"{group}._target_" in entries else ""  # a task's file sets keys of other axes, too
        target = entries.pop(f"{own}_target_", None)
        yield f"### `{group}={file.stem}` {{ #{file.stem} }}\n\n{describe(file)}"
        if target and str(target.value).startswith("seqtrain."):
            yield f" Class: [`{target.value}`][{target.value}]."
        keys = [entry for entry in entries.values() if entry.key and entry.name.startswith(own)]
        yield from table(keys, "" if own else f"{group.replace('/', '.')}.")
        others = [e for e in entries.values() if e.key and own and not e.name.startswith(own)]
        if others:
            yield "It also sets " + ", ".join(f"`{e.name}={show(e.value)}`" for e in others) + ".\n"


def table(entries: list[Entry], prefix: str) -> Iterator[str]:
    if entries:
        yield "\n| key | default | values | meaning |\n|---|---|---|---|"
    for entry in entries:
        assert entry.key
        cells = (f"`{prefix}{entry.name}`", f"`{show(entry.value)}`", entry.key.expected, entry.key.about)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


if __name__ == "__main__":
    sys.exit(main())
