"""Uploaded bytes -> images, a few at a time."""

from threading import BoundedSemaphore

from app.settings import Settings
from ml.image import decode_image
from ml.types import RgbImage

# A 50-megapixel picture takes up to 1 GB while it is decoded. Two at once keep both cores busy; forty would not fit.
_AT_ONCE = 2


class ImageReader:
    """Decodes uploads within the deployment's limits; may be called from any thread, and makes callers take turns."""

    def __init__(self, settings: Settings) -> None:
        self._max_bytes = settings.max_image_bytes
        self._max_pixels = settings.max_image_pixels
        self._turns = BoundedSemaphore(_AT_ONCE)

    def read(self, data: bytes) -> RgbImage:
        """Decode one upright RGB image; ImageError when the bytes are not one that we accept."""
        with self._turns:
            return decode_image(data, max_bytes=self._max_bytes, max_pixels=self._max_pixels)
