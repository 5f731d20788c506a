"""What is told of inference on other machines that cannot be had. Light, so that everybody may import it."""

from typing import Final

from app.errors import RETRY_AFTER_S, ProblemError

# A batch that has cost so many workers their lives is not offered to a fourth.
MOST_LOST: Final = 3


class InferenceAwayError(ProblemError):
    """No worker answers; whoever asked may try again. A job that meets it is put back, and that counts for nothing."""

    def __init__(self, reason: str) -> None:
        detail = f"The machines that find faces do not answer ({reason}). Nothing was done; try again."
        super().__init__(503, "inference_unavailable", detail, headers={"Retry-After": str(RETRY_AFTER_S)})


class InferenceFailedError(ProblemError):
    """Several workers broke over the same batch: the pictures are probably the cause."""

    def __init__(self) -> None:
        detail = f"{MOST_LOST} machines failed at these pictures, so no other one is tried; their logs may say why."
        super().__init__(500, "inference_failed", detail)
