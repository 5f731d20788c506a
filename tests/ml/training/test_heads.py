from math import acos, cos

import numpy as np
import pytest
import torch

from ml.training.heads import Margin, MarginHead

MARGINS: list[Margin] = ["softmax", "cosface", "arcface"]


def make_head(*, margin: Margin, scale: float = 10.0, size: float | None = None) -> MarginHead:
    """Three people in three dimensions, along the axes."""
    head = MarginHead(3, 3, margin, scale, size)
    with torch.no_grad():
        head.weight.copy_(torch.eye(3))
    return head


def by_hand(cosines: list[float], own: int, changed: float, scale: float) -> float:
    logits = scale * np.array([changed if i == own else c for i, c in enumerate(cosines)])
    return float(np.log(np.exp(logits).sum()) - logits[own])


@pytest.mark.parametrize(
    ("margin", "changed"), [("softmax", 0.6), ("cosface", 0.6 - 0.35), ("arcface", cos(acos(0.6) + 0.5))]
)
def test_the_loss_is_that_of_the_paper(margin: Margin, changed: float) -> None:
    face = torch.tensor([[0.6, 0.8, 0.0]])
    loss = make_head(margin=margin)(5 * face, torch.tensor([0]))
    assert loss.item() == pytest.approx(by_hand([0.6, 0.8, 0.0], 0, changed, 10.0), abs=1e-5)


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("cosine", [-1.0, -0.9999, -0.87, 0.0, 0.9999999, 1.0])
def test_no_angle_gives_a_loss_or_a_slope_that_is_no_number(margin: Margin, cosine: float) -> None:
    face = torch.tensor([[cosine, (1 - cosine**2) ** 0.5, 0.0]], requires_grad=True)
    head = make_head(margin=margin, scale=64.0)
    loss = head(face, torch.tensor([0]))
    loss.backward()
    assert torch.isfinite(loss)
    assert face.grad is not None and torch.isfinite(face.grad).all()
    assert head.weight.grad is not None and torch.isfinite(head.weight.grad).all()


@pytest.mark.parametrize("margin", MARGINS)
def test_turning_away_from_the_own_direction_never_lowers_the_loss(margin: Margin) -> None:
    angles = torch.linspace(0.0, torch.pi, 400)
    head = make_head(margin=margin, scale=4.0)
    # The third dimension takes the rest, so that the other two people are equally far throughout.
    faces = torch.stack([angles.cos(), torch.zeros(400), torch.zeros(400)], dim=1)
    wide = torch.nn.functional.pad(faces, (0, 1))
    wide[:, 3] = angles.sin()
    four = MarginHead(4, 3, margin, 4.0)
    with torch.no_grad():
        four.weight.copy_(torch.nn.functional.pad(head.weight, (0, 1)))
    losses = torch.stack([four(face[None], torch.tensor([0])) for face in wide])
    assert (losses.diff() >= -1e-5).all()


def test_a_margin_asks_for_more_than_being_right() -> None:
    face, label = torch.tensor([[0.9, 0.3, 0.1]]), torch.tensor([0])
    plain = make_head(margin="softmax")(face, label)
    assert make_head(margin="cosface")(face, label) > plain
    assert make_head(margin="arcface")(face, label) > plain


def test_a_start_at_the_means_points_each_person_at_their_faces() -> None:
    torch.manual_seed(0)
    head = MarginHead(8, 3, "arcface")
    before = head.weight[2].clone()
    faces = torch.nn.functional.normalize(torch.randn(6, 8), dim=1)
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    head.start_at(3 * faces, labels)
    torch.testing.assert_close(head.weight[0], torch.nn.functional.normalize(faces[:3].mean(dim=0), dim=0))
    assert torch.equal(head.weight[2], before)


def test_under_autocast_the_loss_stays_a_float32() -> None:
    face = torch.randn(4, 3, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        loss = make_head(margin="arcface")(face, torch.tensor([0, 1, 2, 0]))
    assert loss.dtype == torch.float32
