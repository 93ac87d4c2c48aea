"""Babel's locale of a language."""

from typing import Any

from seqtrain.config import UserError


def find_locale(language: str) -> Any:
    from babel import Locale, UnknownLocaleError

    try:
        return Locale.parse(language)
    except (UnknownLocaleError, ValueError):
        raise UserError(f"data.languages: Babel knows no {language!r}; expected codes such as de or pt_BR") from None
