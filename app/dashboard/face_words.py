"""Machine words about faces and enrolments, in words for people. Templates and modules are given the same tables."""

from collections.abc import Mapping
from typing import Any, Final

from app.dashboard.frame.messages import translate
from app.dashboard.frame.navigation import N_

DIRECTIONS: Final = {
    "frontal": N_("Straight ahead"),
    "left": N_("To the left"),
    "right": N_("To the right"),
    "up": N_("Up"),
    "down": N_("Down"),
}

# Said to whoever helps to enrol, so of the picture's sides.
ADVICE: Final = {
    "frontal": N_("Take a picture that looks straight into the camera."),
    "left": N_("Take one with the head turned to the left of the picture."),
    "right": N_("Take one with the head turned to the right of the picture."),
    "up": N_("Take one with the chin raised."),
    "down": N_("Take one with the chin lowered."),
}

REASONS: Final = {
    "no_face": N_("No face was found: the face must be upright, uncovered and turned to the camera."),
    "several_people": N_("Two people are in the picture: take one of one person alone."),
    "face_too_small": N_("The face is too small: go closer to the camera."),
    "blurred": N_("The face is blurred: hold still and focus."),
    "too_dark": N_("The face is too dark: turn towards the light."),
    "too_bright": N_("The face is too bright: avoid direct light."),
    "extreme_pose": N_("The face is turned away too far: look more towards the camera."),
    "occluded": N_("The face is covered."),
    "low_detection_score": N_("It is not clear that this is a face: take a clearer picture."),
    "low_quality": N_("The picture is not good enough: take a clearer one."),
    "identity_conflict": N_("This does not look like the same person as the other pictures."),
    "duplicate_frame": N_("The same view is enrolled already."),
    "nothing_to_enroll": N_("None of the pictures can be enrolled; each says why."),
    "image_empty": N_("The file is empty."),
    "image_invalid": N_("The file is damaged: save it again as JPEG or PNG."),
    "image_truncated": N_("The file ends too early: send it again, whole."),
    "image_too_large": N_("The picture is too large: send a smaller one."),
    "image_type_unsupported": N_("This is no picture that can be read: send JPEG, PNG or WebP."),
    "video_empty": N_("The file is empty."),
    "video_invalid": N_("The video is damaged: save it again as MP4."),
    "video_truncated": N_("The video ends too early: send it again, whole."),
    "video_too_large": N_("The video is too large or too long: send a shorter one."),
    "video_type_unsupported": N_("This is no video that can be read: send MP4, MOV, AVI, WebM or GIF."),
    "video_no_frames": N_("The video has no frames: film it again."),
    "too_many_templates": N_("This person has as many templates as are kept: delete an older enrolment first."),
    "upload_missing": N_(
        "The video is not on the machine that was to read it: all machines must share the data folder."
    ),
    "person_inactive": N_("This person is deactivated: activate them first."),
    "consent_missing": N_("No consent is recorded: ask the person, and tick the box."),
    "duplicate_person": N_("This face already belongs to somebody else."),
    "job_gone": N_("The job of this enrolment is not kept any more: send the video again."),
    "job_failed": N_("The job that read the video failed: see the page Jobs, and send the video again."),
    "cancelled": N_("This enrolment was cancelled."),
}

WARNINGS: Final = {
    "hard_to_recognise": N_(
        "Hard to recognise: fewer than half of the new pictures are recognised by the others. "
        "Enrol again in better light, or closer."
    ),
    "few_templates": N_("Fewer than three templates: with three or more, people are recognised more reliably."),
    "duplicate_person": N_("This face looks like somebody else’s who is enrolled. It was enrolled all the same."),
    "coverage": N_("Some directions are missing: let the head turn slowly to all sides."),
    "passers_by": N_("Other people walked through the picture; they were ignored."),
}

STATUSES: Final = {
    "queued": N_("Waiting"),
    "running": N_("Being read"),
    "done": N_("Done"),
    "failed": N_("Refused"),
}

OUTCOMES: Final = {
    "created": N_("Added"),
    "updated": N_("Changed"),
    "unchanged": N_("Unchanged"),
    "refused": N_("Refused"),
}

IMPORT_CODES: Final = {
    "fields_invalid": N_("A cell cannot be used:"),
    "employee_code_repeated": N_("An earlier row of this file has the same employee code."),
    "site_not_found": N_("There is no such site."),
    "shift_not_found": N_("There is no such shift, or it is retired."),
}

METHODS: Final = {"face": N_("Face"), "pin": N_("PIN"), "badge": N_("Badge"), "manual": N_("By hand")}
WAYS: Final = {"in": N_("In"), "out": N_("Out")}

TABLES: Final[Mapping[str, Mapping[str, str]]] = {
    "direction": DIRECTIONS,
    "advice": ADVICE,
    "reason": REASONS,
    "warning": WARNINGS,
    "status": STATUSES,
    "outcome": OUTCOMES,
    "import": IMPORT_CODES,
    "method": METHODS,
    "way": WAYS,
}


def words_in(language: str) -> dict[str, dict[str, str]]:
    """All tables, in the visitor's language."""
    return {
        name: {word: translate(language, message) for word, message in table.items()} for name, table in TABLES.items()
    }


def reason_of(error: str | None) -> str | None:
    """The stable word that an enrolment's `error`, or one of its warnings, begins with."""
    return error.split(":", 1)[0] if error else None


def counted(rejected: list[dict[str, Any]]) -> dict[str, int]:
    """How often each reason was given, the most frequent first."""
    counts: dict[str, int] = {}
    for each in rejected:
        counts[each["reason"]] = counts.get(each["reason"], 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
