"""The text of `seqtrain --help`, made from the config folders, the user's own included."""

import textwrap
from collections.abc import Iterator

from hydra.types import RunMode

from seqtrain.commands.modes import MODES
from seqtrain.config.schema import describe, read_entries, show
from seqtrain.config.sources import Configs

WIDTH = 100
AXES = {
    "task": "what is learned",
    "model": "the shape of the map",
    "frontend": "how the source's positions become vectors",
    "backbone": "how a layer walks a sequence",
    "likelihood": "what scores mean and are trained by; the task's own unless set",
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
  seqtrain resume=RUN                                     go on with an interrupted training
  seqtrain init=RUN [AXIS=OPTION ...] [KEY=VALUE ...]     fine-tune: train from the weights of a run
  seqtrain -m KEY=VALUE,VALUE ...                         a sweep: every combination, and a table
USAGE

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
    """Returns the whole text."""
    head = HEAD.replace("USAGE", "\n".join(usage()))
    return "\n".join([head, *axes(configs), *common_keys(configs), "", TAIL]).rstrip("\n")


def usage() -> Iterator[str]:
    """Yields a line for each mode that does not train, with the settings that it needs or takes."""
    for name, mode in MODES.items():
        if name != "train":
            needs = [f"{key}={example}" for key, example in mode.needs.items()]
            needs += [f"[{key}={example}]" for key, example in mode.takes.items()]
            needs = needs or ["[AXIS=OPTION ...]"]
            yield f"  {f'seqtrain mode={name} ' + ' '.join(needs):56}{mode.about}"


def defaults(configs: Configs) -> dict[str, str]:
    """Returns the default option of each group."""
    found = configs.loader.compute_defaults_list(configs.name, [], RunMode.RUN).defaults
    return dict(str(default.config_path).rsplit("/", 1) for default in found if "/" in str(default.config_path))


def axes(configs: Configs) -> Iterator[str]:
    """Yields every group with its options, one on each line; a star marks the default."""
    yield "Axes (* is the default; a task brings its own default model and data)"
    start = defaults(configs)
    groups = configs.groups()
    for group in [g for g in AXES if g in groups] + [g for g in groups if g not in AXES]:
        options = configs.options(group)
        if not options:
            continue
        about = f"{AXES.get(group, 'your own')}; for example {group}={example(options, start.get(group))}"
        yield from wrap(f"  {group}: ", about)
        for option in options:
            path = configs.file(f"{group}/{option}")
            mark = "*" if start.get(group) == option else " "
            yield from wrap(f"    {mark} {option:16} ", describe(path) if path else "")
    yield ""


def example(options: list[str], default: str | None) -> str:
    return next((option for option in options if option != default), options[0])


def common_keys(configs: Configs) -> Iterator[str]:
    """Yields the keys of config.yaml with their defaults and comments, then the names of those of some axes."""
    yield "Keys (--cfg job shows all)"
    root, start = configs.file(configs.name), defaults(configs)
    for entry in read_entries(root) if root else []:
        if entry.key:
            yield from wrap(f"  {entry.name + '=' + show(entry.value):26} ", entry.comment)
    for group in ("model", "optimizer", "trainer"):
        path = configs.file(f"{group}/{start.get(group)}")
        names = [e.name for e in read_entries(path) if e.name != "_target_"] if path else []
        if names:
            yield from wrap(f"  {group + '.':26} ", ", ".join(names))


def wrap(start: str, text: str) -> list[str]:
    """Returns lines with a label and a text beside it, which is wrapped at `WIDTH`."""
    lines = textwrap.wrap(text, WIDTH - len(start)) or [""]
    return [f"{start}{lines[0]}".rstrip(), *(" " * len(start) + line for line in lines[1:])]
