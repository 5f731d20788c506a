"""What a training pulls on and then throws away: embeddings and labels -> a loss.

`MarginHead` learns a direction for each person. `OpenSetHead` learns nothing: it searches a batch in itself, as the
product would, and counts what is missed.
"""

from math import cos, pi, sin
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor, nn

Margin: TypeAlias = Literal["softmax", "cosface", "arcface"]

# The papers' own margins: CosFace 0.35 (its section 4), ArcFace 0.5 rad (its section 3.1).
_COSFACE_MARGIN: Final = 0.35
_ARCFACE_MARGIN_RAD: Final = 0.5
# Below this squared sine the angle's slope is steeper than float32 can carry.
_MIN_SQUARED_SINE: Final = 1e-6


class MarginHead(nn.Module):
    """One learned direction per training person; the cosines with them go through a softmax.

    `softmax` takes the cosines as they are, `cosface` takes `margin_size` off the right person's cosine, `arcface` adds
    it to the right person's angle: both ask for a lead, so that people come to lie apart and not just right.

    Source: Wang et al., NormFace, 2017 (softmax over cosines); Wang et al., CosFace, 2018; Deng et al., ArcFace, 2019.
    """

    def __init__(
        self, dim: int, n_people: int, margin: Margin = "softmax", scale: float = 32.0, margin_size: float | None = None
    ) -> None:
        """Draw the first directions from torch's random numbers.

        Args:
            dim: D of the embeddings.
            n_people: how many labels there are, >= 1.
            margin: which of the three.
            scale: cosines times this go into the softmax, > 0.
            margin_size: of a cosine (`cosface`) or an angle in radians (`arcface`); None: the paper's.
        """
        super().__init__()
        self.weight = nn.Parameter(nn.functional.normalize(torch.randn(n_people, dim), dim=1))
        self._margin, self._scale = margin, scale
        paper = {"softmax": 0.0, "cosface": _COSFACE_MARGIN, "arcface": _ARCFACE_MARGIN_RAD}[margin]
        self._size = paper if margin_size is None else margin_size

    @torch.no_grad()
    def start_at(self, embeddings: Tensor, labels: Tensor) -> None:
        """Turn the directions to the mean embedding of each person: a better start than chance where networks are good.

        Args:
            embeddings: `(n, D)`, any length.
            labels: `(n,)` int64, 0..n_people - 1; people without any keep their direction.
        """
        sums = torch.zeros_like(self.weight)
        sums.index_add_(0, labels, nn.functional.normalize(embeddings.to(sums.dtype), dim=1))
        is_seen = torch.zeros(len(sums), dtype=torch.bool, device=sums.device).index_fill_(0, labels, True)
        self.weight[is_seen] = nn.functional.normalize(sums[is_seen], dim=1)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of a batch.

        Args:
            embeddings: `(n, D)`, any length but 0.
            labels: `(n,)` int64, 0..n_people - 1.

        Returns:
            `()` float32, >= 0. In float32 also under autocast: a margin is finer than bfloat16.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            directions = nn.functional.normalize(self.weight.float(), dim=1)
            cosines = nn.functional.normalize(embeddings.float(), dim=1) @ directions.T
            own = cosines.gather(1, labels[:, None])
            logits = self._scale * cosines.scatter(1, labels[:, None], self._with_margin(own))
            return nn.functional.cross_entropy(logits, labels)

    def _with_margin(self, own: Tensor) -> Tensor:
        if self._margin == "arcface":
            return _turned(own, self._size)
        return own - self._size


def _turned(cosines: Tensor, angle_rad: float) -> Tensor:
    """Cosine of the angle plus `angle_rad`; past half a turn, where it would rise again, it goes on falling."""
    sines = (1 - cosines.square()).clamp(min=_MIN_SQUARED_SINE).sqrt()
    turned = cosines * cos(angle_rad) - sines * sin(angle_rad)
    # The straight line below meets or passes under the curve where angle + angle_rad is half a turn.
    return torch.where(cosines > cos(pi - angle_rad), turned, cosines - angle_rad * sin(angle_rad))


class OpenSetHead(nn.Module):
    """The share of a batch that the product would miss, made smooth.

    Each face is searched among the templates of everybody in the batch, its own person's made of their other faces:
    that is a mated search. Searched without its own person it is a stranger's. The threshold is where the strangers of
    the highest scores are, so they are pushed down as the mated are pulled up. A direction learned for each person
    would be learned by heart: of most there are two or three faces.

    Source: templates of the batch's other faces as in Snell et al., Prototypical Networks, 2017; a softmax of two, name
    or no name, takes the place of theirs over everybody, which says nothing about strangers.
    """

    def __init__(self, runner_up_weight: float, scale: float, stranger_share: float = 0.01) -> None:
        """Choose how smooth.

        Args:
            runner_up_weight: of the product's rule, `ml.types.ScoreRule`.
            scale: decision scores times this go into the softmax, > 0: about one over the spread of cosines.
            stranger_share: of the strangers, whose mean score is the threshold; at least one of a batch.
        """
        super().__init__()
        self._weight, self._scale, self._share = runner_up_weight, scale, stranger_share

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Mean share of missed searches.

        Args:
            embeddings: `(n, D)`, any length but 0, of three people at least and two faces or more of each.
            labels: `(n,)` int64, any numbers.

        Returns:
            `()` float32, 0..1.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            own, best, second = self._searched(nn.functional.normalize(embeddings.float(), dim=1), labels)
            strangers = best - self._weight * second
            highest = strangers.topk(max(1, round(self._share * len(strangers)))).values
            return torch.sigmoid(self._scale * (highest.mean() - (own - self._weight * best))).mean()

    @staticmethod
    def _searched(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cosines of each face with its own template, and with the best and second best of the others."""
        numbers = torch.unique(labels, return_inverse=True)[1]
        sums = torch.zeros(int(numbers.max()) + 1, embeddings.shape[1], device=embeddings.device)
        sums = sums.index_add(0, numbers, embeddings)
        rest = nn.functional.normalize(sums[numbers] - embeddings, dim=1)
        others = embeddings @ nn.functional.normalize(sums, dim=1).T
        others = others.scatter(1, numbers[:, None], -torch.inf)
        best, second = others.topk(2, dim=1).values.unbind(1)
        return (embeddings * rest).sum(dim=1), best, second
