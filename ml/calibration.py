"""Evidence -> operating point: the threshold that keeps a promised FPIR, and what it will cost."""

from ml.backbones.card import ModelCard
from ml.types import Evidence, Interval, OperatingPoint


def operating_point_from_card(card: ModelCard, target_fpir: float, n_people: int, n_templates: int) -> OperatingPoint:
    """The operating point before a gallery has evidence of its own: what the backbone's card was measured to do.

    Args:
        card: backbone in use.
        target_fpir: share of strangers that may be given a name, 0..1.
        n_people: enrolled people.
        n_templates: their templates.
    """
    threshold = card.prior.threshold(target_fpir, n_people)
    fnir = card.prior.fnir(threshold, n_people)
    return OperatingPoint(
        threshold=threshold,
        target_fpir=target_fpir,
        expected_fpir=Interval(target_fpir, 0.0, 1.0),
        expected_fnir=Interval(fnir, 0.0, 1.0),
        method="model card",
        model=card.model,
        n_people=n_people,
        n_templates=n_templates,
        evidence=Evidence(0, 0, card.prior.source),
    )
