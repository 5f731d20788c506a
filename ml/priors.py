"""What is known of a backbone's decision scores before a deployment has people of its own."""

from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ml.types import FloatArray

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class TemplateEffect:
    """How much higher strangers score, the more templates each person has to be taken for.

    `shifts[i][j]` is added to the scores of strangers in a gallery of `gallery_sizes[i]` people with
    `template_counts[j]` templates each. In a large gallery the best of so many people matters, and not of how many
    templates.
    """

    gallery_sizes: tuple[int, ...]
    template_counts: tuple[int, ...]
    shifts: tuple[tuple[float, ...], ...]

    def shift(self, n_people: int, templates_each: float) -> float:
        """Interpolated in the logarithms; nothing is assumed beyond the table."""
        by_size = [np.interp(np.log(templates_each), np.log(self.template_counts), shifts) for shifts in self.shifts]
        return float(np.interp(np.log(n_people), np.log(self.gallery_sizes), by_size))


@dataclass(frozen=True, slots=True)
class ScorePrior:
    """Quantiles of decision scores in open-set searches, by gallery size.

    `non_mated[i][j]` is the score that a share `fpir_levels[j]` of strangers reaches in a gallery of
    `gallery_sizes[i]` people; `mated[i][j]` is the score that a share `fnir_levels[j]` of enrolled people's probes
    misses (a probe whose person is not rank 1 misses every score). `n_people` is how many people it was measured on:
    in a calibration the prior counts as that many. `source` says where the figures come from. `template_effect` is
    None where it was not measured.
    """

    source: str
    n_people: int
    gallery_sizes: tuple[int, ...]
    fpir_levels: tuple[float, ...]
    non_mated: tuple[tuple[float, ...], ...]
    fnir_levels: tuple[float, ...]
    mated: tuple[tuple[float, ...], ...]
    template_effect: TemplateEffect | None = None

    def for_templates(self, templates_each: float) -> "ScorePrior":
        """The same for galleries whose people have so many templates each (at least 1), on average."""
        effect = self.template_effect
        if effect is None:
            return self
        shifts = [effect.shift(size, templates_each) for size in self.gallery_sizes]
        shifted = tuple(
            tuple(score + shift for score in row) for row, shift in zip(self.non_mated, shifts, strict=True)
        )
        return replace(self, non_mated=shifted)

    def threshold(self, target_fpir: float, n_people: int) -> float:
        """The score that a share `target_fpir` of strangers is expected to reach in a gallery of `n_people`."""
        levels, scores = self._row(self.fpir_levels, self.non_mated, n_people)
        return float(_interpolate(-_z(target_fpir), -_zs(levels), scores))

    def thresholds(self, levels: NDArray[np.float64], n_people: int) -> FloatArray:
        """`threshold` for many targets at once."""
        known, scores = self._row(self.fpir_levels, self.non_mated, n_people)
        return np.asarray(_interpolate(-_zs(levels), -_zs(known), scores), dtype=np.float32)

    def fpir(self, threshold: float, n_people: int) -> float:
        """Expected share of strangers at or above `threshold`; 0..1."""
        levels, scores = self._row(self.fpir_levels, self.non_mated, n_people)
        return 1.0 - _NORMAL.cdf(float(_interpolate(threshold, scores, -_zs(levels))))

    def fnir(self, threshold: float, n_people: int) -> float:
        """Expected share of enrolled people's probes below `threshold`, or not at rank 1; 0..1."""
        levels, scores = self._row(self.fnir_levels, self.mated, n_people)
        return _NORMAL.cdf(float(_interpolate(threshold, scores, _zs(levels))))

    def _row(
        self, levels: tuple[float, ...], table: tuple[tuple[float, ...], ...], n_people: int
    ) -> tuple[FloatArray, FloatArray]:
        """The table's row for a gallery size, interpolated in its logarithm; the nearest row beyond the table."""
        log_sizes = np.log(self.gallery_sizes)
        rows = np.array(table)
        size = np.log(max(1, n_people))
        row = [np.interp(size, log_sizes, column) for column in rows.T]
        return np.array(levels, dtype=np.float32), np.array(row, dtype=np.float32)


@lru_cache(maxsize=2**14)  # the levels of cards, and the few thousand that calibrations ask about, again and again
def _z(level: float) -> float:
    return _NORMAL.inv_cdf(min(max(level, 1e-9), 1 - 1e-9))


def _zs(levels: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.array([_z(level) for level in levels.tolist()])


def _interpolate(x: ArrayLike, known: ArrayLike, values: ArrayLike) -> NDArray[np.float64]:
    """Piecewise linear through points of rising `known`, going on straight along the outermost pieces.

    Quantiles against normal quantiles are nearly straight lines, so this also reads sensibly beyond the table.
    """
    xs, ys, wanted = (np.asarray(each, dtype=np.float64) for each in (known, values, x))
    i = np.clip(np.searchsorted(xs, wanted) - 1, 0, len(xs) - 2)
    slope = (ys[i + 1] - ys[i]) / np.maximum(xs[i + 1] - xs[i], 1e-9)
    return np.asarray(ys[i] + slope * (wanted - xs[i]), dtype=np.float64)


# Measured on the development half of Labeled Faces in the Wild, photos aligned on MTCNN's landmarks, embeddings
# averaged with the mirror image's. Non-mated: random galleries of the 535 cohort people (2-3 photos each) searched
# with a photo of everybody else. Mated: random galleries of 305 other people (3 photos each) searched with 1 212
# further photos of theirs. `rollcall evaluate` prints these tables for a folder.
DLIB_RESNET_PRIOR = ScorePrior(
    source="LFW development half: 535 people searched as strangers, 1212 mated probes of 305 people",
    n_people=535,
    gallery_sizes=(1, 2, 3, 5, 10, 20, 50, 100, 200, 400),
    fpir_levels=(0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.003, 0.001),
    non_mated=(
        (0.4027, 0.4218, 0.4329, 0.4469, 0.4580, 0.4685, 0.4752, 0.4808, 0.4856, 0.4963),
        (0.4240, 0.4386, 0.4467, 0.4574, 0.4657, 0.4751, 0.4808, 0.4861, 0.4899, 0.4968),
        (0.4329, 0.4459, 0.4527, 0.4622, 0.4696, 0.4781, 0.4843, 0.4891, 0.4929, 0.4997),
        (0.4429, 0.4524, 0.4580, 0.4659, 0.4729, 0.4806, 0.4860, 0.4912, 0.4951, 0.5013),
        (0.4507, 0.4577, 0.4623, 0.4691, 0.4754, 0.4822, 0.4877, 0.4924, 0.4962, 0.5029),
        (0.4556, 0.4613, 0.4652, 0.4710, 0.4768, 0.4838, 0.4886, 0.4931, 0.4963, 0.5033),
        (0.4595, 0.4642, 0.4674, 0.4724, 0.4771, 0.4830, 0.4877, 0.4923, 0.4948, 0.5018),
        (0.4618, 0.4659, 0.4688, 0.4732, 0.4772, 0.4824, 0.4854, 0.4876, 0.4901, 0.4962),
        (0.4638, 0.4675, 0.4703, 0.4741, 0.4778, 0.4815, 0.4842, 0.4865, 0.4873, 0.4900),
        (0.4655, 0.4692, 0.4720, 0.4750, 0.4782, 0.4823, 0.4841, 0.4856, 0.4874, 0.4889),
    ),
    fnir_levels=(0.02, 0.03, 0.05, 0.1, 0.2, 0.5),
    mated=(
        (0.4985, 0.5024, 0.5079, 0.5137, 0.5215, 0.5289),
        (0.4977, 0.5017, 0.5047, 0.5115, 0.5180, 0.5274),
        (0.4951, 0.4977, 0.5025, 0.5093, 0.5156, 0.5265),
        (0.4917, 0.4949, 0.5002, 0.5067, 0.5144, 0.5254),
        (0.4891, 0.4934, 0.4978, 0.5033, 0.5101, 0.5204),
        (0.4827, 0.4879, 0.4933, 0.4995, 0.5065, 0.5177),
        (0.4792, 0.4843, 0.4893, 0.4955, 0.5021, 0.5131),
        (0.4780, 0.4825, 0.4883, 0.4934, 0.4992, 0.5096),
        (0.4755, 0.4793, 0.4853, 0.4908, 0.4968, 0.5072),
        (0.4748, 0.4785, 0.4843, 0.4904, 0.4957, 0.5058),
    ),
    # Against the 2.3 photos of the cohort: random galleries of the 100 people with eight photos or more, searched with
    # a photo of each cohort person; the mean shift of the scores that 5, 2, 1 and 0.5 % of these reach.
    template_effect=TemplateEffect(
        gallery_sizes=(1, 2, 5, 20, 60, 200),
        template_counts=(1, 2, 3, 4, 6, 8),
        shifts=(
            (-0.0076, -0.0009, 0.0017, 0.0032, 0.0047, 0.0055),
            (-0.0062, -0.0007, 0.0015, 0.0027, 0.0040, 0.0047),
            (-0.0050, -0.0005, 0.0010, 0.0019, 0.0028, 0.0032),
            (-0.0018, -0.0004, 0.0007, 0.0009, 0.0012, 0.0015),
            (-0.0010, -0.0002, 0.0005, 0.0006, 0.0007, 0.0009),
            (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        ),
    ),
)


def assumed_prior(middle: float, spread: float, mated_middle: float) -> ScorePrior:
    """A stand-in for a backbone that was not measured here: it counts as ten people and gives way to evidence.

    Args:
        middle: decision score that half of the strangers are assumed to reach.
        spread: its standard deviation.
        mated_middle: decision score that half of the mated probes are assumed to reach.
    """
    fpir_levels, fnir_levels = (0.5, 0.1, 0.01, 0.001), (0.02, 0.1, 0.5)
    strangers = tuple(round(middle - spread * _z(level), 4) for level in fpir_levels)
    people = tuple(round(mated_middle + 2 * spread * _z(level), 4) for level in fnir_levels)
    return ScorePrior(
        source="assumed, not measured: enrol people and let the threshold tune itself",
        n_people=10,
        gallery_sizes=(1,),
        fpir_levels=fpir_levels,
        non_mated=(strangers,),
        fnir_levels=fnir_levels,
        mated=(people,),
    )
