"""The user's files in folders, or by patterns."""

from __future__ import annotations

import glob
import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from seqtrain.config import UserError
from seqtrain.config.quoting import typed
from seqtrain.reading.files import ending, searched_folder
from seqtrain.reading.hub import hub_files, is_hub

log = logging.getLogger(__name__)


def find_files(places: str | list[str], setting: str, endings: Sequence[str] = (".txt",)) -> list[str]:
    """The files of one or several places, in the order of their paths; of a folder, those with one of the endings."""
    names: list[str] = []
    for place in [places] if isinstance(places, str) else places:
        if is_hub(place):
            names += hub_files(place, setting, endings)
            continue
        path = os.path.expanduser(place)
        if os.path.isdir(path):
            matches = [name for name in inside(path, "*") if ending(name) in endings]
        elif not is_pattern(place):
            names.append(place)
            continue
        else:
            matches = glob.glob(path, recursive=True)
        matches = sorted(name for name in matches if os.path.isfile(name))
        if not matches:
            raise UserError(f"{setting}={place}: {nothing_found(path, setting, endings)}")
        full = [name for name in matches if os.path.getsize(name)]
        if empty := len(matches) - len(full):
            log.warning("%s=%s: %d of %d files are empty; left out", setting, place, empty, len(matches))
        names += full
    if not names:
        raise UserError(f"{setting}={places}: all files are empty")
    return names


def is_pattern(name: str) -> bool:
    """Whether a name stands for the files that match it."""
    path = os.path.expanduser(name)
    return glob.has_magic(path) and not os.path.exists(path)


def inside(folder: str, pattern: str) -> list[str]:
    return glob.glob(os.path.join(glob.escape(folder), "**", pattern), recursive=True)


def nothing_found(path: str, setting: str, wanted: Sequence[str]) -> str:
    """The message for a folder without files of these endings, or a pattern without matches."""
    if not os.path.isdir(path):
        return f"no file matches this pattern{searched_folder(Path(path), setting)}"
    endings = Counter(Path(name).suffix for name in inside(path, "*.*") if os.path.isfile(name))
    if not endings:
        return f"no {wanted[0]} file is in this folder"
    most, count = endings.most_common(1)[0]
    cure = typed(setting, f"{path.rstrip('/')}/**/*{most}")
    return f"no {wanted[0]} file is in this folder, but {count} {most}: {cure} would read them"
