"""What each way to train is worth, and what it costs: on people and strangers that it never saw.

    python -m benchmarks.training [--folder ../shared/data/faces] [--strategy projection]... [--json FILE]

The folder needs a protocol.json. The first half of its known people (150 at most) are enrolled and learned from,
together with the cohort; the other known people and the strangers judge, by `ml.training.judge`: the older of their
photos enrolled, the newer searched. Each way is trained in a process of its own, whose peak memory is told. A softmax
classifier of the enrolled people is measured beside them, because it is what people train first.
"""

import argparse
import json
import multiprocessing
import resource
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from ml.backbones import load_backbone
from ml.detection import load_detector
from ml.evaluation.cache import ArrayCache
from ml.evaluation.enrolment import NOBODY, Rows
from ml.evaluation.networks import Network
from ml.evaluation.protocol import Protocol, load_protocol
from ml.evaluation.run import photos_of
from ml.evaluation.samples import Analyzed, PhotoReader, main_face
from ml.evaluation.searches import Probes
from ml.evaluation.strategies import SoftmaxMatcher
from ml.evaluation.strategies_learned import Base, FacePhotos, Lessons, learn
from ml.plan import default_plan, n_usable_cpus
from ml.training.judge import Side, Verdict, judge
from ml.training.scoring import make_gallery
from ml.training.types import Kind
from ml.types import FloatArray

FOLDER: Final = Path(__file__).parents[2] / "shared" / "data" / "faces"
KINDS: Final[tuple[Kind, ...]] = ("projection", "finetune", "scratch")
N_LEARNED: Final = 150
TARGET_FPIR: Final = 0.01
MIN_FACE_PX: Final = 40


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """The main face of every photo: `embeddings (N, D)`, `people (N,)`; who is learned from, and who judges.

    The first `n_enrolled` people are those of the gallery.
    """

    embeddings: FloatArray
    people: Rows
    learned: Rows
    unseen: Rows
    n_enrolled: int
    photos: FacePhotos
    base: Base

    @property
    def enrolled(self) -> Rows:
        """Of the faces that are learned from, those of the gallery."""
        return self.learned[self.people[self.learned] < self.n_enrolled]


@dataclass(frozen=True, slots=True)
class Measured:
    """One way: seconds and MB of its process, and what the judge says."""

    kind: Kind
    n_faces: int
    train_s: float
    peak_mb: float
    verdict: Verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--strategy", action="append", choices=KINDS, help="may be repeated; by default all")
    parser.add_argument("--backbone", default="dlib-resnet")
    parser.add_argument("--cache", type=Path, default=Path(".cache/evaluate"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    wanted = parser.parse_args()
    console, place = Console(), (wanted.folder, wanted.backbone, wanted.cache)
    with console.status("looking at photos"):
        named = softmax_fpir(read_faces(*place), wanted.seed)
    measured = []
    for kind in wanted.strategy or KINDS:
        with console.status(f"training: {kind}"):
            measured.append(in_own_process(kind, place, wanted.seed))
    show(console, measured, named)
    if wanted.json:
        facts = {"n_cpus": n_usable_cpus(), "target_fpir": TARGET_FPIR, "softmax_fpir": named}
        wanted.json.write_text(json.dumps(facts | {"rows": [asdict(each) for each in measured]}, indent=1) + "\n")


def read_faces(folder: Path, backbone: str, cache: Path) -> Faces:
    """Look at every photo, or take what an evaluation has seen in it."""
    protocol, plan = load_protocol(folder, folder / "protocol.json"), default_plan("cpu")
    torch.set_num_threads(plan.n_threads)
    detector = load_detector("mtcnn", models_dir=None, device="cpu", min_face_px=MIN_FACE_PX, plan=plan)
    network = Network.mirrored(detector, load_backbone(backbone, plan=plan))
    seen = PhotoReader([network], ArrayCache(cache), min_face_px=MIN_FACE_PX).read(photos_of(protocol), _say_nothing)
    base = Base(network.card, network.model, None, "cpu")
    return _sorted_out(protocol, {path: main_face(each) for path, each in seen[network.model].items()}, base)


def _sorted_out(protocol: Protocol, seen: dict[Path, Analyzed], base: Base) -> Faces:
    """Number the people: the known in the order of the protocol, then the cohort, then strangers."""
    photos = [(person.person, path) for person in protocol.known for path in (*person.gallery, *person.probes)]
    photos += [(photo.person, photo.path) for photo in (*protocol.cohort, *protocol.strangers)]
    found = [(person, seen[path].photo.samples[0].embedding) for person, path in photos if seen[path].photo.samples]
    numbers = {person: number for number, person in enumerate(dict.fromkeys(person for person, _ in photos))}
    people = np.array([numbers[person] for person, _ in found], dtype=np.int64)
    cohort = [numbers[person] for person in {photo.person for photo in protocol.cohort}]
    n_learned = min(N_LEARNED, len(protocol.known) // 2)
    is_learned = (people < n_learned) | np.isin(people, cohort)
    embeddings = np.array([embedding for _, embedding in found], dtype=np.float32)
    learned, unseen = np.flatnonzero(is_learned), np.flatnonzero(~is_learned)
    return Faces(embeddings, people, learned, unseen, n_learned, FacePhotos(seen), base)


def softmax_fpir(faces: Faces, seed: int) -> float:
    """The share of strangers whom a softmax classifier of the enrolled people names: it cannot say UNKNOWN."""
    gallery = make_gallery(faces.embeddings, faces.people, faces.enrolled)
    strangers = faces.embeddings[faces.unseen]
    photos = np.arange(len(strangers), dtype=np.int64)
    probes = Probes(strangers, np.ones(len(photos), np.float32), photos, photos, np.full(len(photos), NOBODY))
    return float((SoftmaxMatcher.fit(gallery, seed).search(probes).rows != NOBODY).mean())


def in_own_process(kind: Kind, place: tuple[Path, str, Path], seed: int) -> Measured:
    """Train and judge in a fresh process, so that its memory is told apart from that of the others."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (kind, place, seed))


def measure(kind: Kind, place: tuple[Path, str, Path], seed: int) -> Measured:
    """Train one way, then judge it."""
    faces = read_faces(*place)
    lessons = Lessons(faces.embeddings[faces.learned], faces.people[faces.learned])
    model = learn(kind, lessons, faces.photos, faces.base, seed)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    unseen = faces.unseen
    champion = Side(faces.embeddings[unseen], faces.base.card.score_rule)
    challenger = Side(model.embed_again(faces.embeddings[unseen]), model.scoring.rule)
    people, times_s = faces.people[unseen], np.full(len(unseen), np.nan)
    verdict = judge(champion, challenger, people, times_s, np.arange(len(unseen)), TARGET_FPIR, seed)
    return Measured(kind, model.n_faces, model.trained.seconds, peak_mb, verdict)


def show(console: Console, measured: Sequence[Measured], named: float) -> None:
    shown = Table("way", "faces", "s to train", "peak MB", "FNIR before", "after", "difference, points", "better?")
    for each in measured:
        verdict = each.verdict
        figures: list[Any] = ["–", "–", "–"]
        if verdict.champion and verdict.challenger and verdict.difference:
            apart = verdict.difference
            figures = [
                f"{verdict.champion.fnir.value * 100:.1f} %",
                f"{verdict.challenger.fnir.value * 100:.1f} %",
                f"{apart.value * 100:+.1f} ({apart.low * 100:+.1f} to {apart.high * 100:+.1f})",
            ]
        costs = (str(each.n_faces), f"{each.train_s:.1f}", f"{each.peak_mb:.0f}")
        shown.add_row(each.kind, *costs, *figures, "yes" if verdict.is_better else "no")
    console.print(shown)
    for each in measured:
        console.print(f"{each.kind}: {each.verdict.reason}", markup=False)
    console.print(f"A softmax classifier of the enrolled people names {named * 100:.1f} % of strangers.", markup=False)


def _say_nothing(n_done: int, n_new: int) -> None:
    pass


if __name__ == "__main__":
    main()
