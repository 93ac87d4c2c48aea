"""Completion with Tab in a shell: names and values from the schemas, run folders and files from the disk."""

import re
from collections.abc import Iterable, Iterator
from glob import escape, glob
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from seqtrain.config.compose import read_files
from seqtrain.config.schema import Schema
from seqtrain.config.sources import Configs

RUNS = ("checkpoint", "resume", "init", "runs")
PLAIN = re.compile(r"[\w./=,:@%+~\[-]+")  # nothing that bash would run: a file may be named $(command)


def proposals(line: str, configs: Configs) -> list[str]:
    """Returns every word that completes the last word of a command line."""
    *before, word = re.split(r"\s+", line)[1:] or [""]
    schema = schema_of(before, configs)
    key, equals, value = word.partition("=")
    if not equals:
        completed = names(word, configs, schema)
    else:  # of key=[a,b, only the b is completed
        items_before, item = re.fullmatch(r"(\[?(?:.*,)?)(.*)", value, re.DOTALL).groups()  # pyright: ignore
        completed = (f"{key}={items_before}{text}" for text in values(key, item, configs, schema))
    return sorted({text for text in completed if text.startswith(word) and PLAIN.fullmatch(text)})


def schema_of(words: list[str], configs: Configs) -> Schema:
    """Returns the schema with the options that the words choose; of `model=a,b` the last one."""
    settings = (word.partition("=") for word in words)
    groups = [f"{group}={options.rpartition(',')[2]}" for group, _, options in settings if configs.is_group(group)]
    try:
        return read_files(configs, groups).schema
    except (HydraException, OmegaConfBaseException, YAMLError, OSError, ValueError):  # there is no such option
        return read_files(configs, []).schema


def names(word: str, configs: Configs, schema: Schema) -> Iterator[str]:
    """Yields the groups as `group=`, and the keys that begin with `word`, each up to its next dot."""
    yield from (f"{group}=" for group in configs.groups())
    for name in (*schema.keys, "hydra.run.dir", "hydra.sweep.dir"):
        head, dot, _ = name.removeprefix(word).partition(".")
        if name.startswith(word) and not name.endswith("_target_"):
            yield f"{word}{head}{dot or '='}"


def values(key: str, start: str, configs: Configs, schema: Schema) -> Iterable[str]:
    """Returns the values that a group or key accepts: options, words of an enumeration, run folders or files."""
    if configs.is_group(key):
        return configs.options(key)
    if key in RUNS:
        return [*runs(start), *(["auto"] if key == "resume" else [])]
    if (declared := schema.keys.get(key)) is None:
        return []
    words = {"true": True, "false": False, "null": None}
    accepted = [*declared.words, *(word for word, value in words.items() if declared.takes(value))]
    takes_a_file = declared.takes("text")
    return [*accepted, *files(start)] if takes_a_file else accepted


def runs(start: str) -> list[str]:
    """Returns the run folders whose path begins with `start`; those in `outputs` where `start` is empty."""
    patterns = [f"{escape(start or 'outputs/')}{'*/' * depth}*/config.yaml" for depth in range(4)]
    return [str(Path(file).parent) for pattern in patterns for file in glob(pattern)]


def files(start: str) -> list[str]:
    """Returns the files and folders whose path begins with `start`; a folder ends with /."""
    return [f"{path}/" if Path(path).is_dir() else path for path in glob(f"{escape(start)}*")]
