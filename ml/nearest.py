"""Vectors -> their nearest neighbours: exact while that is quick, and above that exact among those that codes propose.

The only file that imports FAISS. A flat scan reads every byte of every vector, which takes too long for a million.
Above a size, each vector is therefore also kept as a code of half a byte per number (1 bit in 8). All codes are
scanned, in a few milliseconds; the best few thousand are scored again from the stored vectors, bit for bit as the
flat scan would, and the best of those are the answer. Only which vectors are looked at is approximate, and how often
that goes wrong is measured against the flat scan before codes are used at all.

Chosen by measurement on one thread, made-up templates of 128 numbers. Of 1,000,000: flat 31 ms of processor time; half
a byte 4 to 6 ms with 1,000 to 8,000 scored again; a byte per number as long as flat, because FAISS has no faster way to
read those; a quarter byte 3 ms, but several times as many to score again. One bit (RaBitQ) found 0.93 of the answers
among 4,000 of 100,000, where half a byte found all among 500. Inverted lists are not needed for the budget, and a plain
scan gives what they would make hard: vectors come, move and are erased one by one and at once, and recall hangs on one
number.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from time import sleep
from typing import Any, Final, Literal, TypeAlias, cast

import faiss
import numpy as np
from numpy.typing import NDArray

from ml.types import FloatArray

Lock: TypeAlias = AbstractContextManager[object]

_BITS: Final = 4
# Values of so many bits; also the fewest vectors that they can be learnt from.
_N_LEVELS: Final = 1 << _BITS
# FAISS learns 16 levels from no more than 256 vectors each.
_N_LEARNT_FROM: Final = 256 * _N_LEVELS
# Copied while searches wait, and coded while they do not: half a millisecond for 2 MB of vectors.
_ROWS_AT_ONCE: Final = 4096
# So few are coded while searches wait, which ends a build: 4 ms.
_ROWS_AT_LAST: Final = 256
# A lock is not fair by itself: whoever takes it again and again lets others in between.
_PAUSE_S: Final = 0.001


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """When codes are built, and what is asked of them.

    Up to `flat_up_to_bytes`, vectors are scanned as they are. The budget is 10 ms at p99 for one probe on one thread:
    no more than finding and embedding the face takes. 51 MB took 3 ms on one machine and 16 ms on another, so 32 MiB
    (65,536 templates of 128 numbers, 16,384 of 512) keep it on both. A size and not a stopwatch: replicas agree on it.

    `min_recall` of the `n_wanted` nearest must be found, as much of the nearest two and of the nearest one, or all
    stays as it was. A search for more than `n_wanted` is a flat scan.

    `n_reranked` says how many candidates to try scoring again, ascending; each of `n_probes` stored vectors is searched
    for, itself left out. Twice the first number that suffices is used: the gallery may double before it is measured
    again, and what was measured stays an understatement until then.
    """

    flat_up_to_bytes: int = 32 << 20
    min_recall: float = 0.999
    n_wanted: int = 100
    n_reranked: tuple[int, ...] = (1000, 2000, 4000, 8000)
    n_probes: int = 200


DEFAULT_PLAN: Final = SearchPlan()


@dataclass(frozen=True, slots=True)
class Recall:
    """Shares of what a flat scan finds, 0..1: of the nearest, of the nearest two, of all that are wanted.

    The second decides as much as the first: a decision score is the best person's less half of the runner-up's.
    """

    nearest: float
    nearest_two: float
    all_wanted: float

    @property
    def least(self) -> float:
        return min(self.nearest, self.nearest_two, self.all_wanted)


@dataclass(frozen=True, slots=True)
class IndexState:
    """How an index is searched, and what is known about it.

    `recall` is that of the codes built last, at `measured_at`, when there were `n_built` vectors; None before the
    first were. Where it was too low, `kind` is "flat", and nothing is missed.
    """

    kind: Literal["flat", "coded"] = "flat"
    n_built: int = 0
    n_reranked: int = 0
    recall: Recall | None = None
    measured_at: datetime | None = None


class NearestIndex:
    """Vectors known by key, which can be overwritten and removed in O(D), and searched by inner product.

    Not safe for use from several threads at once; its owner holds a lock. Only `build_codes` takes that by itself.
    """

    def __init__(self, dim: int, plan: SearchPlan) -> None:
        self.state = IndexState()
        self._dim = dim
        self._plan = plan
        self._index = faiss.IndexFlatIP(dim)
        self._keys: list[int] = []
        self._row_of: dict[int, int] = {}
        self._codes: _HalfByteCodes | None = None  # in use, and in step with the rows
        self._on_trial: _HalfByteCodes | None = None  # on trial, and in step with the rows
        self._outdated: set[int] | None = None  # rows that have changed since codes being built took them
        self._n_changed = 0  # since the last build began
        self._due_at = 1

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def wants_codes(self) -> bool:
        """Whether to build codes: for the first time, or because as much has changed as there was."""
        is_large = len(self) >= _N_LEVELS and 4 * self._dim * len(self) > self._plan.flat_up_to_bytes
        return is_large and self._n_changed >= self._due_at

    def all(self) -> tuple[list[int], FloatArray]:
        """The keys and their rows, in the index's own memory: valid until the next change."""
        return self._keys, self._rows()

    def put(self, keys: Sequence[int], vectors: FloatArray) -> None:
        """Insert rows, or overwrite those that keys have; no key twice."""
        is_new = np.array([key not in self._row_of for key in keys], dtype=bool)
        held = [self._row_of[key] for key in keys if key in self._row_of]
        if held:
            self._rows()[held] = vectors[~is_new]
        new = [key for key in keys if key not in self._row_of]
        added = range(len(self._keys), len(self._keys) + len(new))
        if new:
            self._index.add(np.ascontiguousarray(vectors[is_new], dtype=np.float32))
            self._row_of.update(zip(new, added, strict=True))
            self._keys.extend(new)
        for codes in self._in_step():
            codes.put(held, vectors[~is_new])
            codes.put(added, vectors[is_new])
        self._note([*held, *added], n_changed=len(keys))

    def remove(self, keys: Sequence[int]) -> None:
        """Drop rows by moving the last ones into their places: FAISS itself would shift every row behind them."""
        rows, filled = self._rows(), list[int]()
        for key in keys:
            row, last = self._row_of.pop(key), len(self._keys) - 1
            if row != last:
                rows[row] = rows[last]
                self._keys[row] = self._keys[last]
                self._row_of[self._keys[row]] = row
                filled.append(row)
                for codes in self._in_step():
                    codes.move(last, row)
            self._keys.pop()
        if keys:
            rows[len(self._keys) :] = 0  # FAISS keeps the memory, but nobody's embedding in it
            self._index.codes.resize(4 * self._dim * len(self._keys))  # FAISS's removal would look at every row
            self._index.ntotal = len(self._keys)
        for codes in self._in_step():
            codes.cut(len(self._keys))
        self._note(filled, n_changed=len(keys))

    def get(self, keys: Sequence[int]) -> FloatArray:
        """Copy rows out: `(len(keys), D)`."""
        if not keys:
            return np.empty((0, self._dim), dtype=np.float32)
        return np.array(self._rows()[[self._row_of[k] for k in keys]], dtype=np.float32)

    def search(self, probes: FloatArray, k: int) -> list[list[int]]:
        """Keys of the k nearest rows to each probe `(M, D)`, best first; fewer when the index is smaller."""
        k = min(k, len(self))
        if not k:
            return [[] for _ in probes]
        if self._codes is None or k > self._plan.n_wanted:
            _, rows = self._scan(probes, k)
        else:
            _, rows = self._scan_codes(self._codes, self.state.n_reranked, probes, k)
        return [[self._keys[int(row)] for row in near if row >= 0] for near in rows]

    def build_codes(self, lock: Lock, is_cancelled: Callable[[], bool]) -> None:
        """Build codes aside, measure what they find, and use them from then on where that is enough.

        Rows are changed and searched meanwhile. They wait for a few milliseconds now and then, and in the measurement
        for one probe at a time: a flat scan, which is what another search would have taken, and four quick ones.

        Args:
            lock: the owner's, not held by the caller, under which everything else is done.
            is_cancelled: asked now and then; once it is true, all stays as it was.
        """
        with lock:
            n = len(self)
            if n < _N_LEVELS:
                return
            self._outdated, self._n_changed, self._due_at = set(), 0, n
            sample = self._rows()[np.linspace(0, n - 1, min(n, _N_LEARNT_FROM)).astype(np.int64)]
        try:
            codes = _HalfByteCodes(sample)
            while not self._is_caught_up(codes, lock):
                if is_cancelled():
                    return
            self._judge(codes, self._found(codes, lock, is_cancelled), lock)
        finally:
            with lock:
                self._outdated = self._on_trial = None

    def _note(self, rows: Sequence[int], *, n_changed: int) -> None:
        self._n_changed += n_changed
        if self._outdated is not None:
            self._outdated.update(rows)

    def _in_step(self) -> list["_HalfByteCodes"]:
        return [codes for codes in (self._codes, self._on_trial) if codes is not None]

    def _is_caught_up(self, codes: "_HalfByteCodes", lock: Lock) -> bool:
        """Code some rows; the last few of them under the lock, and from then on the codes are kept in step."""
        with lock:
            rows, n_left = self._outstanding(codes)
            vectors = self._rows()[rows]
            if not n_left and len(rows) <= _ROWS_AT_LAST:
                codes.put(rows, vectors)
                self._on_trial, self._outdated = codes, None
                return True
        codes.put(rows, vectors)
        return False

    def _outstanding(self, codes: "_HalfByteCodes") -> tuple[list[int], int]:
        """Some rows to be coded: those that have changed since they were, then those that never were; and how many
        are left."""
        n = len(self)
        codes.cut(n)
        changed = sorted(row for row in self._outdated or () if row < len(codes))
        missing = range(len(codes), n)
        rows = [*changed, *missing[:_ROWS_AT_ONCE]][:_ROWS_AT_ONCE]
        self._outdated = set(changed[_ROWS_AT_ONCE:])
        return rows, len(changed) + len(missing) - len(rows)

    def _found(
        self, codes: "_HalfByteCodes", lock: Lock, is_cancelled: Callable[[], bool]
    ) -> NDArray[np.float64] | None:
        """`(probes, len(plan.n_reranked), 3)` shares of the nearest, nearest two and all wanted that codes find."""
        shares = []
        for where in np.linspace(0, 1, self._plan.n_probes):
            with lock:
                if is_cancelled() or len(self) <= 1:
                    return None
                shares.append(self._found_by(codes, int(where * (len(self) - 1))))
            sleep(_PAUSE_S)
        return np.array(shares)

    def _found_by(self, codes: "_HalfByteCodes", row: int) -> list[list[float]]:
        """The same for one row as the probe: itself it finds in any case, so it is left out."""
        probe, k = self._rows()[row : row + 1].copy(), min(self._plan.n_wanted, len(self) - 1)
        exact = _scores_of_others(*self._scan(probe, k + 1), row)
        shares = []
        for n_reranked in self._plan.n_reranked:
            scores = _scores_of_others(*self._scan_codes(codes, n_reranked, probe, k + 1), row)
            shares.append(
                [float(np.mean(scores[:n] >= exact[:n][-1])) for n in (1, 2, k)]
            )  # equal scores: either will do
        return shares

    def _judge(self, codes: "_HalfByteCodes", found: NDArray[np.float64] | None, lock: Lock) -> None:
        if found is None:
            return
        recalls = [Recall(*map(float, shares)) for shares in found.mean(axis=0)]
        enough = [i for i, recall in enumerate(recalls) if recall.least >= self._plan.min_recall]
        best = enough[0] if enough else -1
        with lock:
            self._codes, self._on_trial = codes if enough else None, None
            self.state = IndexState(
                kind="coded" if enough else "flat",
                n_built=len(self),
                n_reranked=2 * self._plan.n_reranked[best] if enough else 0,
                recall=recalls[best],
                measured_at=datetime.now(UTC),
            )

    def _scan(self, probes: FloatArray, k: int) -> tuple[FloatArray, NDArray[np.int64]]:
        _use_one_thread()
        scores, rows = self._index.search(probes, k)
        return scores, rows

    def _scan_codes(
        self, codes: "_HalfByteCodes", n_reranked: int, probes: FloatArray, k: int
    ) -> tuple[FloatArray, NDArray[np.int64]]:
        _use_one_thread()
        both: Any = faiss.IndexRefine(codes.index, self._index)  # refuses codes that are not as many as the rows
        both.k_factor = min(max(n_reranked, k), len(self)) / k
        scores, rows = both.search(probes, k)
        return scores, rows

    def _rows(self) -> FloatArray:
        """The index's own memory, writable; valid until the next add or remove."""
        n = len(self._keys)
        return np.asarray(faiss.rev_swig_ptr(self._index.get_xb(), n * self._dim)).reshape(n, self._dim)


class _HalfByteCodes:
    """Half a byte for each number of a rotated vector: which of 16 levels, learnt per number, is nearest.

    Code n is that of row n. Vectors are rotated to their principal axes first: what all faces have in common, which can
    be most of a vector and tells nobody apart, then has an axis of its own, and does not blur the others (measured with
    dlib's cosines: 0.998 instead of 0.991 of the answers are among 500 candidates).

    Source: product quantisation scanned in registers; André, Kermarrec, Le Scouarnec, "Cache locality is not enough",
    2015, as FAISS implements it (MIT).
    """

    def __init__(self, sample: FloatArray) -> None:
        """Learn axes and levels from a sample `(N, D)`, N >= 16; the same sample gives the same ones."""
        _use_one_thread()
        dim = sample.shape[1]
        # Any: the types that come with FAISS lack most of this.
        self._rotation = cast(Any, faiss.LinearTransform(dim, dim))
        faiss.copy_array_to_vector(_principal_axes(sample).ravel(), self._rotation.A)
        self._rotation.is_trained = True
        self._levels = cast(Any, faiss.IndexPQFastScan(dim, dim, _BITS, faiss.METRIC_INNER_PRODUCT))
        self._levels.pq.cp.min_points_per_centroid = 1  # it would print a warning for a small sample
        self._levels.train(self._rotation.apply(sample))
        self._packer = self._levels.get_CodePacker()
        self.index = faiss.IndexPreTransform(self._rotation, self._levels)

    def __len__(self) -> int:
        return int(self.index.ntotal)

    def put(self, rows: Sequence[int], vectors: FloatArray) -> None:
        """Code vectors `(len(rows), D)`: in the places of rows that there are, and behind them, in their order."""
        _use_one_thread()
        n_held = sum(row < len(self) for row in rows)
        if n_held:
            for row, code in zip(rows[:n_held], self._codes_of(vectors[:n_held]), strict=True):
                self._write(row, code)
        if n_held < len(rows):
            self.index.add(np.ascontiguousarray(vectors[n_held:]))

    def move(self, source: int, target: int) -> None:
        """Copy the code of one row to another."""
        code = np.empty(self._levels.code_size, dtype=np.uint8)
        self._packer.unpack_1_c(self._levels.codes.get(), source, faiss.swig_ptr(code))
        self._write(target, code)

    def cut(self, n: int) -> None:
        """Keep the first n codes at most, and nothing of the others."""
        nothing = np.zeros(self._levels.code_size, dtype=np.uint8)
        for row in range(n, len(self)):
            self._write(row, nothing)  # FAISS adds into the memory behind the last code, and expects zeros there
        self.index.ntotal = self._levels.ntotal = min(n, len(self))
        self._levels.ntotal2 = -(-len(self) // self._levels.bbs) * self._levels.bbs  # in whole blocks

    def _codes_of(self, vectors: FloatArray) -> NDArray[np.uint8]:
        rotated = self._rotation.apply(np.ascontiguousarray(vectors))
        codes = np.empty((len(vectors), self._levels.code_size), dtype=np.uint8)
        self._levels.compute_codes(faiss.swig_ptr(codes), len(vectors), faiss.swig_ptr(rotated))
        return codes

    def _write(self, row: int, code: NDArray[np.uint8]) -> None:
        self._packer.pack_1_c(faiss.swig_ptr(code), row, self._levels.codes.get())


def _principal_axes(sample: FloatArray) -> FloatArray:
    """`(D, D)` orthonormal rows, along which a sample `(N, D)` varies independently."""
    _, axes = np.linalg.eigh(np.cov(sample, rowvar=False, dtype=np.float64))
    return np.ascontiguousarray(axes.T, dtype=np.float32)


def _scores_of_others(scores: FloatArray, rows: NDArray[np.int64], row: int) -> FloatArray:
    """The scores of one probe's hits `(1, k + 1)` without the probe's own row, k of them."""
    others: FloatArray = scores[0][rows[0] != row]
    return others[: len(rows[0]) - 1]


def _use_one_thread() -> None:
    """Keep FAISS from starting threads on behalf of this one; the setting is the calling thread's own.

    A request has a thread already, and so has its neighbour: two teams of OpenMP threads on the same cores wait for
    each other at every barrier, and both take many times as long.
    """
    faiss.omp_set_num_threads(1)
