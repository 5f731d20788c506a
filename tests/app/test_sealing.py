import stat
from pathlib import Path
from threading import Barrier, Thread

import pytest
from pydantic import ValidationError

from app.sealing import KEY_FILE, SealBrokenError, Sealer
from app.settings import Settings

KEY, NEW = "a secret of the test", "another secret of the test"


def test_what_was_sealed_is_opened_and_cannot_be_read_before() -> None:
    sealed = Sealer([KEY]).seal(b"a face")
    assert b"a face" not in sealed
    assert Sealer([KEY]).open(sealed) == b"a face"


def test_another_key_opens_nothing_and_a_changed_byte_is_noticed() -> None:
    sealed = Sealer([KEY]).seal(b"a face")
    damaged = sealed[:-5] + (b"A" if sealed[-5:-4] != b"A" else b"B") + sealed[-4:]
    for sealer, content in ((Sealer([NEW]), sealed), (Sealer([KEY]), damaged), (Sealer([KEY]), b"")):
        with pytest.raises(SealBrokenError):
            sealer.open(content)


def test_a_key_is_replaced_by_naming_the_new_one_first() -> None:
    sealed = Sealer([KEY]).seal(b"a face")
    both = Sealer([NEW, KEY])
    assert both.open(sealed) == b"a face"
    assert Sealer([NEW]).open(both.seal(b"another")) == b"another"


def test_the_setting_may_hold_several_keys(tmp_path: Path) -> None:
    sealed = Sealer([KEY]).seal(b"a face")
    settings = Settings(data_dir=tmp_path, secret_key=f"{NEW}, {KEY}")
    assert Sealer.of(settings).open(sealed) == b"a face"
    assert not (tmp_path / KEY_FILE).exists()


@pytest.mark.parametrize("given", ["short", "", ",", f"{KEY},", f"{KEY},short"])
def test_a_short_key_is_refused_and_not_repeated(given: str) -> None:
    with pytest.raises(ValidationError, match="at least 16 characters") as error:
        Settings(secret_key=given)
    assert KEY not in str(error.value)


def test_without_the_setting_a_key_is_made_once_that_nobody_else_may_read(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    sealed = Sealer.of(settings).seal(b"a face")
    assert Sealer.of(settings).open(sealed) == b"a face"
    assert stat.S_IMODE((tmp_path / "data" / KEY_FILE).stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == [KEY_FILE]


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    settings, gate, made = Settings(data_dir=tmp_path), Barrier(8), []

    def start() -> None:
        gate.wait()
        made.append(Sealer.of(settings).fingerprint("x"))

    threads = [Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(made)) == 1


def test_a_fingerprint_is_the_same_for_the_same_content_and_key_only() -> None:
    assert Sealer([KEY]).fingerprint("badge 7") == Sealer([KEY]).fingerprint("badge 7")
    assert Sealer([KEY]).fingerprint("badge 7") != Sealer([KEY]).fingerprint("badge 8")
    assert Sealer([KEY]).fingerprint("badge 7") != Sealer([NEW]).fingerprint("badge 7")


def test_what_was_fingerprinted_under_an_earlier_key_is_found_under_the_new_one() -> None:
    now, earlier = Sealer([NEW, KEY]).fingerprints("badge 7")
    assert now == Sealer([NEW]).fingerprint("badge 7")
    assert earlier == Sealer([KEY]).fingerprint("badge 7")


def test_a_key_file_that_a_power_cut_has_emptied_is_not_taken_for_a_key(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_text("\n")
    with pytest.raises(SealBrokenError, match="from a backup"):
        Sealer.of(Settings(data_dir=tmp_path))
