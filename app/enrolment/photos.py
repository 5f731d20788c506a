"""Uploaded files -> what was seen in them, and what to enrol of that."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.crops.cutting import FaceCrop, cut_face
from app.errors import FieldError, ProblemError
from app.inference.images import ImageReader
from app.inference.port import Ask, Inference
from ml.enrolling import Photo, choose_samples, most_prominent
from ml.errors import ImageError
from ml.quality import ENROLL_LIMITS
from ml.types import FloatArray, PairBounds, RgbImage, Sample

# What to do about each reason, for the person who chose the photo.
ADVICE = {
    "no_face": "No face was found. Use a photo in which the face is upright, uncovered and turned to the camera.",
    "several_people": "Several people are as prominent. Crop the photo to one person.",
    "face_too_small": "The face is too small. Go closer or use a photo of higher resolution.",
    "blurred": "The face is blurred. Hold still and focus.",
    "too_dark": "The face is too dark. Turn towards the light.",
    "too_bright": "The face is too bright. Avoid direct light.",
    "extreme_pose": "The face is turned away too far. Look more towards the camera.",
    "occluded": "The face is covered.",
    "low_detection_score": "The detector is not sure that this is a face. Use a clearer photo.",
    "identity_conflict": "This does not look like the same person as the other photos.",
    "duplicate_frame": "This is the same picture as another one, of this call or of an earlier one.",
}


@dataclass(frozen=True, slots=True)
class Upload:
    """One uploaded file; `name` is what the caller calls it and is never used as a path."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """A file that becomes a template."""

    file: str
    sample: Sample
    crop: FaceCrop | None


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What became of the files: those that are kept, reasons by file name, and how many faces there were."""

    kept: list[Kept]
    rejected: list[tuple[str, str]]
    faces_seen: int
    n_images: int


@dataclass(frozen=True, slots=True, eq=False)
class SeenFiles:
    """What was seen in the files: `names` of all; photos, and errors of those that are none, by their number.

    `model` embedded all of them. `crops` are of the most prominent faces, the only ones that are ever enrolled, where
    crops are wanted.
    """

    names: list[str]
    photos: dict[int, Photo]
    errors: dict[int, ImageError]
    model: str
    crops: dict[int, FaceCrop] = field(default_factory=dict)


def look_at(
    uploads: Sequence[Upload], inference: Inference, images: ImageReader, *, keeps_crops: bool = False
) -> SeenFiles:
    """See who is in files of any kind; slow.

    One image at a time, so that a call with many large photos never holds more than one of them decoded. The place is
    kept for all of them: whose first photo was looked at is not told at the ninth to come back and send all again.

    Raises:
        InferenceBusyError: too much waits for the networks.
        ImageError: not one of the files is an image that we accept (the first one's error).
    """
    photos: dict[int, Photo] = {}
    errors: dict[int, ImageError] = {}
    crops: dict[int, FaceCrop] = {}
    model = inference.info.model
    with inference.place() as place:
        for number, upload in enumerate(uploads):
            try:
                decoded = images.read(upload.content)
            except ImageError as error:
                errors[number] = error
                continue
            samples = place.submit(Ask([decoded.image], model=model)).result().samples[0]
            photos[number] = Photo([decoded.in_full(sample) for sample in samples], decoded.full_wh)
            if keeps_crops and samples:
                crops[number] = _main_crop(decoded.image, samples, photos[number])
    if not photos:
        raise next(iter(errors.values()))
    return SeenFiles([upload.name for upload in uploads], photos, errors, model, crops)


def choose_photos(seen: SeenFiles, enrolled: FloatArray, bounds: PairBounds) -> Batch:
    """Choose the samples of one person, who has the templates `enrolled (n, D)` already; quick.

    Raises:
        ProblemError: 422 with the reason of every file when none can be enrolled.
    """
    numbers = list(seen.photos)
    choice = choose_samples(list(seen.photos.values()), enrolled, ENROLL_LIMITS, bounds)
    reasons: dict[int, str] = {number: error.code for number, error in seen.errors.items()}
    reasons |= {numbers[i]: reason.value for i, reason in choice.rejected.items()}
    if not choice.kept:
        raise _nothing_to_enroll(seen.names, reasons)
    return Batch(
        kept=[Kept(seen.names[numbers[i]], sample, seen.crops.get(numbers[i])) for i, sample in choice.kept.items()],
        rejected=[(seen.names[number], reason) for number, reason in sorted(reasons.items())],
        faces_seen=sum(len(photo.samples) for photo in seen.photos.values()),
        n_images=len(seen.photos),
    )


def _main_crop(image: RgbImage, samples: Sequence[Sample], photo: Photo) -> FaceCrop:
    """The face that the photo is about; `samples` are those of `photo` as they lie in the image."""
    return cut_face(image, samples[photo.samples.index(most_prominent(photo))])


def _nothing_to_enroll(names: Sequence[str], reasons: dict[int, str]) -> ProblemError:
    words = set(reasons.values())
    code = words.pop() if len(words) == 1 else "nothing_to_enroll"
    errors = [
        FieldError(loc=["files", number, names[number]], msg=f"{reason}: {ADVICE.get(reason, 'Not readable.')}")
        for number, reason in sorted(reasons.items())
    ]
    detail = ADVICE.get(code, "None of the files can be enrolled; errors says why for each of them.")
    return ProblemError(422, code, detail, errors=errors)
