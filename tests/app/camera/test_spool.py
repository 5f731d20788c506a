"""Captures on disk: in order, whole or not at all, sealed, bounded, and one client's alone."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest

from app.camera.captures import Capture, CaptureBrokenError
from app.camera.spool import Spool, SpoolError, SpoolFullError
from tests.app.camera.factories import make_capture

ROOMY = 10_000_000


def drain(spool: Spool) -> list[Capture]:
    taken = []
    while (waiting := spool.first()) is not None:
        taken.append(waiting.capture)
        spool.done(waiting)
    return taken


def test_what_is_put_in_comes_out_in_order_after_a_restart(tmp_path: Path) -> None:
    captures = [make_capture(jpeg=bytes([number]) * 100) for number in range(12)]
    first = Spool(tmp_path / "spool", ["key"], ROOMY)
    for capture in captures[:7]:
        first.put(capture)
    first.close()
    second = Spool(tmp_path / "spool", ["key"], ROOMY)
    for capture in captures[7:]:
        second.put(capture)
    assert second.n_waiting == 12
    assert drain(second) == captures
    second.close()


def test_numbers_go_on_where_the_last_delivered_one_was_the_only_one(tmp_path: Path) -> None:
    spool = Spool(tmp_path, ["key"], ROOMY)
    earlier, later = make_capture(), make_capture()
    spool.put(earlier)
    drain(spool)
    spool.put(later)
    assert drain(spool) == [later]
    spool.close()


def test_nothing_on_the_disk_can_be_read_without_the_key(tmp_path: Path) -> None:
    spool = Spool(tmp_path, ["key"], ROOMY)
    path = spool.put(make_capture(jpeg=b"a face" * 50))
    content = path.read_bytes()
    assert b"a face" not in content and b"captured_at" not in content
    assert path.stat().st_mode & 0o077 == 0
    spool.close()


def test_captures_of_another_key_stay_and_do_not_hold_up_the_others(tmp_path: Path) -> None:
    old = Spool(tmp_path, ["old"], ROOMY)
    before = make_capture()
    old.put(before)
    old.close()
    new = Spool(tmp_path, ["new"], ROOMY)
    after = make_capture()
    new.put(after)
    assert drain(new) == [after]
    assert (new.n_waiting, new.n_unreadable) == (0, 1)
    new.close()
    both = Spool(tmp_path, ["new", "old"], ROOMY)
    assert drain(both) == [before]
    both.close()


@pytest.mark.parametrize("damage", [b"", b"not sealed", "half"])
def test_a_damaged_file_is_left_alone(tmp_path: Path, damage: bytes | str) -> None:
    spool = Spool(tmp_path, ["key"], ROOMY)
    path, good = spool.put(make_capture()), make_capture()
    spool.put(good)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if isinstance(damage, str) else damage)
    assert drain(spool) == [good]
    assert spool.n_unreadable == 1 and path.exists()
    spool.close()


def test_what_was_being_written_when_the_power_went_is_forgotten(tmp_path: Path) -> None:
    tmp_path.joinpath("000000000001-0000.part").write_bytes(b"half of a capt")
    spool = Spool(tmp_path, ["key"], ROOMY)
    assert spool.n_waiting == 0 and spool.first() is None
    assert not list(tmp_path.glob("*.part"))
    spool.close()


def test_the_oldest_are_kept_when_it_is_full_and_there_is_room_again_after_a_delivery(tmp_path: Path) -> None:
    captures = [make_capture(jpeg=bytes(30_000)) for _ in range(4)]
    spool = Spool(tmp_path, ["key"], 100_000)  # sealed, one takes 40 kB
    spool.put(captures[0])
    spool.put(captures[1])
    with pytest.raises(SpoolFullError):
        spool.put(captures[2])
    waiting = spool.first()
    assert waiting is not None and waiting.capture == captures[0]
    spool.done(waiting)
    spool.put(captures[3])
    assert drain(spool) == [captures[1], captures[3]]
    spool.close()


def break_disk(spool: Spool) -> Path:
    """Nothing can be written or deleted in a folder that is not there; it is where this says."""
    return spool.folder.rename(spool.folder.with_name("away"))


def test_what_the_disk_does_not_take_is_held_in_memory_and_written_once_it_does(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", ["key"], ROOMY)
    captures = [make_capture() for _ in range(3)]
    spool.put(captures[0])
    away = break_disk(spool)
    spool.put(captures[1])
    assert (spool.n_waiting, spool.n_in_memory) == (2, 1) and spool.trouble == "No such file or directory"
    away.rename(spool.folder)
    spool.put(captures[2])
    assert (spool.n_waiting, spool.n_in_memory) == (3, 0) and spool.trouble is None
    spool.close()
    again = Spool(tmp_path / "spool", ["key"], ROOMY)
    assert drain(again) == captures
    again.close()


def test_a_full_disk_is_told_as_such_and_leaves_nothing_behind(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    spool = Spool(tmp_path, ["key"], ROOMY)
    capture = make_capture(key="0" * 36)
    (tmp_path / f"{1:012d}-{capture.key}.part").symlink_to(full)
    spool.put(capture)
    assert spool.n_in_memory == 1 and spool.trouble == "No space left on device"
    assert not list(tmp_path.glob("*.part")) and not list(tmp_path.glob("*.capture"))
    assert drain(spool) == [capture]
    spool.close()


def test_memory_too_is_bounded_and_the_oldest_are_kept(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", ["key"], 10**9)
    break_disk(spool)
    captures = [make_capture(jpeg=bytes(6_000_000)) for _ in range(3)]  # sealed, one takes 8 MB
    spool.put(captures[0])
    spool.put(captures[1])
    with pytest.raises(SpoolFullError, match="cannot be written .No such file or directory. and memory full"):
        spool.put(captures[2])
    assert drain(spool) == captures[:2]
    spool.close()


def test_a_delivered_file_that_cannot_be_deleted_is_not_delivered_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path, ["key"], ROOMY)
    path = spool.put(make_capture())
    waiting = spool.first()
    assert waiting is not None
    path.unlink()
    (path / "in the way").mkdir(parents=True)
    spool.done(waiting)
    assert spool.n_waiting == 0 and spool.first() is None and spool.trouble is not None
    (path / "in the way").rmdir()
    path.rmdir()
    path.write_bytes(b"again")
    spool.put(make_capture())
    drain(spool)
    assert not path.exists() and spool.trouble is None
    spool.close()


def test_what_cannot_be_read_at_the_moment_is_tried_later_and_holds_nothing_up(tmp_path: Path) -> None:
    spool = Spool(tmp_path, ["key"], ROOMY)
    captures = [make_capture(), make_capture()]
    path, _ = (spool.put(capture) for capture in captures)
    content = path.read_bytes()
    path.unlink()
    path.mkdir()
    waiting = spool.first()
    assert waiting is not None and waiting.capture == captures[1]
    assert spool.n_unreadable == 0
    path.rmdir()
    path.write_bytes(content)
    assert drain(spool) == captures
    spool.close()


def test_what_is_set_behind_comes_after_all_others_and_not_before_its_time(tmp_path: Path) -> None:
    spool = Spool(tmp_path, ["key"], ROOMY)
    captures = [make_capture(), make_capture()]
    for capture in captures:
        spool.put(capture)
    for for_s in (60.0, 0.0):
        waiting = spool.first()
        assert waiting is not None and not waiting.was_behind
        spool.set_behind(waiting, for_s)
    waiting = spool.first()
    assert waiting is not None and waiting.capture == captures[1] and waiting.was_behind
    spool.done(waiting)
    assert spool.first() is None and spool.n_waiting == 1
    spool.close()


def test_captures_of_another_key_take_no_room_from_others(tmp_path: Path) -> None:
    old = Spool(tmp_path, ["old"], 100_000)
    for _ in range(2):
        old.put(make_capture(jpeg=bytes(30_000)))  # sealed, one takes 40 kB
    old.close()
    new = Spool(tmp_path, ["new"], 100_000)
    assert new.first() is None
    capture = make_capture(jpeg=bytes(30_000))
    new.put(capture)
    assert drain(new) == [capture]
    new.close()


def test_another_client_on_the_same_folder_is_refused_with_what_to_do(tmp_path: Path) -> None:
    spool = Spool(tmp_path, ["key"], ROOMY)
    with pytest.raises(SpoolError, match="give each camera its own --spool"):
        Spool(tmp_path, ["key"], ROOMY)
    spool.close()
    Spool(tmp_path, ["key"], ROOMY).close()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="choose another --spool"):
        Spool(tmp_path / "file" / "spool", ["key"], ROOMY)


def test_the_refused_are_moved_aside_and_not_too_many_are_kept(tmp_path: Path) -> None:
    spool = Spool(tmp_path, ["key"], ROOMY)
    for _ in range(103):
        spool.put(make_capture())
        waiting = spool.first()
        assert waiting is not None
        spool.refuse(waiting)
    aside = sorted(path.name for path in (tmp_path / "refused").iterdir())
    assert len(aside) == 100 and aside[0].startswith("000000000004-")
    assert spool.n_waiting == 0
    spool.close()


def test_the_refused_are_kept_for_a_month_and_their_numbers_are_not_given_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path, ["key"], ROOMY)
    for _ in range(2):
        spool.put(make_capture())
        waiting = spool.first()
        assert waiting is not None
        spool.refuse(waiting)
    first, second = sorted((tmp_path / "refused").iterdir())
    os.utime(first, (0.0, first.stat().st_mtime - 32 * 86_400))
    spool.close()
    again = Spool(tmp_path, ["key"], ROOMY)
    assert list((tmp_path / "refused").iterdir()) == [second]
    assert again.put(make_capture()).name.startswith("000000000003-")
    again.close()


def test_waiting_for_an_empty_spool_ends_with_a_stop(tmp_path: Path) -> None:
    spool, stop = Spool(tmp_path, ["key"], ROOMY), Event()
    assert spool.wait_until_empty(stop, 0.0)
    spool.put(make_capture())
    assert not spool.wait_until_empty(stop, 0.0)
    stop.set()
    assert not spool.wait_until_empty(stop, 60.0)
    spool.close()


WRITER = """
import sys
from pathlib import Path
from app.camera.spool import Spool
from tests.app.camera.factories import make_capture
spool = Spool(Path(sys.argv[1]), ["key"], 10**9)
while True:
    spool.put(make_capture(jpeg=bytes(200_000)))
    print("put", flush=True)
"""


def test_a_killed_client_leaves_whole_captures_only_and_every_one_that_it_had_put(tmp_path: Path) -> None:
    n_put = 0
    for _ in range(3):
        root = Path(__file__).parents[3]
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, cwd=root, text=True
        )
        assert writer.stdout is not None
        for _ in range(5):
            assert writer.stdout.readline() == "put\n"
        os.kill(writer.pid, signal.SIGKILL)
        n_put += 5 + len(writer.stdout.read().split())
        writer.stdout.close()
        writer.wait()
    spool = Spool(tmp_path, ["key"], 10**9)
    captures = drain(spool)
    assert len(captures) in range(n_put, n_put + 4)  # the last of each run may be there without having been told
    assert len({capture.key for capture in captures}) == len(captures)
    assert all(len(capture.jpeg) == 200_000 for capture in captures)
    assert spool.n_unreadable == 0
    spool.close()


@pytest.mark.parametrize("content", [b"", b"{}\n", b"[1]\njpeg", b'{"key": 1}\nx', b"\xff\xfe\n", b"null\n"])
def test_what_is_no_capture_is_told_as_such(content: bytes) -> None:
    with pytest.raises(CaptureBrokenError):
        Capture.from_bytes(content)


def test_a_capture_survives_its_bytes() -> None:
    capture = make_capture(direction=None, jpeg=b"\n\x00\n")
    assert Capture.from_bytes(capture.to_bytes()) == capture
