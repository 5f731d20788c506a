from pathlib import Path

import numpy as np

from ml.evaluation.cache import ArrayCache


def test_an_array_comes_back_as_it_was(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path / "cache")
    array = np.array([[1.5, np.pi], [0.0, -1.0]])
    cache.put("key", array)
    found = cache.get("key")
    assert found is not None and found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_another_key_has_no_array(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path)
    cache.put("key", np.zeros(3))
    assert cache.get("other") is None


def test_a_key_may_hold_anything(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path / "cache")
    cache.put("../../../etc/passwd \0 é", np.zeros(3))
    assert cache.get("../../../etc/passwd \0 é") is not None
    assert all(path.is_relative_to(tmp_path / "cache") for path in tmp_path.rglob("*.npy"))


def test_the_last_one_put_is_found(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path)
    cache.put("key", np.zeros(3))
    cache.put("key", np.ones(2))
    found = cache.get("key")
    assert found is not None and found.tolist() == [1.0, 1.0]


def test_a_damaged_file_is_as_good_as_none(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path)
    cache.put("key", np.zeros(300))
    [file] = tmp_path.rglob("*.npy")
    for damaged in (b"", b"nonsense", file.read_bytes()[:200]):
        file.write_bytes(damaged)
        assert cache.get("key") is None


def test_nothing_is_left_beside_the_arrays_and_others_may_not_look(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path / "cache")
    cache.put("key", np.zeros(3))
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".npy"]
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0
