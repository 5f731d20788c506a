"""Whatever a page can say, it can say in every language."""

from collections import defaultdict

import pytest

from app.dashboard.frame.taste import LANGUAGES
from tests.app.dashboard.said import LOOKED_UP, Translation, placeholders, said, translations

OTHERS = [language for language in LANGUAGES if language != "en"]


@pytest.fixture(params=OTHERS)
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_message_has_a_translation(language: str) -> None:
    known = {message for entry in translations(language) if all(entry.words) for message in entry.ids}
    missing: dict[str, list[str]] = defaultdict(list)
    for message, files in said().items():
        if message not in known:
            missing[min(files)].append(message)
    assert not missing, "\n".join(f"{file}: {message!r}" for file in missing for message in missing[file])


def test_translations_fill_in_what_the_message_fills_in(language: str) -> None:
    said_by_us = (entry for entry in translations(language) if all(entry.words) and entry.file != LOOKED_UP)
    wrong = [entry for entry in said_by_us if not _fills_in_the_same(entry)]
    assert not wrong, "\n".join(f"{entry.file}: {entry.ids} says {entry.words}" for entry in wrong)


def test_no_translation_is_a_guess_or_of_a_message_that_nobody_says(language: str) -> None:
    messages = said()
    fuzzy = [entry.ids for entry in translations(language) if entry.message.fuzzy]
    orphans = [
        f"{entry.file}: {entry.ids[0]!r}"
        for entry in translations(language)
        if entry.file != LOOKED_UP and entry.ids[0] not in messages
    ]
    assert not fuzzy
    assert not orphans, "\n".join(orphans)


def test_the_same_message_is_translated_the_same_in_every_catalogue(language: str) -> None:
    by_message: dict[str, set[str]] = defaultdict(set)
    for entry in translations(language):
        for message in entry.ids:
            by_message[message].add(entry.words[-1])
    differing = {message: words for message, words in by_message.items() if len(words) > 1}
    assert not differing, "\n".join(f"{message!r}: {sorted(words)}" for message, words in differing.items())


def _fills_in_the_same(entry: Translation) -> bool:
    """A plural may leave its number out where the language does not need it; nothing else may come or go."""
    ours = set().union(*(placeholders(message) for message in entry.ids))
    theirs = [placeholders(words) for words in entry.words]
    if len(entry.ids) > 1:
        return all(words <= ours for words in theirs)
    return all(words == ours for words in theirs)
