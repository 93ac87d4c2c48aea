"""The user's own parallel text."""

from __future__ import annotations

from pathlib import Path

from seqtrain.config import UserError
from seqtrain.data import Pair
from seqtrain.data.files import check_encoding, open_text
from seqtrain.data.splits import Records, Splits, scan
from seqtrain.data.tables import ENDINGS, Parallel, Rows, open_table


class Pairs(Splits[Pair]):
    """`Pair`s of a table (CSV, TSV, JSON Lines) or of two plain text files, line by line.

    train, valid, test: a table, or two text files, source first; None: a part of the training file, `valid_share` and
    `test_share` of its different sources, chosen by `seed`; a source is in one split only. source, target: columns of
    a table, see `open_table`. Rows whose source or target is empty are left out.
    """

    kind = "pairs"

    def __init__(
        self,
        train: str | list[str],
        valid: str | list[str] | None,
        test: str | list[str] | None,
        source: str | int,
        target: str | int,
        format: str | None,
        encoding: str,
        valid_share: float,
        test_share: float,
        seed: int,
    ):
        check_encoding(encoding)
        columns = {"data.source": source, "data.target": target}
        how = ("pairs", source, target, format)

        def opened(names: str | list[str], setting: str) -> Records[Pair]:
            return scan(open_pairs(names, setting, columns, format, encoding), Pair, "source or target", how)

        names = {"train": train, "valid": valid, "test": test}
        given = {split: opened(name, f"data.{split}") for split, name in names.items() if name is not None}
        super().__init__(given, how, valid_share, test_share, seed)


def open_pairs(
    names: str | list[str], setting: str, columns: dict[str, str | int], form: str | None, encoding: str
) -> Rows:
    if isinstance(names, list) and len(names) == 2:
        return Parallel([open_text(name, setting, encoding) for name in names])
    name = names if isinstance(names, str) else names[0] if len(names) == 1 else None
    if name is None:
        raise UserError(f"{setting}: expected one table, or two plain text files, and found {len(names)} files")
    path = Path(name.removesuffix(".gz"))
    if form is None and path.suffix.lower() not in ENDINGS and Path(name).expanduser().is_file():
        raise UserError(
            f"{setting}={name}: the ending {path.suffix!r} names no form of table: data.format=csv, tsv or jsonl does; "
            f"for two plain text files, line by line: '{setting}=[{name},OTHER]'"
        )
    return open_table(name, setting, columns, form, encoding)
