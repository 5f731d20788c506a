import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ml.training.checkpoints import FileCheckpoints


def flipped(data: bytes) -> bytes:
    return bytes(byte ^ 0x55 for byte in data)


def make_checkpoints(*, folder: Path) -> FileCheckpoints:
    return FileCheckpoints(folder / "deep" / "state", flipped, flipped)


def test_what_was_saved_last_comes_back_and_lies_sealed(tmp_path: Path) -> None:
    checkpoints = make_checkpoints(folder=tmp_path)
    assert checkpoints.load() is None
    checkpoints.save(b"one")
    checkpoints.save(b"two")
    assert make_checkpoints(folder=tmp_path).load() == b"two"
    assert (tmp_path / "deep" / "state").read_bytes() == flipped(b"two")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["state"]


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    make_checkpoints(folder=tmp_path).save(b"one")
    assert (tmp_path / "deep" / "state").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "deep").stat().st_mode & 0o777 == 0o700


def test_a_failed_save_leaves_the_state_before(tmp_path: Path) -> None:
    make_checkpoints(folder=tmp_path).save(b"one")

    def refusing(data: bytes) -> bytes:
        raise ValueError("no key")

    with pytest.raises(ValueError, match="no key"):
        FileCheckpoints(tmp_path / "deep" / "state", refusing, flipped).save(b"two")
    assert make_checkpoints(folder=tmp_path).load() == b"one"


def test_clearing_removes_the_halves_too(tmp_path: Path) -> None:
    checkpoints = make_checkpoints(folder=tmp_path)
    checkpoints.save(b"one")
    (tmp_path / "deep" / "state-0123.part").write_bytes(b"half")
    checkpoints.clear()
    checkpoints.clear()
    assert list((tmp_path / "deep").iterdir()) == []


_SAVER = """
import itertools, sys
from pathlib import Path
from ml.training.checkpoints import FileCheckpoints
same = lambda data: data
checkpoints = FileCheckpoints(Path(sys.argv[1]), same, same)
for n in itertools.count():
    checkpoints.save(bytes([n % 256]) * 3_000_000)
    print(n, flush=True)
"""


@pytest.mark.parametrize("n_saves", [1, 4])
def test_a_kill_while_saving_leaves_one_whole_state(tmp_path: Path, n_saves: int) -> None:
    path = tmp_path / "state"
    saver = subprocess.Popen([sys.executable, "-c", _SAVER, str(path)], stdout=subprocess.PIPE)
    try:
        assert saver.stdout is not None
        for _ in range(n_saves):
            saver.stdout.readline()
    finally:
        os.kill(saver.pid, signal.SIGKILL)
        saver.communicate()
    state = FileCheckpoints(path, bytes, bytes).load()
    assert state is not None and len(state) == 3_000_000 and len(set(state)) == 1
