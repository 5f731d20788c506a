"""What a gallery's own searches show about it: people who look alike, and templates that do harm."""

from dataclasses import dataclass

import numpy as np

from ml.evidence import GalleryEvidence

# Enough for a person to look through; the worst come first.
_AT_MOST = 200


@dataclass(frozen=True, slots=True)
class LookAlikes:
    """Two people of whom one would be named as the other if they were not enrolled; `score` is the highest seen."""

    person_a: str
    person_b: str
    score: float


@dataclass(frozen=True, slots=True)
class SuspiciousTemplate:
    """A template nearer to somebody else than to the rest of its own person: perhaps a mislabelled photo.

    `lead` is by how much the other person's decision score is ahead.
    """

    template_id: int
    person_id: str
    nearer_to: str
    lead: float


def find_look_alikes(evidence: GalleryEvidence, threshold: float) -> tuple[LookAlikes, ...]:
    """Pairs in which a template of one, searched as a stranger's, reaches `threshold` for the other."""
    worst: dict[tuple[int, int], float] = {}
    for row in np.flatnonzero(evidence.is_non_mated & (evidence.non_mated >= threshold)):
        a, b = sorted((int(evidence.person_rows[row]), int(evidence.rival_rows[row])))
        worst[a, b] = max(worst.get((a, b), -np.inf), float(evidence.non_mated[row]))
    ranked = sorted(worst.items(), key=lambda item: -item[1])[:_AT_MOST]
    return tuple(LookAlikes(evidence.person_ids[a], evidence.person_ids[b], score) for (a, b), score in ranked)


def find_suspicious(evidence: GalleryEvidence, margin: float) -> tuple[SuspiciousTemplate, ...]:
    """Templates that somebody else leads by at least `margin`, where their person has others to compare with."""
    found = []
    for row in np.flatnonzero(evidence.is_non_mated & (evidence.lead <= -margin)):
        person = evidence.person_ids[int(evidence.person_rows[row])]
        other = evidence.person_ids[int(evidence.rival_rows[row])]
        found.append(SuspiciousTemplate(int(evidence.template_ids[row]), person, other, -float(evidence.lead[row])))
    return tuple(sorted(found, key=lambda template: -template.lead)[:_AT_MOST])
