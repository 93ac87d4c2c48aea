"""README.md and docs/ are true: their commands run (two steps each, of pages on modes and settings with --long; as
written with --as-written), their code works, their links lead somewhere, and what they say of settings is so.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import nbclient
import nbformat
import preloaded
import pytest
from small import CONFIGS, options, read

from seqtrain.commands.run_folder import register_resolvers
from seqtrain.config import build, locate, parameters_of
from seqtrain.config.compose import compose
from seqtrain.config.schema import read_entries
from seqtrain.config.sources import Configs

ROOT = Path(__file__).parents[1]
PAGES = {str(file.relative_to(ROOT)): file for file in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))}
TEXTS = {name: file.read_text(encoding="utf-8") for name, file in PAGES.items()}
SHORT = "trainer.max_steps=2 decode.max_length=5 decode.beam_size=2"
SMALL = "data.size=500 data.valid_size=50 data.test_size=50"
PUBLIC = (
    r"(pendigits\w*|fsdd\w*|yesno|conll2000|ud_english_ewt|aeslc|e2e_nlg|multi30k|sst2|tinyshakespeare|etth\w+"
    r"|weather)\b"
)
CORE = re.compile("README|docs/(own-data|python|extend/|tasks/)")  # pages that run in any case
ANSWERS = {"input=recent.csv": 1 + 3 * 14}  # a header; three shops, 14 days


class Block(NamedTuple):
    """A fenced block of a page. file: the name of the file that it is; skipped: the page says why it is not run."""

    file: str | None
    skipped: bool
    language: str
    content: str


def blocks(page: str) -> list[Block]:
    fences = re.findall(r"(?:`(\S+)`:\n\n)?^(<!-- not run: .+ -->\n)?^```(\w+)\n(.*?)^```$", TEXTS[page], re.M | re.S)
    return [Block(file or None, bool(skipped), language, content) for file, skipped, language, content in fences]


@pytest.fixture(autouse=True)
def commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """`seqtrain` and `python` start in no time: the libraries are imported once."""
    monkeypatch.setenv("PATH", f"{preloaded.commands()}{os.pathsep}{os.environ['PATH']}")


def run(command: str, folder: Path, package: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Runs a shell command in which seqtrain stands for the package that lies in a folder."""
    environment = os.environ | {"PYTHONPATH": str(package)}
    command = command.replace("python scripts/", f"python {ROOT}/scripts/")
    if "mode=doctor" in command:  # it compares the weights of this process with those of one that is started afresh
        command = command.replace("seqtrain", f"{sys.executable} -m seqtrain", 1)
    return subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)


def output(command: str, folder: Path, package: Path = ROOT) -> str:
    """The standard output of a command that succeeds."""
    done = run(command, folder, package)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def trains(command: str) -> bool:
    return command.startswith("seqtrain ") and not re.search(r"mode=|resume=(?!auto)|--help|--cfg", command)


def shortened(command: str) -> str:
    sized = not re.search(
        rf"generation|forecasting|handwriting|pen_digit|data\.train|data=(?!dates|reviews|match_reports|scene)|experiment={PUBLIC}",
        command,
    )
    drawn = re.search(r"task=handwriting|data=pen_digit", command) and "data.train" not in command
    return f"{command} {SHORT} {SMALL if sized else 'data.size=500' if drawn else ''}"


@pytest.fixture(scope="session")
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that pages call RUN: a training of the default."""
    folder, command = tmp_path_factory.mktemp("trained"), "seqtrain hydra.run.dir=RUN"
    output(command if request.config.getoption("--as-written") else shortened(command), folder)
    return folder / "RUN"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package, to which a page adds files."""
    for name in ("seqtrain", "hydra_plugins", "configs"):
        shutil.copytree(ROOT / name, tmp_path / "package" / name)
    return tmp_path / "package"


@pytest.mark.parametrize("page", [page for page in PAGES if any(b.language in ("sh", "python") for b in blocks(page))])
def test_a_page_runs_from_top_to_bottom(page: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if not (CORE.match(page) or request.config.getoption("--long") or request.config.getoption("--as-written")):
        pytest.skip("runs with --long; below, its settings are checked")
    adds = any(block.file for block in blocks(page))
    package = request.getfixturevalue("package") if adds else ROOT
    as_written, folder = bool(request.config.getoption("--as-written")), tmp_path / "folder"
    folder.mkdir()
    if re.search(r"\bRUN\b", TEXTS[page]) and "dir=RUN" not in TEXTS[page]:
        shutil.copytree(request.getfixturevalue("trained"), folder / "RUN")
    for block in blocks(page):
        if block.file:
            assert not (package / block.file).exists()
            (package / block.file).write_text(block.content, encoding="utf-8")
        elif block.language == "python" and page != "docs/notebook.md":  # which has a test of its own
            (folder / "example.py").write_text(block.content, encoding="utf-8")
            assert output("python example.py", folder, package)
        elif block.language == "sh" and not block.skipped:
            for command in block.content.splitlines():
                follow(command, folder, package, as_written)


@pytest.mark.parametrize("page", [page for page in PAGES if not CORE.match(page)])
def test_the_settings_of_a_page_compose(page: str) -> None:
    register_resolvers()
    own = {f"experiment={Path(block.file).stem}" for block in blocks(page) if block.file}
    for block in blocks(page):
        for command in block.content.splitlines() if block.language == "sh" and not block.skipped else ():
            words = shlex.split(command, comments=True)
            elsewhere = own & {*words} or any(word.startswith(("-", "init=")) and word != "-m" for word in words)
            if trains(command) and not elsewhere:
                settings = [word for word in words[1:] if word not in ("-m", "resume=auto")]
                compose(Configs(), settings, multirun="-m" in words)


def follow(command: str, folder: Path, package: Path, as_written: bool) -> None:
    """Runs a command of a page. A training must leave a run, a prediction an answer for each line."""
    if re.search(PUBLIC, command) and "SEQTRAIN_DATA" not in os.environ:
        return
    before = len(list(folder.rglob("metrics.json")))
    printed = output(command if as_written or not trains(command) else shortened(command), folder, package)
    if trains(command):
        jobs = [word.count(",") + 1 for word in command.split()[1:]] if " -m " in command else []
        if trials := re.search(r"n_trials=(\d+)", command):  # of a search
            seeds = re.search(r"seed=(\S+)", command)
            jobs = [int(trials[1]), seeds[1].count(",") + 1 if seeds else 1]
        folds = re.search(r"data\.folds=(\d+)", command)
        wanted = int(folds[1]) if folds else 1
        for count in jobs:
            wanted *= count
        assert len(list(folder.rglob("metrics.json"))) == before + wanted, command
    if "input=-" in command:
        given = output(command.partition(" | ")[0], folder, package)
        assert len(printed.splitlines()) == len(given.splitlines()), printed
    for name, lines in ANSWERS.items():
        if name in command:
            assert len(printed.splitlines()) == lines, printed


def test_the_notebook_runs_in_a_kernel(tmp_path: Path) -> None:
    """Cell by cell, as Jupyter runs it: with a bar, a table as HTML, and figures."""
    cells = [block.content for block in blocks("docs/notebook.md")]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
        client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
        kernel = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        client.create_kernel_manager().kernel_cmd = kernel  # pyright: ignore
        client.execute()
    _, training, scores, figures, answers = (cell.outputs for cell in notebook.cells)
    text = "".join(output.get("text", "") for output in training)
    assert "the best weights:" in text
    assert "text/html" in scores[-1]["data"]
    assert ["image/png" in output["data"] for output in figures] == [True, True]
    assert answers[0]["text"].strip() in ("complaint", "praise")


MISTAKES = [
    (page, command, re.sub("^    ", "", said, flags=re.M))
    for page, text in TEXTS.items()
    for command, said in re.findall(r"^    \$ (seqtrain .*)\n((?:    .+\n)+)", text, re.M)
    if said.startswith("    seqtrain: ")
]


@pytest.mark.parametrize(("page", "command", "said"), MISTAKES)
def test_a_mistake_is_reported_as_shown(page: str, command: str, said: str, tmp_path: Path) -> None:
    done = run(command, tmp_path)
    assert (done.returncode, done.stderr) == (2, said)


def test_mistakes_are_shown() -> None:
    assert MISTAKES


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    """docs/build.py, which makes the pages of the site."""
    spec = util.spec_from_file_location("build_docs", ROOT / "docs" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def headings(text: str) -> Iterator[str]:
    """The anchors of a page, as GitHub and the site make them."""
    for heading in re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", TEXTS[page]):
        file = (PAGES[page].parent / target).resolve() if target else PAGES[page]
        assert file.exists(), target
        assert not anchor or anchor in headings(file.read_text(encoding="utf-8")), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page: str) -> None:
    added = {block.file for block in blocks(page)}
    named = set(re.findall(r"`((?:seqtrain|configs|scripts|docs|tests)/[\w./-]+)`", TEXTS[page])) - added
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_page_is_in_the_menu_of_the_site(builder: ModuleType) -> None:
    site = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
    pages = {builder.place(file) for file in (*builder.MOVED, *PAGES.values())} | {
        f"api/{name}.md" for name in builder.API
    }
    assert set(re.findall(r"[\w/-]+\.md", str(site["project"]["nav"]))) == pages


def test_the_readme_is_short() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= 200


def test_the_table_of_pairs_is_what_the_models_accept() -> None:
    text = TEXTS["README.md"]
    table = text[text.index("<!-- pairs") : text.index("<!-- /pairs -->")]
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]
    header, _, *rows = rows
    said = {
        (task, model)
        for row in rows
        for task in re.split(r"\W*, or \W*", row[0])
        for model, cell in zip(header[1:], row[1:], strict=True)
        if cell == "yes"
    }
    fit = set()
    for task in options("task"):
        chosen = build(read("task", task)["task"])
        for model in options("model"):
            cls = locate(read("model", model)["_target_"], trust=False)
            specs = [chosen.outline(kind) for kind in chosen.kinds]
            if all(cls.refuse(spec._replace(likelihood=cls.likelihood(spec))) is None for spec in specs):
                fit.add((task, model))
    assert said == fit


def test_every_key_of_every_option_is_in_a_page_of_the_site(builder: ModuleType) -> None:
    site = "\n".join(builder.page(file) for file in PAGES.values())
    for file in [CONFIGS / "config.yaml", *CONFIGS.glob("*/*.yaml")]:
        if file.parent.name != "experiment":
            axis = "" if file.parent == CONFIGS or file.parent.name == "task" else f"{file.parent.name}."
            for entry in read_entries(file):
                name = f"{axis}{entry.name}"
                assert not entry.key or "_target_" in name or f"`{name}" in site, f"{file}: {name}"


def targets() -> Iterator[tuple[str, type, set[str]]]:
    """Each option of each axis with its class and the arguments that its YAML sets."""
    files = [file for file in sorted(CONFIGS.glob("*/*.yaml")) if "_target_" in file.read_text(encoding="utf-8")]
    for file in files:
        node: dict[str, Any] = read(file.parent.name, file.stem)
        node = node.get(file.parent.name, node)
        if str(node.get("_target_", "")).startswith("seqtrain."):
            yield f"{file.parent.name}={file.stem}", locate(node["_target_"], trust=False), node.keys() - {"_target_"}


@pytest.mark.parametrize(("option", "cls", "keys"), list(targets()))
def test_an_argument_is_explained_in_the_yaml_of_its_option_and_nowhere_else(
    option: str, cls: type, keys: set[str]
) -> None:
    axis, _, name = option.partition("=")
    comments = {
        entry.name.removeprefix(f"{axis}."): entry.comment for entry in read_entries(CONFIGS / axis / f"{name}.yaml")
    }
    arguments, _ = parameters_of(cls)
    for key in keys:
        assert key in arguments or any(argument.kind is argument.VAR_KEYWORD for argument in arguments.values())
        assert comments[key] or any(comments[inner] for inner in comments if inner.startswith(f"{key}.")), key
    for base in cls.__mro__:
        if base.__module__.startswith("seqtrain."):
            twice = [key for key in keys if re.search(rf"(^|[.;,] )\s*{key}(, \w+)*: ", base.__doc__ or "", re.M)]
            assert twice == [], base
