"""Glossaries: tables of terms, and where a text has them."""

from pathlib import Path

import pytest

from seqtrain.config import UserError
from seqtrain.reading.glossary import Glossary


def glossary(folder: Path, text: str, name: str = "terms.tsv") -> Glossary:
    (folder / name).write_text(text, encoding="utf-8")
    return Glossary(str(folder / name))


def test_terms_are_whole_words_in_capitals_or_not(tmp_path: Path):
    found = glossary(tmp_path, "printer\tDrucker\nlaser printer\tLaserdrucker\nC++\tC plus plus\n").targets
    assert found("Buy a Printer.") == ["Drucker"]
    assert found("The printers print, the sprinter runs.") == []
    assert found("A laser printer is a printer; a printer is not.") == ["Laserdrucker", "Drucker"]
    assert found("c++ for C++") == ["C plus plus"]
    assert found("") == []


def test_scripts_without_spaces_have_terms_within_a_line(tmp_path: Path):
    assert glossary(tmp_path, "打印机\tprinter\n").targets("我买打印机了") == ["printer"]


def test_a_csv_with_quotes_and_commas(tmp_path: Path):
    found = glossary(tmp_path, '"Paris, Texas","Paris (Texas)"\n', "terms.csv")
    assert found.targets("from Paris, Texas, to you") == ["Paris (Texas)"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\na\tc\n", "line 2: 'a' is 'b' above already"),
        ("a\tb\nc\t\n", "line 2: a term is empty"),
        ("only one column\n", "column"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, text: str, message: str):
    with pytest.raises(UserError, match=message):
        glossary(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"decode.glossary=.*no such file"):
        Glossary(str(tmp_path / "none.tsv"))
