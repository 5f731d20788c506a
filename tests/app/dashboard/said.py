"""What the dashboard says: every message of its templates, its modules and its Python code, with where it stands."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from babel.messages.catalog import Message
from babel.messages.extract import extract_javascript, extract_python
from babel.messages.pofile import read_po
from jinja2.ext import babel_extract

from app.dashboard.frame.messages import LOCALES
from app.settings import Settings

DASHBOARD: Final = LOCALES.parent
# Translations of what the service answers, which is looked up when it is met and stands in no page.
LOOKED_UP: Final = "problems.po"
_TEMPLATE_OPTIONS: Final = {"trim_blocks": "true", "lstrip_blocks": "true", "newstyle_gettext": "true", "silent": "no"}
_IN_PYTHON: Final = ("N_", "_", "gettext", "ngettext")
# Of what stands inside `${…}` Babel sees nothing.
_IN_TEMPLATE: Final = re.compile(r'\bt\(\s*"((?:[^"\\]|\\.)*)"')
_PLACEHOLDER: Final = re.compile(r"%\((\w+)\)[sd]|\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Translation:
    """One entry of a catalogue."""

    file: str
    message: Message

    @property
    def ids(self) -> tuple[str, ...]:
        return _tuple(self.message.id)

    @property
    def words(self) -> tuple[str, ...]:
        return _tuple(self.message.string)


def said() -> Mapping[str, set[str]]:
    """Messages, and the files that say them."""
    found: dict[str, set[str]] = defaultdict(set)
    for path, messages in _sources():
        for message in messages:
            found[message].add(str(path.relative_to(DASHBOARD)))
    for field in Settings.model_fields.values():  # the page of settings says what each is for
        found[str(field.description)].add("settings.py")
    return found


def translations(language: str) -> Iterator[Translation]:
    """Every entry of every catalogue of a language."""
    for path in sorted((LOCALES / language).glob("*.po")):
        with path.open("rb") as file:
            for message in read_po(file, locale=language, abort_invalid=True):
                if message.id:
                    yield Translation(path.name, message)


def placeholders(message: str) -> set[str]:
    """The names of what is filled in."""
    return {one or other for one, other in _PLACEHOLDER.findall(message)}


def _sources() -> Iterator[tuple[Path, Iterable[str]]]:
    for path in sorted(DASHBOARD.rglob("*.html")):
        yield path, _extracted(path, babel_extract, ("_", "gettext", "ngettext"), _TEMPLATE_OPTIONS)
    for path in sorted((DASHBOARD / "static" / "js").rglob("*.js")):
        yield path, {*_extracted(path, extract_javascript, ("t", "N_"), {}), *_inside_templates(path)}
    for path in sorted(DASHBOARD.rglob("*.py")):
        yield path, _extracted(path, extract_python, _IN_PYTHON, {})


def _extracted(path: Path, extractor: Any, keywords: Iterable[str], options: Mapping[str, str]) -> list[str]:
    with path.open("rb") as file:
        found = list(extractor(file, list(keywords), (), dict(options)))
    return [message for _, _, messages, _ in found for message in _tuple(messages) if message]


def _inside_templates(path: Path) -> list[str]:
    return _IN_TEMPLATE.findall(path.read_text(encoding="utf-8"))


def _tuple(one_or_many: Any) -> tuple[str, ...]:
    return tuple(one_or_many) if isinstance(one_or_many, list | tuple) else (one_or_many,)
