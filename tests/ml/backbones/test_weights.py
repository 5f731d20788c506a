import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ml.backbones import load_backbone
from ml.backbones.card import ModelCard, WeightsFile
from ml.backbones.cards import find_card
from ml.backbones.weights import pull_weights, require_weights, sha256_of, verify_sha256, weights_path
from ml.errors import ModelError

CONTENT = bytes(range(256)) * 10_000  # three chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()
UNKNOWN = "unknown"


def make_card(
    *, url: str | None = "http://localhost:1/net.bin", sha256: str = SHA256, n_bytes: int | None = len(CONTENT)
) -> ModelCard:
    known = None if sha256 == UNKNOWN else sha256
    weights = WeightsFile("sface", "net.bin", n_bytes, known, url)
    return replace(find_card("sface"), weights=weights)


def make_file(folder: Path, content: bytes = CONTENT) -> Path:
    path = folder / "carried.bin"
    path.write_bytes(content)
    return path


class Handler(BaseHTTPRequestHandler):
    """/net.bin the file, /short promises more than it sends, /endless sends far more than it should, else 404."""

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        answers: dict[str, tuple[bytes, int | None]] = {
            "/net.bin": (CONTENT, len(CONTENT)),
            "/short": (CONTENT[:-1], len(CONTENT)),
            "/endless": (CONTENT * 4, None),
            "/empty": (b"", None),
        }
        if self.path not in answers:
            self.send_error(404)
            return
        body, length = answers[self.path]
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        try:
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client had enough

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output quiet."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    http_server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http_server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{http_server.server_port}"
    http_server.shutdown()
    thread.join()
    http_server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return tmp_path / "models"


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_dlib_weights_are_found_inside_their_package_without_a_models_folder() -> None:
    path = weights_path(find_card("dlib-resnet"), None)
    assert path.stat().st_size == 22_466_066
    assert require_weights(find_card("dlib-resnet"), None) == path


def test_weights_of_a_package_that_is_missing_are_looked_for_in_the_models_folder(models_dir: Path) -> None:
    card = find_card("dlib-resnet")
    assert card.weights is not None
    weights = replace(card.weights, package_file="no_such_package/models/net.dat")
    card = replace(card, weights=weights)
    assert weights_path(card, models_dir) == models_dir / weights.filename
    for folder in (models_dir, None):
        with pytest.raises(ModelError, match="pip install no-such-package"):
            require_weights(card, folder)
    with pytest.raises(ModelError, match="not for download"):
        pull_weights(card, models_dir)


@pytest.mark.parametrize("name", ["facenet-vggface2", "sface", "yunet"])
def test_absent_weights_are_refused_with_the_command_that_brings_them(name: str, models_dir: Path) -> None:
    with pytest.raises(ModelError) as refusal:
        require_weights(find_card(name), models_dir)
    assert (
        f"run `rollcall models pull {name}`, or on a machine without internet `rollcall models pull {name} "
        "--from-file PATH`" in str(refusal.value)
    )


@pytest.mark.parametrize("folder", [True, False])
def test_loading_facenet_without_its_file_says_how_to_get_it(folder: bool, models_dir: Path) -> None:
    with pytest.raises(ModelError, match="rollcall models pull facenet-vggface2"):
        load_backbone("facenet-vggface2", models_dir=models_dir if folder else None)


def test_a_card_without_a_weights_file_has_nothing_to_pull(models_dir: Path) -> None:
    with pytest.raises(ModelError, match="mtcnn"):
        pull_weights(find_card("mtcnn"), models_dir)


def test_a_wrong_sha256_is_refused(tmp_path: Path) -> None:
    path = make_file(tmp_path)
    verify_sha256(path, SHA256.upper())
    with pytest.raises(ModelError, match=SHA256):
        verify_sha256(path, "0" * 64)


def test_dlib_weights_with_one_flipped_bit_are_not_loaded(models_dir: Path) -> None:
    card = find_card("dlib-resnet")
    assert card.weights is not None
    data = bytearray(weights_path(card, None).read_bytes())
    data[10_000_000] ^= 1
    models_dir.mkdir()
    (models_dir / card.weights.filename).write_bytes(data)
    card = replace(card, weights=replace(card.weights, package_file="no_such_package/net.dat"))
    with pytest.raises(ModelError, match="sha256"):
        require_weights(card, models_dir)


def test_a_file_that_cannot_be_read_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read"):
        sha256_of(tmp_path / "absent")


def test_pulling_from_a_file_puts_a_checked_copy_in_place(tmp_path: Path, models_dir: Path) -> None:
    pulled = pull_weights(make_card(), models_dir, from_file=make_file(tmp_path))
    assert (pulled.n_bytes, pulled.sha256, pulled.is_checked) == (len(CONTENT), SHA256, True)
    assert pulled.path.read_bytes() == CONTENT
    assert files_in(models_dir) == ["net.bin"]
    assert require_weights(make_card(), models_dir) == pulled.path


def test_pulling_downloads_and_reports_progress(server: str, models_dir: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    pulled = pull_weights(
        make_card(url=f"{server}/net.bin"), models_dir, on_progress=lambda done, total: seen.append((done, total))
    )
    assert pulled.path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen) and len(seen) >= 3
    assert files_in(models_dir) == ["net.bin"]


@pytest.mark.parametrize("page", ["/short", "/endless", "/empty", "/absent"])
@pytest.mark.parametrize("sha256", [SHA256, UNKNOWN])
def test_a_download_that_goes_wrong_leaves_nothing_behind(
    server: str, models_dir: Path, page: str, sha256: str
) -> None:
    with pytest.raises(ModelError):
        pull_weights(make_card(url=server + page, sha256=sha256), models_dir)
    assert files_in(models_dir) == []


def test_a_server_that_never_stops_cannot_fill_the_disk(server: str, models_dir: Path) -> None:
    seen: list[int] = []
    with pytest.raises(ModelError, match="another file"):
        pull_weights(make_card(url=f"{server}/endless"), models_dir, on_progress=lambda done, _: seen.append(done))
    assert seen[-1] < 2 * len(CONTENT)


def test_a_server_that_is_not_there_is_answered_with_the_way_around(models_dir: Path) -> None:
    with pytest.raises(ModelError, match="--from-file PATH"):
        pull_weights(make_card(url="http://127.0.0.1:1/net.bin"), models_dir)
    assert files_in(models_dir) == []


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", bytes(len(CONTENT)), b""])
def test_a_file_with_other_content_is_refused_and_the_old_one_kept(
    content: bytes, tmp_path: Path, models_dir: Path
) -> None:
    pull_weights(make_card(), models_dir, from_file=make_file(tmp_path))
    with pytest.raises(ModelError):
        pull_weights(make_card(), models_dir, from_file=make_file(tmp_path, content))
    assert files_in(models_dir) == ["net.bin"]
    assert (models_dir / "net.bin").read_bytes() == CONTENT


def test_a_file_that_is_absent_is_refused(tmp_path: Path, models_dir: Path) -> None:
    with pytest.raises(ModelError, match="cannot get"):
        pull_weights(make_card(), models_dir, from_file=tmp_path / "absent")


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_pull_leaves_nothing_behind(
    error: type[BaseException], tmp_path: Path, models_dir: Path
) -> None:
    with pytest.raises(error):
        pull_weights(make_card(), models_dir, from_file=make_file(tmp_path), on_progress=raiser(error))
    assert files_in(models_dir) == []


def raiser(error: type[BaseException]) -> Callable[[int, int | None], None]:
    def on_progress(done: int, total: int | None) -> None:
        raise error

    return on_progress


def test_a_models_folder_that_cannot_be_made_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot write"):
        pull_weights(make_card(), make_file(tmp_path) / "models", from_file=make_file(tmp_path))


def test_without_a_published_sha256_the_one_that_came_is_recorded_and_holds(tmp_path: Path, models_dir: Path) -> None:
    card = make_card(sha256=UNKNOWN, n_bytes=None)
    pulled = pull_weights(card, models_dir, from_file=make_file(tmp_path))
    assert (pulled.sha256, pulled.is_checked) == (SHA256, False)
    assert files_in(models_dir) == ["net.bin", "net.bin.sha256"]
    assert require_weights(card, models_dir) == pulled.path
    pulled.path.write_bytes(CONTENT[::-1])
    with pytest.raises(ModelError, match=SHA256):
        require_weights(card, models_dir)
