"""The text of `seqtrain --help`, made from the config folders, the user's own included."""

import textwrap
from collections.abc import Iterator
from typing import Any

from omegaconf import OmegaConf

from seqtrain.config.schema import describe, read_entries
from seqtrain.config.sources import Configs

WIDTH = 100
AXES = {
    "task": "what is learned",
    "model": "the shape of the map",
    "backbone": "how a layer walks a sequence",
    "data": "where the examples come from",
    "device": "where it runs",
    "optimizer": "how weights are updated",
    "schedule": "the learning rate over time",
    "trainer": "the training loop",
    "experiment": "several settings under one name",
}
HEAD = """\
seqtrain trains, evaluates, checkpoints and uses any sequence model on any sequence task.

Usage
  seqtrain [AXIS=OPTION ...] [KEY=VALUE ...]              train
  seqtrain mode=evaluate checkpoint=RUN                   score a trained run
  seqtrain mode=predict checkpoint=RUN input=FILE         use it; - is standard input
  seqtrain mode=inspect [AXIS=OPTION ...]                 report on the data, without training
  seqtrain mode=replay checkpoint=RUN                     find the layer that made the loss NaN
  seqtrain mode=doctor [AXIS=OPTION ...]                  check this machine and a configuration
  seqtrain resume=RUN                                     go on with an interrupted training
  seqtrain -m KEY=VALUE,VALUE ...                         a sweep: every combination, and a table

  RUN is the folder that a training leaves: outputs/<task>/<model>/<date-time>-<id>.
"""
TAIL = """\
Examples
  seqtrain task=sentiment model=many_to_one backbone=gru
  seqtrain model.hidden_size=256 optimizer.lr=1e-3 trainer.epochs=20 name=wide
  seqtrain -m task=sentiment model.hidden_size=64,128 optimizer.lr=1e-3,3e-3
  echo "3 May 1999" | seqtrain mode=predict checkpoint=RUN input=-

Flags
  --cfg job              show every setting of a command, without running it
  --config-dir FOLDER    add options of your own: FOLDER/<axis>/<option>.yaml
  -m, --multirun         run a sweep
  --info, --hydra-help   what Hydra knows about configurations, launchers and sweepers
  --version, -h, --help

  Tab completion in bash: eval "$(seqtrain -sc install=bash)"
"""


def help_text(configs: Configs) -> str:
    return "\n".join([HEAD, *axes(configs), *common_keys(configs), "", TAIL]).rstrip("\n")


def defaults(configs: Configs) -> dict[str, Any]:
    """The option that each group starts with: the root file's, and what the default task makes of it."""
    found: dict[str, Any] = {}
    root = configs.file(configs.name)
    chosen = entries(configs, root) if root else {}
    found |= chosen
    task = configs.file(f"task/{chosen.get('task')}")
    overridden = entries(configs, task) if task else {}
    return found | {k.removeprefix("override /"): v for k, v in overridden.items() if k.startswith("override /")}


def entries(configs: Configs, path: Any) -> dict[str, Any]:
    config: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    listed = config.get("defaults", []) if isinstance(config, dict) else []
    return {key: value for entry in listed if isinstance(entry, dict) for key, value in entry.items()}


def axes(configs: Configs) -> Iterator[str]:
    """Every group with its options, one a line; a star marks the default."""
    yield "Axes (* is the default; a task brings its own default model and data)"
    start = defaults(configs)
    groups = configs.groups()
    for group in [g for g in AXES if g in groups] + [g for g in groups if g not in AXES]:
        options = configs.options(group)
        if not options:
            continue
        yield f"  {group}: {AXES.get(group, 'your own')}; for example {group}={example(options, start.get(group))}"
        for option in options:
            path = configs.file(f"{group}/{option}")
            mark = "*" if start.get(group) == option else " "
            yield from wrap(f"    {mark} {option:16} ", describe(path) if path else "")
    yield ""


def example(options: list[str], default: Any) -> str:
    return next((option for option in options if option != default), options[0])


def common_keys(configs: Configs) -> Iterator[str]:
    """The keys of the root file with their defaults and meanings; then those of the default options by name."""
    yield "Keys (--cfg job shows all)"
    root, start = configs.file(configs.name), defaults(configs)
    for entry in read_entries(root) if root else []:
        if entry.key:
            yield from wrap(f"  {entry.name + '=' + shown(entry.value):26} ", entry.comment)
    for group in ("model", "optimizer", "trainer"):
        path = configs.file(f"{group}/{start.get(group)}")
        names = [e.name for e in read_entries(path) if e.name != "_target_"] if path else []
        if names:
            yield from wrap(f"  {group + '.':26} ", ", ".join(names))


def shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def wrap(start: str, text: str) -> list[str]:
    """Text beside a label, wrapped below itself."""
    lines = textwrap.wrap(text, WIDTH - len(start)) or [""]
    return [f"{start}{lines[0]}".rstrip(), *(" " * len(start) + line for line in lines[1:])]
