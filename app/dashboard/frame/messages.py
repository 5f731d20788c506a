"""Message catalogues: English is what the templates say; `locales/<language>/*.po` says it in other languages.

The files are read as they are, one for each part of the dashboard, so there is nothing to compile.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from babel.messages.pofile import read_po

LOCALES: Final = Path(__file__).parents[1] / "locales"


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """English to this language; empty for English itself. Of a plural, both forms are the one that there is."""
    found: dict[str, str] = {}
    for path in sorted((LOCALES / language).glob("*.po")):
        with path.open("rb") as file:
            for message in read_po(file, locale=language):
                if message.id and message.string:
                    ids = (message.id,) if isinstance(message.id, str) else message.id
                    words = message.string[-1] if isinstance(message.string, tuple) else message.string
                    found |= dict.fromkeys(ids, str(words))
    return found


def translate(language: str, message: str) -> str:
    """The message in this language, or as it is."""
    return catalogue(language).get(message, message)


def as_module(language: str) -> str:
    """The catalogue as an ES module, for `i18n.js`."""
    return f"export const messages = {json.dumps(catalogue(language), ensure_ascii=False)};\n"
