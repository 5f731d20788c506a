"""What can go wrong in `ml`, by cause.

    MlError
    ├── ImageError     the bytes are not a picture that we accept          (.code)
    ├── VideoError     the file is not a video that we accept              (.code)
    ├── ModelError     a network, its file or its device cannot be used
    ├── GalleryError   what was asked of the gallery would corrupt it
    ├── MetricsError   a table of searches that no rate can be made of    (also a ValueError)
    ├── ProtocolError  a folder of photos that cannot be evaluated        (also a ValueError)
    └── TrainingError  too little to learn from, or a network that cannot be trained

Results that happen on a good day (no face found, a stranger, a blurred face) are values, never exceptions.
Every message says what to do next, because it reaches the person who caused it.
"""


class MlError(Exception):
    """Root of the tree: lets a caller tell our refusals from programming errors."""


class ImageError(MlError):
    """Bytes that cannot become an image.

    `code` is one of `image_empty`, `image_invalid`, `image_truncated`, `image_too_large`, `image_type_unsupported`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class VideoError(MlError):
    """A file that cannot become a sequence of frames.

    `code` is one of `video_empty`, `video_invalid`, `video_truncated`, `video_too_large`, `video_type_unsupported`,
    `video_no_frames`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ModelError(MlError):
    """A network that cannot be loaded, trusted (sha256) or run on the device that was asked for."""


class GalleryError(MlError):
    """Wrong dimension, mixed backbones, NaN or non-unit embeddings, or repeated ids offered to the gallery."""


class TrainingError(MlError):
    """Too few people or faces to learn from, a network that cannot be trained, or a training that ran away."""


class HardlyRecognisesError(TrainingError):
    """There were people enough, but what was trained tells hardly any of them from others."""
