"""The samples of tar archives, in the layout of WebDataset: each is made of the files that follow each other and whose
names are equal up to the first dot of the last part: 0001.wav and 0001.txt, say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, islice

import numpy as np

from seqtrain.config import UserError, expanded
from seqtrain.reading.archives import Member, members_of
from seqtrain.reading.files import find, hash_of
from seqtrain.reading.tables import Columns, Rows, as_text

TEXTS = ("txt", "cls")  # endings of what stands for a text or a label
Files = Mapping[str, Member]  # of a sample, by their endings


def samples(name: str) -> Iterator[tuple[str, Files]]:
    """The samples of an archive: what their files have in common, and the files by their endings."""
    split = [(*key_of(member.name), member) for member in members_of(expanded(name)).values()]
    for key, parts in groupby(split, lambda part: part[0]):
        yield key, {form: member for _, form, member in parts}


def key_of(name: str) -> tuple[str, str]:
    """Cuts a name before the ending: a/0001.wav gives a/0001 and wav."""
    folder, slash, last = name.rpartition("/")
    stem, _, form = last.partition(".")
    return folder + slash + stem, form.lower()


def tar_rows(name: str, columns: Columns, start: int = 0) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The number from 1 on and the cells of each sample: the path of its file, and its text. start: samples that are
    passed over. columns: see `cells`."""
    for number, (key, files) in enumerate(islice(samples(name), start, None), start + 1):
        try:
            yield number, cells(name, files, list(columns.values()))
        except ValueError as error:
            raise UserError(f"{name}, sample {key}: {error}") from None


def cells(name: str, files: Files, columns: Sequence[str | int]) -> tuple[str, ...]:
    """The first column names the file, by its ending, where there are several; the others name a text: a file by its
    ending, or a field of the .json file; else .txt or .cls is taken."""
    first, *rest = map(str, columns)
    media = [form for form in files if form not in (*TEXTS, "json") and form not in rest]
    chosen = first if first in files else media[0] if len(media) == 1 else None
    if chosen is None:
        found = ", ".join(f".{form}" for form in files)
        raise ValueError(f"its files end in {found}; expected one beside .txt, .cls and .json, or its ending by name")
    return f"{name}/{files[chosen].name}", *(text_of(files, column) for column in rest)


def text_of(files: Files, column: str) -> str:
    if column not in files and "json" in files:
        found = json.loads(files["json"].read())
        if isinstance(found, dict) and column in found:
            return as_text(found[column], column)
    form = next((form for form in (column, *TEXTS) if form in files), None)
    return "" if form is None else files[form].read().decode("utf-8-sig").strip()


class Samples(Rows):
    """The samples of one archive as rows."""

    unit = "sample"

    def __init__(self, name: str, setting: str, columns: Columns):
        path = find(name, setting)
        self.rows = [row for _, row in tar_rows(name, columns)]
        if not self.rows:
            raise UserError(f"{setting}={name}: there is no file in the archive")
        self.names, self.digests, self.first = [name], [hash_of(path)], np.arange(len(self.rows))

    def __getitem__(self, index: int) -> tuple[str, ...]:
        return self.rows[index]
