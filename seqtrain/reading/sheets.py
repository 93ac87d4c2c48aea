"""Reads Parquet and Arrow files and Excel workbooks as pandas DataFrames. pandas is imported only when one is read."""

from __future__ import annotations

import importlib
import io
import json
import logging
import math
import warnings
from collections.abc import Iterator
from typing import Any

from seqtrain.config import UserError, in_brief

DataFrame = Any  # of pandas, whose types say too little
SHEETS = {"parquet": "Parquet file", "arrow": "Arrow file", "xlsx": ".xlsx workbook"}
PACKAGES = {  # and the extra that installs it
    "parquet": ("pyarrow", "parquet"),
    "arrow": ("pyarrow", "parquet"),
    "xlsx": ("openpyxl", "excel"),
}

log = logging.getLogger(__name__)


def read_sheet(data: bytes, form: str, where: str, header: bool = True) -> DataFrame:
    """Reads a Parquet file (form "parquet"), an Arrow file ("arrow") or the first sheet of a workbook ("xlsx").

    The index of the result numbers the rows from 1, a header included. header: whether the first row of a sheet holds
    the column names. Raises `UserError` for a damaged file, or a package that is missing.
    """
    need_package(form, where)
    try:
        if form == "xlsx":
            return read_workbook(data, where, header)
        return read_parquet(data) if form == "parquet" else read_arrow(data)
    except Exception as error:  # on damaged files the libraries raise any kind of exception
        problem = f"{type(error).__name__}: {in_brief(error)}"
        raise UserError(f"{where}: this is not a complete {SHEETS[form]} ({problem})") from None


def need_package(form: str, where: str) -> None:
    """Raises `UserError` where the package that reads a form is not installed."""
    package, extra = PACKAGES[form]
    try:
        importlib.import_module(package)
    except ImportError:
        raise UserError(f"{where}: {extra.title()} needs {package}: pip install 'seqtrain[{extra}]'") from None


def read_parquet(data: bytes) -> DataFrame:
    """Reads a Parquet file. An index that was saved with it becomes a column, unless a column has its name."""
    import pandas as pd

    table = pd.read_parquet(io.BytesIO(data))
    keep_index = not isinstance(table.index, pd.RangeIndex) and not set(table.index.names) & set(table.columns)
    return table.reset_index(drop=not keep_index).set_axis(range(1, len(table) + 1))


def read_arrow(data: bytes) -> DataFrame:
    """Reads a file of Arrow's stream or file format."""
    import pandas as pd
    import pyarrow

    table = pyarrow.Table.from_batches(arrow_batches(pyarrow.BufferReader(data))).to_pandas()
    return table.set_axis(pd.RangeIndex(1, len(table) + 1))


def arrow_batches(source: Any) -> Iterator[Any]:
    """The batches of an Arrow file, with the names of the classes that Hugging Face's `datasets` has as numbers."""
    import pyarrow

    try:
        file = pyarrow.ipc.open_file(source)
        batches = map(file.get_batch, range(file.num_record_batches))
    except pyarrow.ArrowInvalid:
        source.seek(0)
        file = batches = pyarrow.ipc.open_stream(source)
    features = json.loads((file.schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    classes = {name: value["names"] for name, value in features.items() if "names" in value}
    for batch in batches:
        for name, names in classes.items():
            numbers = batch.column(name).to_pylist()
            named = pyarrow.array([None if number is None or number < 0 else names[number] for number in numbers])
            batch = batch.set_column(batch.schema.get_field_index(name), name, named)
        yield batch


def read_workbook(data: bytes, where: str, header: bool) -> DataFrame:
    """Reads the first sheet. Cells keep their types, "NA" stays a text, and empty rows are left out."""
    import pandas as pd

    with warnings.catch_warnings(action="ignore"), pd.ExcelFile(io.BytesIO(data), engine="openpyxl") as book:
        sheets = book.sheet_names
        table = pd.read_excel(book, header=0 if header else None, dtype=object, keep_default_na=False)
    if len(sheets) > 1:
        log.warning("%s: only the first of %d sheets is read: %s", where, len(sheets), sheets[0])
    table = table.set_axis(range(1 + header, len(table) + 1 + header))
    return table[(table.notna() & (table != "")).any(axis=1)]


def plain(value: Any) -> Any:
    """Returns a cell as a value that JSON can hold: None where it is missing, a text for dates and other types."""
    if isinstance(value, str):
        return value
    import pandas as pd

    value = value.tolist() if hasattr(value, "tolist") else value  # a number or an array of NumPy
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if pd.isna(value):
        return None
    number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return value if number else str(value)
