import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli import app
from tests.ml.evaluation.photo_folders import make_empty_photos, make_folder


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def test_a_folder_is_evaluated_twice_with_the_same_outcome(tmp_path: Path) -> None:
    faces = make_folder(tmp_path / "faces")
    first, second = run(faces), run(faces, "--out", tmp_path / "again")
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "built with seed 0" in first.stderr
    assert "product's rule" in first.stdout and "at tolerance 0.6: FPIR" in first.stdout
    assert "7 new, 0 from the cache" in first.stderr
    assert "0 new, 7 from the cache" in second.stderr
    reports = [json.loads((folder / "report.json").read_text()) for folder in (tmp_path / "report", tmp_path / "again")]
    assert reports[0]["models"] == reports[1]["models"]
    assert (tmp_path / "report" / "report.html").stat().st_size > 20_000
    assert (tmp_path / ".cache" / "evaluate").is_dir()
    assert sorted(path.name for path in faces.iterdir()) == ["Eileen", "Grace & <Hopper>", "Nobody"]


def test_plain_embeddings_are_measured_when_asked_for(tmp_path: Path) -> None:
    result = run(make_folder(tmp_path / "faces"), "--plain", "--max-strangers", "1", "--seed", "4")
    assert result.exit_code == 0
    assert "dlib-resnet/1-plain" in result.stdout and "Without the mirror image" in result.stdout
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert (report["data"]["n_stranger_photos"], report["data"]["seed"]) == (1, 4)


def test_a_cache_inside_the_photos_is_refused(tmp_path: Path) -> None:
    faces = make_empty_photos(tmp_path / "faces", counts={"ada": 4, "eve": 1})
    result = run(faces, "--cache", faces / "cache")
    assert result.exit_code == 1
    assert "lies inside the folder of photos" in result.stderr
    assert not (faces / "cache").exists()


def test_the_folder_itself_as_working_directory_asks_for_another_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make_empty_photos(tmp_path / "faces", counts={"ada": 4, "eve": 1}))
    result = run(".")
    assert result.exit_code == 1 and "--cache" in result.stderr


def test_what_cannot_be_measured_is_told_in_one_line(tmp_path: Path) -> None:
    faces = make_empty_photos(tmp_path / "faces", counts={"ada": 2})
    result = run(faces)
    assert result.exit_code == 1
    assert result.stderr.startswith("rollcall: 0 people to enrol")
    assert "Traceback" not in result.stderr


def test_a_hostile_protocol_is_refused(tmp_path: Path) -> None:
    faces = make_empty_photos(tmp_path / "faces", counts={"ada": 4, "eve": 1})
    protocol = tmp_path / "protocol.json"
    known = {"ada": {"gallery": ["000.jpg"], "probes": ["001.jpg"]}}
    protocol.write_text(json.dumps({"known": known, "strangers": ["../../etc/passwd"]}))
    result = run(faces, "--protocol", protocol)
    assert result.exit_code == 1 and "inside the folder" in result.stderr


def test_an_unknown_backbone_is_refused_with_those_there_are(tmp_path: Path) -> None:
    faces = make_empty_photos(tmp_path / "faces", counts={"ada": 4, "eve": 1})
    result = run(faces, "--backbone", "resnet")
    assert result.exit_code == 1 and "choose dlib-resnet" in result.stderr


def test_a_prior_that_cannot_be_measured_is_told(tmp_path: Path) -> None:
    result = run(make_folder(tmp_path / "faces"), "--fit-prior")
    assert result.exit_code == 1 and "could be enrolled: give more" in result.stderr
