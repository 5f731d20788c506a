"""Uploaded bytes -> images, a few at a time and off the event loop."""

from concurrent.futures import Future, ThreadPoolExecutor

from app.settings import Settings
from ml.image import Decoded, decode_reduced

# A 50-megapixel picture takes 0.3 GB while it is decoded, 1 GB where it is no plain JPEG. Two at once keep both cores
# busy; forty would not fit.
_AT_ONCE = 2
# No detector looks at more: what a JPEG has beyond this is not decoded.
_LOOKED_AT_PX = 4096


class ImageReader:
    """Decodes uploads within the deployment's limits, in two threads of its own: whoever waits for them holds none."""

    def __init__(self, settings: Settings) -> None:
        self._max_bytes = settings.max_image_bytes
        self._max_pixels = settings.max_image_pixels
        self._threads = ThreadPoolExecutor(_AT_ONCE, "decode")

    def submit(self, data: bytes) -> Future[Decoded]:
        """Decode one upright RGB image; ImageError when the bytes are not one that we accept.

        A JPEG with a side of 8192 px or more comes reduced: its faces, and the smallest one, are looked for in that.
        """
        return self._threads.submit(
            decode_reduced,
            data,
            needed_side_px=_LOOKED_AT_PX,
            max_bytes=self._max_bytes,
            max_pixels=self._max_pixels,
        )

    def read(self, data: bytes) -> Decoded:
        """`submit`, and wait."""
        return self.submit(data).result()
