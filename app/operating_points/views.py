"""What calibrations and operators found out about single people, as the API shows it.

Whoever was erased between two reads is left out, with what is said of them.
"""

from sqlalchemy.orm import Session

from app.db.tables import LookAlikeRow, SuspiciousTemplateRow, Template
from app.identification.queries import person_refs
from app.identification.schemas import PersonRef
from app.operating_points import queries, schemas
from app.operating_points.queries import ComplainedPair

_SHOWN = 500


def look_alikes(session: Session) -> schemas.LookAlikes:
    """Found in the gallery, the most alike first, and then those whom operators complained of."""
    state = queries.state(session)
    pairs: list[LookAlikeRow | ComplainedPair] = [*queries.look_alikes(session, limit=_SHOWN)]
    pairs += queries.complained_pairs(session, limit=_SHOWN)
    people = person_refs(session, {person for pair in pairs for person in (pair.person_a, pair.person_b)})
    items = [_pair(pair, people) for pair in pairs if {pair.person_a, pair.person_b} <= people.keys()]
    return schemas.LookAlikes(items=items, n_searched=state.n_searched, n_templates=state.n_templates)


def suspicious_templates(session: Session) -> schemas.SuspiciousTemplates:
    """The worst first."""
    state, rows = queries.state(session), queries.suspicious_templates(session, limit=_SHOWN)
    people = person_refs(session, {id_ for row, template in rows for id_ in (row.nearer_to, template.person_id)})
    items = [
        _suspicious(row, template, people)
        for row, template in rows
        if {row.nearer_to, template.person_id} <= people.keys()
    ]
    return schemas.SuspiciousTemplates(items=items, n_searched=state.n_searched, n_templates=state.n_templates)


def _pair(pair: LookAlikeRow | ComplainedPair, people: dict[str, PersonRef]) -> schemas.LookAlike:
    found = pair if isinstance(pair, LookAlikeRow) else None
    return schemas.LookAlike(
        person_a=people[pair.person_a],
        person_b=people[pair.person_b],
        source="look_alike" if found else "feedback",
        score=round(found.score, 6) if found else None,
        margin=round(pair.margin, 6),
        n_complaints=pair.n_complaints if isinstance(pair, ComplainedPair) else 0,
    )


def _suspicious(
    row: SuspiciousTemplateRow, template: Template, people: dict[str, PersonRef]
) -> schemas.SuspiciousTemplate:
    nearer_to = people[row.nearer_to]
    return schemas.SuspiciousTemplate(
        template_id=str(template.id),
        enrolment_id=template.enrolment_id,
        file=template.source.get("file"),
        person=people[template.person_id],
        nearer_to=nearer_to,
        lead=round(row.lead, 6),
        suggestion=(
            f"Look whether this photo shows {nearer_to.name}. If so, remove it with "
            f"DELETE /v1/enrolments/{template.enrolment_id} and enrol the right photos again."
        ),
    )
