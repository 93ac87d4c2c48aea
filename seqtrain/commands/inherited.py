"""The settings that a training with `init` has from the run that it begins from."""

from collections.abc import Iterator
from typing import Any

from seqtrain.commands.run_folder import find, first, run_config
from seqtrain.config import UserError, in_brief
from seqtrain.config.compose import compose
from seqtrain.config.json_values import flat
from seqtrain.config.overrides import read_overrides
from seqtrain.config.quoting import in_hydra
from seqtrain.config.sources import Configs
from seqtrain.config.stored import entries_if_of_class

INHERITED = ("task", "model", "frontend", "backbone", "likelihood")
NOT = ("frontend.vectors",)  # a path, and the weights hold what was read there
VOCABULARY = ("tokenizer", "joint_vocab", "fold", "min_count", "characters", "spelling")  # settings of tasks


def inherited(lines: list[str], configs: Configs, multirun: bool) -> list[str]:
    """Returns overrides, to be put before those of a command line with `init`, for all settings of `INHERITED` that
    have another value in that run and that the command line does not name. Raises `UserError` where it is no run, or
    another option of the command line does not go with it.

    Of the run, which may be a stranger's, come only values of options that are here, and no path.
    """
    named = [line for line in lines if line.lstrip("+").startswith("init=")]
    if not named:
        return []
    typed = read_overrides(lines, configs, multirun)
    if typed.problems or (path := first(named[-1])) is None:
        return []
    stored, _ = run_config(find(path, "init"), configs, [], "predict")
    chosen = {o.key_or_group: o for o in typed.groups}
    options = {axis: option_of(axis, stored, configs) for axis in INHERITED if stored.get(axis)}
    for axis, option in options.items():
        if option is None and axis not in chosen:
            target = in_brief(stored[axis].get("_target_"))
            raise UserError(f"init={path}: its {axis} is {target}, which no option is; --config-dir FOLDER adds yours")
    groups = [f"{axis}={option}" for axis, option in options.items() if axis not in chosen]
    here = compose(configs, [*groups, *lines], multirun).config
    alike = [axis for axis in options if (here.get(axis) or {}).get("_target_") == stored[axis].get("_target_")]
    if "task" not in alike:
        raise UserError(f"{chosen['task'].input_line}: the run of init is of task={options['task']}; leave it out")
    axes = [axis for axis in alike if axis not in chosen or not chosen[axis].is_sweep_override()]
    values = list(different(stored, here, axes))
    set_here = {o.key_or_group for o in typed.values}
    by_user = [key for key, _ in values if any(f"{key}.".startswith(f"{other}.") for other in set_here)]
    learned = [key for key in by_user if key.split(".")[0] == "task" and key.split(".")[1] in VOCABULARY]
    if learned and not here["refit"]:
        raise UserError(f"{learned[0]} is another than in the run of init, whose vocabulary stays; leave it out, or "
                        "refit=true learns the vocabulary anew")  # fmt: skip
    texts = [f"{key}={in_hydra(value)}" for key, value in values if key not in (*NOT, *by_user)]
    if broken := [text for text in texts if "${" in text]:  # the command line would look it up
        raise UserError(f"init={path}: {in_brief(broken[0])}: this is no value of a setting")
    return [*groups, *texts]


def option_of(axis: str, stored: dict[str, Any], configs: Configs) -> str | None:
    """Returns the option whose class a section of a run names."""
    target = stored[axis].get("_target_")
    found = (o for o in configs.options(axis) if any(entries_if_of_class(target, axis, o, configs)))
    return next(found, None)


def different(stored: dict[str, Any], here: dict[str, Any], axes: list[str]) -> Iterator[tuple[str, Any]]:
    """Yields the settings of some axes that a run has with another value."""
    now = flat({axis: here.get(axis) or {} for axis in axes})
    for key, value in flat({axis: stored[axis] for axis in axes}).items():
        if value != now.get(key) and not key.endswith("._target_"):
            yield key, value
