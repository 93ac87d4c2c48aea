"""The way of one batch (docs): tasks and models never import each other, and no file names options of two axes."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from small import options, read

import seqtrain

PACKAGE = Path(str(seqtrain.__file__)).parent
FILES = {
    ".".join(("seqtrain", *path.relative_to(PACKAGE).with_suffix("").parts)): path for path in PACKAGE.rglob("*.py")
}
MODULES = {name.removesuffix(".__init__"): path for name, path in FILES.items()}
AXES = ("task", "model", "backbone")
COMMANDS = [
    "assembly",
    "compare",
    "doctor",
    "evaluate",
    "export",
    "inspect",
    "library",
    "loaded",
    "origin",
    "predict",
    "replay",
    "score",
    "serve",
    "train",
]
BOTH = (
    *(f"commands.{name}" for name in COMMANDS),
    "engine.evaluate",
    "engine.job",
    "engine.trainer",
)
LIGHT = (
    "cli",
    "__main__",
    *(f"commands.{name}" for name in ("launcher", "runs", "search_space", "study", "sweep", "sweep_table", "sweeper")),
    "engine.memory",
)
FOLDERS = {"task": "tasks", "model": "models", "frontend": "frontends", "backbone": "backbones", "data": "data"}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def statements(node: ast.AST, lazy: bool) -> Iterator[ast.AST]:
    """Everything inside a node; without `lazy`, what runs when the module is imported."""
    for child in ast.iter_child_nodes(node):
        typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if lazy or not (typing_only or isinstance(child, (ast.FunctionDef, ast.Lambda))):
            yield child
            yield from statements(child, lazy)


@cache
def imports(module: str, lazy: bool = True) -> frozenset[str]:
    """Modules of the package, and names outside it, that a module imports."""
    found = set()
    for node in statements(tree(module), lazy):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in full}
    return frozenset(found)


@cache
def reach(module: str, lazy: bool = True) -> frozenset[str]:
    """All that importing a module brings along."""
    found, todo = set(), {module}
    while todo:
        name = todo.pop()
        found.add(name)
        if name in MODULES:
            todo |= imports(name, lazy) - found
    return frozenset(found)


def inside(*folders: str) -> list[str]:
    return [name for name in MODULES if name.startswith(tuple(f"seqtrain.{folder}." for folder in folders))]


def sees(module: str, folder: str, lazy: bool = True) -> bool:
    return any(name.startswith(f"seqtrain.{folder}.") for name in reach(module, lazy))


def test_the_statements_are_read():
    assert "seqtrain.contract" in imports("seqtrain.tasks.base")
    assert sees("seqtrain.engine.trainer", "tasks")
    assert not sees("seqtrain.cli", "tasks", lazy=False)
    assert sees("seqtrain.cli", "tasks")
    assert len(inside("tasks")) > 4
    assert len(inside("models")) > 4


def test_tasks_and_models_never_import_each_other():
    assert [name for name in inside("tasks") if sees(name, "models") or sees(name, "backbones")] == []
    assert [name for name in inside("models", "backbones") if sees(name, "tasks") or sees(name, "data")] == []


def test_the_field_does_without_what_makes_it_fast_and_what_trains_it():
    rooms = ("engine", "machine", "commands")
    field = inside("tasks", "models", "frontends", "backbones", "likelihoods", "codecs", "decoding")
    assert [(name, room) for name in (*field, "seqtrain.layers") for room in rooms if sees(name, room)] == []


def test_only_what_runs_a_training_sees_both():
    both = {name for name in MODULES if sees(name, "tasks", lazy=False) and sees(name, "models", lazy=False)}
    assert both == {f"seqtrain.{name}" for name in BOTH}
    late = {name for name in MODULES if sees(name, "tasks") and sees(name, "models")} - both
    light = {f"seqtrain.{name}" for name in LIGHT}
    assert late <= {"seqtrain", *light}


@pytest.mark.parametrize("folder", FOLDERS.values())
def test_nothing_outside_imports_an_option(folder):
    """Options are named by `_target_` alone; what an axis shares (base, recurrent) may be imported."""
    axis = next(axis for axis, its in FOLDERS.items() if its == folder)
    nodes = [read(axis, option) for option in options(axis)]
    modules = {node.get(axis, node)["_target_"].rpartition(".")[0] for node in nodes}  # a task file is a global package
    assert modules <= set(inside(folder))
    assert [(name, found) for name in MODULES for found in imports(name) & modules] == []


def test_data_and_the_command_line_do_without_torch():
    for name in (*inside("data"), "seqtrain", "seqtrain.cli", "seqtrain.data.kinds"):
        assert not any(found.split(".")[0] == "torch" for found in reach(name, lazy=False)), name


def words(module: str) -> set[str]:
    """Identifiers and words of strings in a module, in lower case, without underscores; docstrings do not count."""
    nodes = list(ast.walk(tree(module)))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    texts = [value for node in nodes if id(node) not in docstrings for _, value in ast.iter_fields(node)]
    found = re.findall(r"\w+", " ".join(text for text in texts if isinstance(text, str)))
    return {word.replace("_", "").lower() for word in found}


def named(module: str) -> dict[str, set[str]]:
    """The options of each axis that a module names."""
    names = {axis: {option.replace("_", "") for option in options(axis)} for axis in AXES}
    return {axis: options & words(module) for axis, options in names.items() if options & words(module)}


def test_names_are_found():
    assert named("seqtrain.tasks.translation") == {"task": {"translation"}}
    assert named("seqtrain.models.one_to_many") == {"model": {"onetomany"}}
    assert named("seqtrain.backbones.gru") == {"backbone": {"gru"}}


@pytest.mark.parametrize("axis", AXES)
def test_no_option_names_one_of_another_axis(axis):
    assert {name: found for name in inside(FOLDERS[axis]) if (found := named(name)).keys() - {axis}} == {}
    assert [name for name in inside("data") if named(name).keys() & {"model", "backbone"}] == []


def test_no_file_names_two_axes():
    """But the help text, whose examples are commands to copy."""
    assert [name for name in MODULES if len(named(name)) > 1 and name != "seqtrain.commands.help"] == []
