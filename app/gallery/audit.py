"""Proves that what is searched is what is stored: counts, ids, owners, and every vector by its checksum."""

from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from ml.gallery import GalleryContents


@dataclass(frozen=True, slots=True)
class AuditReport:
    """How an index differs from the database at one revision.

    Templates: `n_missing` in the index, `n_extra` there, `n_misassigned` to another person, `n_altered` in a bit or
    more. People: `n_misfused` whose fused template is not the mean of their templates. Replicas with the same
    `fingerprint` hold the same.
    """

    revision: int
    n_stored: int
    n_indexed: int
    n_missing: int
    n_extra: int
    n_misassigned: int
    n_altered: int
    n_misfused: int
    fingerprint: str

    @property
    def n_differences(self) -> int:
        return self.n_missing + self.n_extra + self.n_misassigned + self.n_altered + self.n_misfused

    @property
    def is_clean(self) -> bool:
        return self.n_differences == 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(stored: GalleryContents, indexed: GalleryContents, n_misfused: int, revision: int) -> AuditReport:
    """What differs between the database and an index of the same revision."""
    _, in_stored, in_indexed = np.intersect1d(
        stored.template_ids, indexed.template_ids, assume_unique=True, return_indices=True
    )
    pairs = zip(in_stored.tolist(), in_indexed.tolist(), strict=True)
    return AuditReport(
        revision=revision,
        n_stored=len(stored.template_ids),
        n_indexed=len(indexed.template_ids),
        n_missing=len(stored.template_ids) - len(in_stored),
        n_extra=len(indexed.template_ids) - len(in_indexed),
        n_misassigned=sum(stored.person_ids[i] != indexed.person_ids[j] for i, j in pairs),
        n_altered=int((stored.checksums[in_stored] != indexed.checksums[in_indexed]).sum()),
        n_misfused=n_misfused,
        fingerprint=fingerprint(indexed),
    )


def fingerprint(contents: GalleryContents) -> str:
    """The same for the same templates of the same people, in hexadecimal digits."""
    digest = sha256(contents.template_ids.astype("<i8").tobytes())
    digest.update("\n".join(contents.person_ids).encode())
    digest.update(contents.checksums.astype("<u8").tobytes())
    return digest.hexdigest()[:32]
