"""Clusters of real people's photos; skipped where the development data is not."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.inference.port import Ask, Inference
from app.review.linkage import Faces, Members, link
from ml.enrolling import Photo, most_prominent
from ml.image import decode_image
from ml.quality import SEARCH_LIMITS, reasons_against
from tests.ml.faces import data_dir

N_PEOPLE = 40
N_PHOTOS = 3


@pytest.fixture(scope="module")
def photos() -> list[tuple[str, Path]]:
    """Name and file of some photos of people on whom nothing was chosen, not in order of people."""
    folder = data_dir() / "faces"
    known: dict[str, Any] = json.loads((folder / "protocol.json").read_text())["known"]
    people = sorted(known)[:: len(known) // N_PEOPLE][:N_PEOPLE]
    return [
        (name, folder / "images" / name / known[name]["gallery"][number])
        for number in range(N_PHOTOS)
        for name in people
    ]


def embedding(inference: Inference, path: Path) -> NDArray[np.float32] | None:
    image = decode_image(path.read_bytes())
    with inference.place() as place:
        samples = place.submit(Ask([image])).result().samples[0]
    if not samples:
        return None
    sample = most_prominent(Photo(samples, (image.shape[1], image.shape[0])))
    return None if reasons_against(sample.quality, SEARCH_LIMITS) else sample.embedding


def test_clusters_are_nearly_pure_and_nearly_whole(inference: Inference, photos: list[tuple[str, Path]]) -> None:
    found = [(name, embedding(inference, path)) for name, path in photos]
    seen = [(name, each) for name, each in found if each is not None]
    embeddings = np.array([each for _, each in seen], dtype=np.float32)
    nobody = Faces(embeddings[:0], np.arange(0))
    new = Faces(embeddings, np.arange(len(seen)))
    clusters = link(new, Members(nobody, np.arange(0)), inference.card.pair_bounds)
    of = Counter(zip([name for name, _ in seen], clusters.tolist(), strict=True))
    purity = sum(max(n for (_, c), n in of.items() if c == cluster) for cluster in set(clusters.tolist())) / len(seen)
    completeness = sum(max(n for (p, _), n in of.items() if p == person) for person in {p for p, _ in seen}) / len(seen)
    print(f"{len(seen)} faces, {len(set(clusters.tolist()))} clusters: {purity=:.3f} {completeness=:.3f}")
    assert purity >= 0.97 and completeness >= 0.85
