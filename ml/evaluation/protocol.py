"""A folder of photos -> who is enrolled, who is searched, who is a stranger."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, Final

from ml.errors import MlError

PHOTO_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp")
N_GALLERY_PHOTOS: Final = 3  # as the reference figures on Labeled Faces in the Wild
# Below this many strangers one of them is more than 1 % of the searches, and an FPIR of 1 % cannot be seen.
MIN_STRANGERS: Final = 100
_HELD_OUT_SHARE: Final = 1 / 3


class ProtocolError(MlError, ValueError):
    """A folder or protocol file that no evaluation can be made of; the message says why."""


@dataclass(frozen=True, slots=True)
class LabelledPhoto:
    """A photo and whose it is."""

    person: str
    path: Path


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """Somebody to be enrolled with `gallery` and searched with `probes`."""

    person: str
    gallery: tuple[Path, ...]
    probes: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Protocol:
    """`source` says in words how it was made. Strangers are only ever searched; the cohort may be fitted on."""

    source: str
    known: tuple[KnownPerson, ...]
    cohort: tuple[LabelledPhoto, ...]
    strangers: tuple[LabelledPhoto, ...]

    @property
    def n_gallery_photos(self) -> int:
        return sum(len(person.gallery) for person in self.known)

    @property
    def n_probes(self) -> int:
        return sum(len(person.probes) for person in self.known)


def photos_root(folder: Path) -> Path:
    """The folder that holds one subfolder per person: `folder/images` where there is one, else `folder`."""
    return folder / "images" if (folder / "images").is_dir() else folder


def load_protocol(folder: Path, file: Path) -> Protocol:
    """Read a protocol file.

    It holds `known` {person: {gallery: [file], probes: [file]}}, and `cohort` and `strangers`, lists of person/file.

    Raises:
        ProtocolError: not such a file, a photo that is missing or outside the folder, a probe that is also enrolled,
            or a stranger who is somebody known or in the cohort.
    """
    raw = _read_json(file)
    root = photos_root(folder).resolve()
    known = tuple(_known_person(root, str(name), entry) for name, entry in sorted(_mapping(raw, "known").items()))
    cohort = tuple(_labelled(root, path) for path in _texts(raw.get("cohort", []), "cohort"))
    strangers = tuple(_labelled(root, path) for path in _texts(raw.get("strangers", []), "strangers"))
    return _checked(Protocol(f"read from {file.name}", known, cohort, strangers))


def build_protocol(folder: Path, seed: int) -> Protocol:
    """Make a protocol from the photos there are, the same for the same folder and seed.

    People with four or more photos are enrolled with three of them and searched with the rest, people with two or
    three are the cohort, people with one are strangers. Where these are too few, a third of each other kind is held out
    as strangers too.

    Raises:
        ProtocolError: too few photos to enrol anybody and search a stranger.
    """
    photos = _photos_by_person(photos_root(folder).resolve())
    random = Random(seed)
    single = [person for person, paths in photos.items() if len(paths) == 1]
    few = [person for person, paths in photos.items() if 1 < len(paths) <= N_GALLERY_PHOTOS]
    many = [person for person, paths in photos.items() if len(paths) > N_GALLERY_PHOTOS]
    held_out = _held_out(few, many, random) if len(single) < MIN_STRANGERS else set()
    if not single and not held_out:
        held_out = {next(iter(few or many))} if len(few) + len(many) > 1 else set()
    cohort = [person for person in few if person not in held_out]
    known = tuple(_split(person, photos[person], random) for person in many if person not in held_out)
    source = (
        f"built with seed {seed}: people with {N_GALLERY_PHOTOS + 1} or more photos are enrolled with "
        f"{N_GALLERY_PHOTOS}; strangers are {len(single)} people with one photo"
        + (f" and {len(held_out)} others held out" if held_out else "")
    )
    strangers = sorted([*single, *held_out])
    return _checked(Protocol(source, known, _labelled_photos(photos, cohort), _labelled_photos(photos, strangers)))


def _held_out(few: list[str], many: list[str], random: Random) -> set[str]:
    chosen = [random.sample(people, round(len(people) * _HELD_OUT_SHARE)) for people in (few, many)]
    return {person for people in chosen for person in people}


def _split(person: str, paths: list[Path], random: Random) -> KnownPerson:
    shuffled = random.sample(paths, len(paths))
    gallery, probes = shuffled[:N_GALLERY_PHOTOS], shuffled[N_GALLERY_PHOTOS:]
    return KnownPerson(person, tuple(sorted(gallery)), tuple(sorted(probes)))


def _labelled_photos(photos: Mapping[str, list[Path]], people: Iterable[str]) -> tuple[LabelledPhoto, ...]:
    return tuple(LabelledPhoto(person, path) for person in people for path in photos[person])


def _photos_by_person(root: Path) -> dict[str, list[Path]]:
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    found = {
        folder.name: [
            _inside(root, f"{folder.name}/{path.name}")
            for path in sorted(folder.iterdir())
            if path.suffix.lower() in PHOTO_SUFFIXES and not path.name.startswith(".")
        ]
        for folder in folders
    }
    return {person: paths for person, paths in found.items() if paths}


def _read_json(file: Path) -> Mapping[str, Any]:
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"{file} is not JSON ({error}): see the help of this command for its format") from error
    if not isinstance(raw, dict):
        raise ProtocolError(f"{file} must hold one JSON object with known, cohort and strangers")
    return raw


def _known_person(root: Path, name: str, entry: object) -> KnownPerson:
    if not isinstance(entry, dict):
        raise ProtocolError(f"known[{name!r}] must be an object with the lists gallery and probes")
    lists = {key: _texts(entry.get(key, []), f"known[{name!r}].{key}") for key in ("gallery", "probes")}
    gallery, probes = (tuple(_inside(root, f"{name}/{path}") for path in paths) for paths in lists.values())
    if not gallery:
        raise ProtocolError(f"known[{name!r}] has no gallery photo: give at least one, or call them a stranger")
    return KnownPerson(name, gallery, probes)


def _labelled(root: Path, path: str) -> LabelledPhoto:
    return LabelledPhoto(Path(path).parent.as_posix(), _inside(root, path))


def _inside(root: Path, name: str) -> Path:
    """The photo of that name; refuses whatever leads out of the folder, by the name itself or by a link."""
    parts = name.split("/")
    if "\0" in name or "\\" in name or "" in parts or "." in parts or ".." in parts:
        raise ProtocolError(f"{name!r} is not the name of a photo inside the folder: give person/file")
    path = root.joinpath(*parts)
    if not path.resolve().is_relative_to(root):
        raise ProtocolError(f"{name!r} leads out of the folder {root}: only photos inside it are read")
    if not path.is_file():
        raise ProtocolError(f"{name!r} is not in {root}: correct the protocol, or bring the photo back")
    return path


def _mapping(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = raw.get(key)
    if not isinstance(value, dict):
        raise ProtocolError(f"{key} must be an object of people with their gallery and probes")
    return value


def _texts(value: object, key: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ProtocolError(f"{key} must be a list of file names")
    return value


def _checked(protocol: Protocol) -> Protocol:
    enrolled = [path for person in protocol.known for path in person.gallery]
    probes = [path for person in protocol.known for path in person.probes]
    strangers = {photo.person for photo in protocol.strangers}
    others = {person.person for person in protocol.known} | {photo.person for photo in protocol.cohort}
    if not probes or not strangers:
        raise ProtocolError(
            f"{len(protocol.known)} people to enrol, {len(probes)} further photos of theirs and {len(strangers)} "
            f"strangers: an evaluation needs some of each. Give people {N_GALLERY_PHOTOS + 1} or more photos, and "
            "add strangers, or name them in a protocol"
        )
    if twice := sorted({str(path) for path in islice(_repeated([*enrolled, *probes]), 3)}):
        raise ProtocolError(f"{', '.join(twice)} is used twice: a photo is either enrolled or searched, once")
    if both := strangers & others:
        raise ProtocolError(
            f"{len(both)} of the strangers are also known or in the cohort: a stranger is only searched"
        )
    return protocol


def _repeated(paths: list[Path]) -> Iterable[Path]:
    seen: set[Path] = set()
    for path in paths:
        if path in seen:
            yield path
        seen.add(path)
