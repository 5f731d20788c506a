import json
from pathlib import Path
from typing import Any

import pytest

from ml.errors import MlError
from ml.evaluation.protocol import (
    MIN_STRANGERS,
    ProtocolError,
    build_protocol,
    load_protocol,
    photos_root,
)
from tests.ml.evaluation.photo_folders import make_empty_photos

SINGLES = {f"single-{n:03d}": 1 for n in range(MIN_STRANGERS)}


def write_protocol(folder: Path, protocol: Any) -> Path:
    file = folder / "protocol.json"
    file.write_text(json.dumps(protocol))
    return file


def make_raw(**changes: Any) -> dict[str, Any]:
    raw: dict[str, Any] = {
        "known": {"ada": {"gallery": ["000.jpg"], "probes": ["001.jpg"]}},
        "cohort": ["bob/000.jpg"],
        "strangers": ["eve/000.jpg"],
    }
    return raw | changes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_empty_photos(tmp_path / "faces", counts={"ada": 3, "bob": 2, "eve": 1})


def test_a_protocol_file_says_who_is_who(folder: Path) -> None:
    protocol = load_protocol(folder, write_protocol(folder, make_raw()))
    [ada] = protocol.known
    assert (ada.person, [p.name for p in ada.gallery], [p.name for p in ada.probes]) == (
        "ada",
        ["000.jpg"],
        ["001.jpg"],
    )
    assert [(photo.person, photo.path.name) for photo in protocol.cohort] == [("bob", "000.jpg")]
    assert [photo.person for photo in protocol.strangers] == ["eve"]
    assert protocol.source == "read from protocol.json"
    assert (protocol.n_gallery_photos, protocol.n_probes) == (1, 1)


def test_photos_may_lie_in_a_subfolder_called_images(tmp_path: Path) -> None:
    make_empty_photos(tmp_path / "images", counts={"ada": 3, "eve": 1})
    assert photos_root(tmp_path) == tmp_path / "images"
    protocol = load_protocol(tmp_path, write_protocol(tmp_path, make_raw(cohort=[])))
    assert protocol.strangers[0].path == tmp_path / "images" / "eve" / "000.jpg"


@pytest.mark.parametrize(
    "path",
    [
        "../secret.jpg",
        "/etc/passwd",
        "eve/../../secret.jpg",
        "eve/./000.jpg",
        "eve\\000.jpg",
        "",
        "eve//000.jpg",
        "a\0b",
    ],
)
def test_paths_that_lead_out_of_the_folder_are_refused(folder: Path, path: str) -> None:
    (folder.parent / "secret.jpg").write_bytes(b"")
    with pytest.raises(ProtocolError, match="inside the folder"):
        load_protocol(folder, write_protocol(folder, make_raw(strangers=[path])))


@pytest.mark.parametrize("person", ["..", "../faces/ada", "/etc", "."])
def test_people_that_lead_out_of_the_folder_are_refused(folder: Path, person: str) -> None:
    known = {person: {"gallery": ["000.jpg"], "probes": ["001.jpg"]}}
    with pytest.raises(ProtocolError, match="inside the folder"):
        load_protocol(folder, write_protocol(folder, make_raw(known=known)))


def test_a_link_that_leads_out_of_the_folder_is_refused(folder: Path) -> None:
    secret = folder.parent / "secret.jpg"
    secret.write_bytes(b"")
    (folder / "eve" / "link.jpg").symlink_to(secret)
    with pytest.raises(ProtocolError, match="leads out"):
        load_protocol(folder, write_protocol(folder, make_raw(strangers=["eve/link.jpg"])))
    with pytest.raises(ProtocolError, match="leads out"):
        build_protocol(folder, seed=0)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"known": []}, "known must be an object"),
        ({"known": {"ada": ["000.jpg"]}}, "lists gallery and probes"),
        ({"known": {"ada": {"gallery": "000.jpg"}}}, "list of file names"),
        ({"known": {"ada": {"gallery": [], "probes": ["001.jpg"]}}}, "no gallery photo"),
        ({"known": {"ada": {"gallery": ["000.jpg"], "probes": ["000.jpg"]}}}, "used twice"),
        ({"known": {"ada": {"gallery": ["000.jpg"], "probes": []}}}, "needs some of each"),
        ({"strangers": []}, "needs some of each"),
        ({"strangers": {"eve": 1}}, "strangers must be a list"),
        ({"strangers": [1]}, "strangers must be a list"),
        ({"strangers": ["eve/404.jpg"]}, "is not in"),
        ({"strangers": ["ada/002.jpg"]}, "also known or in the cohort"),
        ({"strangers": ["bob/001.jpg"]}, "also known or in the cohort"),
    ],
)
def test_a_protocol_that_would_mislead_is_refused(folder: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        load_protocol(folder, write_protocol(folder, make_raw(**changes)))


@pytest.mark.parametrize("text", ["", "{", "[]", "\ufeff", "[" * 100_000])
def test_a_file_that_is_no_protocol_is_refused(folder: Path, text: str) -> None:
    file = folder / "protocol.json"
    file.write_text(text)
    with pytest.raises(ProtocolError):
        load_protocol(folder, file)
    assert issubclass(ProtocolError, MlError)


def test_a_protocol_is_made_from_the_number_of_photos(tmp_path: Path) -> None:
    make_empty_photos(tmp_path, counts={"four": 4, "six": 6, "two": 2, "three": 3, **SINGLES})
    protocol = build_protocol(tmp_path, seed=0)
    assert {person.person: (len(person.gallery), len(person.probes)) for person in protocol.known} == {
        "four": (3, 1),
        "six": (3, 3),
    }
    assert {photo.person for photo in protocol.cohort} == {"two", "three"}
    assert {photo.person for photo in protocol.strangers} == set(SINGLES)
    assert "held out" not in protocol.source


def test_the_same_seed_makes_the_same_protocol(tmp_path: Path) -> None:
    make_empty_photos(tmp_path, counts={f"p{n}": 8 for n in range(20)})
    assert build_protocol(tmp_path, seed=3) == build_protocol(tmp_path, seed=3)
    assert build_protocol(tmp_path, seed=3).known != build_protocol(tmp_path, seed=4).known


def test_people_are_held_out_as_strangers_where_there_are_too_few(tmp_path: Path) -> None:
    make_empty_photos(tmp_path, counts={**{f"p{n}": 5 for n in range(12)}, "alone": 1})
    protocol = build_protocol(tmp_path, seed=0)
    strangers = {photo.person for photo in protocol.strangers}
    assert len(strangers) == 5 and "alone" in strangers
    assert strangers.isdisjoint(person.person for person in protocol.known)
    assert len(protocol.strangers) == 4 * 5 + 1  # all of their photos are searched
    assert "4 others held out" in protocol.source


@pytest.mark.parametrize("counts", [{"ada": 4, "bob": 2}, {"ada": 4, "bea": 9}])
def test_of_two_people_one_is_held_out_and_one_enrolled(tmp_path: Path, counts: dict[str, int]) -> None:
    make_empty_photos(tmp_path, counts=counts)
    protocol = build_protocol(tmp_path, seed=0)
    assert len({photo.person for photo in protocol.strangers}) == len(protocol.known) == 1


def test_files_that_are_no_photos_are_passed_over(tmp_path: Path) -> None:
    make_empty_photos(tmp_path, counts={"ada": 4, "eve": 1})
    (tmp_path / "ada" / "notes.txt").write_text("")
    (tmp_path / "ada" / ".hidden.jpg").write_text("")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "000.jpg").write_text("")
    (tmp_path / "report.json").write_text("")
    protocol = build_protocol(tmp_path, seed=0)
    assert (protocol.n_gallery_photos, protocol.n_probes, len(protocol.strangers)) == (3, 1, 1)


@pytest.mark.parametrize("counts", [{}, {"ada": 4}, {"ada": 3, "eve": 1}])
def test_too_few_photos_are_refused_with_what_to_do(tmp_path: Path, counts: dict[str, int]) -> None:
    make_empty_photos(tmp_path, counts=counts)
    with pytest.raises(ProtocolError, match="Give people 4 or more photos"):
        build_protocol(tmp_path, seed=0)
