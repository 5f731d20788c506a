"""CompreFace keeps formats that this service does not take; these are turned into PNG, which loses nothing."""

from collections.abc import Callable
from io import BytesIO

from PIL import BmpImagePlugin, GifImagePlugin, IcoImagePlugin, ImageOps, TiffImagePlugin
from PIL.ImageFile import ImageFile

# By name and not by Image.open, as in ml.image: that one warns by a process-wide pixel limit.
_OTHERS: dict[bytes, Callable[[BytesIO], ImageFile]] = {
    b"BM": BmpImagePlugin.BmpImageFile,
    b"GIF8": GifImagePlugin.GifImageFile,
    b"II*\0": TiffImagePlugin.TiffImageFile,
    b"MM\0*": TiffImagePlugin.TiffImageFile,
    b"\0\0\1\0": IcoImagePlugin.IcoImageFile,
}
_PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}


def acceptable(content: bytes, max_pixels: int) -> tuple[str, bytes] | None:
    """The suffix and the file to send; None for what is no image.

    JPEG, PNG and WebP stay as they are: whether these can be read is for the service to say.
    """
    if content.startswith(b"\xff\xd8\xff"):
        return ".jpg", content
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return ".png", content
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return ".webp", content
    for start, open_image in _OTHERS.items():
        if content.startswith(start):
            return _as_png(content, open_image, max_pixels)
    return None


def _as_png(content: bytes, open_image: Callable[[BytesIO], ImageFile], max_pixels: int) -> tuple[str, bytes] | None:
    try:
        with open_image(BytesIO(content)) as stored:
            if stored.width * stored.height > max_pixels:
                return None
            stored.load()
            upright = ImageOps.exif_transpose(stored)
        picture = upright if upright.mode in _PNG_MODES else upright.convert("RGB")
        png = BytesIO()
        picture.save(png, "PNG", compress_level=1)
    except Exception:  # on hostile bytes Pillow raises nearly anything
        return None
    return ".png", png.getvalue()
