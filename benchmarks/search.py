"""What a search costs in galleries of three sizes, exact and as the service does it, and how much it finds.

    python -m benchmarks.search [--templates 10000 100000 1000000] [--json FILE]

Made-up templates, five per person, laid out as those of dlib's network; half of the probes are new photos of enrolled
people and half are strangers. One process per size, one thread: one probe at a time, and six at once as from a photo of
six people. Recall is against exact search with the same probes; the service's own measurement is shown beside it.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.crowd import COMMON, DIM, MODEL, OWN, PHOTO
from ml.gallery import Gallery, PersonHits

PER_PERSON = 5
N_PROBES, N_FACES = 200, 6
CANDIDATES = 50  # as app.identification.searcher.MAX_CANDIDATES
N_CHANGES = 50
_ROWS_AT_ONCE = 10_000

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds, seconds, megabytes and shares of one size. `exact_` is a flat scan of everything."""

    n_templates: int
    templates: str
    people: str
    n_reranked: int
    exact_p50_ms: float
    exact_p99_ms: float
    p50_ms: float
    p99_ms: float
    six_faces_exact_ms: float
    six_faces_ms: float
    recall_first: float
    recall_first_two: float
    recall_all: float
    own_recall: float | None
    memory_mb: float
    codes_mb: float
    build_s: float
    add_ms: float
    remove_ms: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.one:
        print(json.dumps(asdict(measure(wanted.one))))
        return
    measured = [in_process_of_its_own(n) for n in wanted.templates]
    Console().print(table(measured))
    if wanted.json:
        wanted.json.write_text(json.dumps([asdict(each) for each in measured], indent=1))


def in_process_of_its_own(n_templates: int) -> Measured:
    command = [sys.executable, "-m", "benchmarks.search", "--one", str(n_templates)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return Measured(**json.loads(answer))


def measure(n_templates: int) -> Measured:
    n_people = n_templates // PER_PERSON
    before_mb = memory_mb()
    gallery = filled_gallery(n_people)
    loaded_mb = memory_mb()
    probes = made_up_probes(n_people)
    exact_ms, exact = searched(gallery, probes)
    exact_six_ms = median_ms(lambda: gallery.search(probes[:N_FACES], CANDIDATES))
    build_s = seconds(lambda: gallery.build_codes(Lock()))
    built_mb = memory_mb()
    took_ms, found = searched(gallery, probes)
    indexes = gallery.indexes
    recalls = [recall(exact, found, n) for n in (1, 2, CANDIDATES)]
    new = templates_of(n_people, N_CHANGES, photos=1)
    changes = [(n_templates + i, vector[None]) for i, vector in enumerate(new)]
    return Measured(
        n_templates=n_templates,
        templates=indexes.templates.kind,
        people=indexes.people.kind,
        n_reranked=indexes.templates.n_reranked,
        exact_p50_ms=float(np.quantile(exact_ms, 0.5)),
        exact_p99_ms=float(np.quantile(exact_ms, 0.99)),
        p50_ms=float(np.quantile(took_ms, 0.5)),
        p99_ms=float(np.quantile(took_ms, 0.99)),
        six_faces_exact_ms=exact_six_ms,
        six_faces_ms=median_ms(lambda: gallery.search(probes[:N_FACES], CANDIDATES)),
        recall_first=recalls[0],
        recall_first_two=recalls[1],
        recall_all=recalls[2],
        own_recall=indexes.templates.recall.least if indexes.templates.recall else None,
        memory_mb=loaded_mb - before_mb,
        codes_mb=built_mb - loaded_mb,
        build_s=build_s,
        add_ms=mean_ms([lambda i=i, v=v: gallery.add([i], [f"n{i}"], v, MODEL) for i, v in changes]),
        remove_ms=mean_ms([lambda i=i: gallery.remove([i]) for i in range(0, n_templates, n_templates // N_CHANGES)]),
    )


def filled_gallery(n_people: int) -> Gallery:
    gallery = Gallery(model=MODEL, dim=DIM)
    at_once = _ROWS_AT_ONCE // PER_PERSON
    for first in range(0, n_people, at_once):
        n = min(at_once, n_people - first)
        ids = range(first * PER_PERSON, (first + n) * PER_PERSON)
        gallery.add(list(ids), [f"p{i // PER_PERSON}" for i in ids], templates_of(first, n, photos=PER_PERSON), MODEL)
    return gallery


def templates_of(first: int, n_people: int, *, photos: int, take: int = 0) -> Vectors:
    """Photos of people in a row, the same each time; another take has other photos of the same people."""
    common = directions(np.random.default_rng(0), 1)
    own = directions(np.random.default_rng([1, first]), n_people)
    photo = directions(np.random.default_rng([2, first, take]), n_people * photos)
    mixed = COMMON**0.5 * common + OWN**0.5 * np.repeat(own, photos, axis=0) + PHOTO**0.5 * photo
    return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), dtype=np.float32)


def made_up_probes(n_people: int) -> Vectors:
    """New photos of the people who were enrolled first, and as many of people who never were."""
    at_once = min(_ROWS_AT_ONCE // PER_PERSON, n_people)
    mated = templates_of(0, at_once, photos=1, take=1)[: N_PROBES // 2]
    return np.concatenate([mated, templates_of(10 * n_people, N_PROBES - len(mated), photos=1)])


def directions(generator: np.random.Generator, n: int) -> Vectors:
    vectors = generator.standard_normal((n, DIM), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def searched(gallery: Gallery, probes: Vectors) -> tuple[list[float], list[PersonHits]]:
    """Milliseconds and hits of each probe by itself."""
    took_ms, hits = list[float](), list[PersonHits]()
    for probe in probes:
        took_ms.append(1000 * seconds(lambda probe=probe: hits.extend(gallery.search(probe[None], CANDIDATES))))
    return took_ms, hits


def recall(exact: list[PersonHits], found: list[PersonHits], n: int) -> float:
    """The share of the n people with the highest fused score that were found, and with the very same score."""
    shares = []
    for one, other in zip(exact, found, strict=True):
        best = np.argsort(-one.centroid_scores, kind="stable")[:n]
        scores = dict(zip(other.person_ids, other.centroid_scores, strict=True))
        shares.append(np.mean([scores.get(one.person_ids[i]) == one.centroid_scores[i] for i in best]))
    return float(np.mean(shares))


def seconds(call: Callable[[], object]) -> float:
    started = perf_counter()
    call()
    return perf_counter() - started


def median_ms(call: Callable[[], object]) -> float:
    return float(np.median([1000 * seconds(call) for _ in range(15)]))


def mean_ms(calls: list[Callable[[], object]]) -> float:
    return 1000 * seconds(lambda: [call() for call in calls]) / len(calls)


def memory_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def table(measured: list[Measured]) -> Table:
    shown = Table("", *(f"{each.n_templates:,} templates" for each in measured))
    rows: dict[str, Callable[[Measured], str]] = {
        "index of templates / people": lambda m: f"{m.templates} / {m.people}",
        "scored again": lambda m: f"{m.n_reranked:,}" if m.n_reranked else "-",
        "exact search, one face": lambda m: f"p50 {m.exact_p50_ms:.2f} ms, p99 {m.exact_p99_ms:.2f} ms",
        "search, one face": lambda m: f"p50 {m.p50_ms:.2f} ms, p99 {m.p99_ms:.2f} ms",
        "  times as fast as exact": lambda m: f"{m.exact_p50_ms / m.p50_ms:.1f}",
        "exact search, six faces": lambda m: f"p50 {m.six_faces_exact_ms:.1f} ms",
        "search, six faces": lambda m: f"p50 {m.six_faces_ms:.1f} ms",
        f"recall of 1 / 2 / {CANDIDATES} people": (
            lambda m: f"{m.recall_first:.5f} / {m.recall_first_two:.5f} / {m.recall_all:.5f}"
        ),
        "recall it measured itself": lambda m: "-" if m.own_recall is None else f"{m.own_recall:.5f}",
        "memory, of which codes": lambda m: f"{m.memory_mb + m.codes_mb:.0f} MB, {m.codes_mb:.0f} MB",
        "build aside": lambda m: f"{m.build_s:.1f} s",
        "add / remove one template": lambda m: f"{m.add_ms:.2f} / {m.remove_ms:.2f} ms",
    }
    for name, cell in rows.items():
        shown.add_row(name, *(cell(each) for each in measured))
    return shown


if __name__ == "__main__":
    main()
