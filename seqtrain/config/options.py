"""A stored configuration as a user would type it: the option of each axis, and the settings that these do not give."""

from __future__ import annotations

from functools import cache
from typing import Any

from hydra.types import RunMode

from seqtrain.config.compose import plain
from seqtrain.config.json_values import flat
from seqtrain.config.sources import Configs
from seqtrain.config.stored import AXES, TAKEN, entries_of

MAIN = ("task", "data", "model", "backbone")  # the axes that tell what a run is about


class Options:
    """The options of all axes, with the values that their files give."""

    def __init__(self, configs: Configs):
        self.configs = configs
        self.sections = {
            axis: {option: self.section(axis, option) for option in configs.options(axis)} for axis in AXES
        }
        self.composed = cache(self.compose)

    def section(self, axis: str, option: str) -> dict[str, Any]:
        """The values in the file of an option, which with `# @package _global_` names its section itself."""
        entries = {entry.name: entry.value for entry in entries_of("", f"{axis}/{option}", self.configs)}
        start = f"{axis}." if f"{axis}._target_" in entries else ""
        return {name.removeprefix(start): value for name, value in entries.items() if name.startswith(start)}

    def compose(self, *lines: str) -> dict[str, Any]:
        """The values of a command line, by dotted names; those that it must give and does not are left out."""
        found = self.configs.loader.load_configuration(self.configs.name, list(lines), RunMode.RUN, from_shell=False)
        return flat(plain(found)[0])

    def name(self, axis: str, section: dict[str, Any]) -> str | None:
        """The option that a section is made of: of those of its class the one that has most of its values."""
        values = flat(section)
        alike = {
            option: sum(values.get(name) == value for name, value in found.items())
            for option, found in self.sections[axis].items()
            if found.get("_target_", "") == values.get("_target_")
        }
        return max(alike, key=alike.__getitem__, default=None)

    def typed(self, config: dict[str, Any]) -> dict[str, Any]:
        """The options of the main axes, then the other options and values that differ from what these bring along."""
        words: dict[str, Any] = {}
        lines: list[str] = []
        for axis in dict.fromkeys((*MAIN, *AXES)):
            section = config.get(axis)
            if not isinstance(section, dict):
                continue
            target = section.get("_target_")
            if axis in MAIN or self.composed(*lines).get(f"{axis}._target_") != target:
                option = self.name(axis, section)
                words[axis] = option or str(target).rpartition(".")[2]  # of a class of the user: its name
                lines += [f"{axis}={option}"] if option else []
        given = self.composed(*lines)
        values = flat({name: config[name] for name in TAKEN if name in config and name != "name"})
        return words | {
            name: value for name, value in values.items() if not name.endswith("._target_") and value != given.get(name)
        }
