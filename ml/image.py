"""Bytes to an upright RGB image: the first arrow, and the one that meets hostile files."""

from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL.ImageFile import ImageFile

from ml.errors import ImageError
from ml.types import RgbImage

# The plug-ins are called by name instead of through Image.open: that one also opens the multi-picture format, and warns
# and raises by a process-wide pixel limit, which would have to be changed for everybody to be changed for us.
_PLUGINS: Final[dict[str, Callable[[BytesIO], ImageFile]]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
}
_ORIENTATION_TAG: Final = 0x0112  # EXIF 2.3, section 4.6.4
# EXIF orientation -> the transposition that turns the stored picture upright; 1 is upright already.
_TO_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_image(data: bytes, *, max_bytes: int = 20_000_000, max_pixels: int = 50_000_000) -> RgbImage:
    """Decode a JPEG, PNG or WebP file into an upright RGB image; of an animation, its first picture.

    Transparent pixels are laid on white, the page that cut-out portraits are made for: hair stays visible on it.
    Colour profiles are ignored. Peak memory is 14 bytes a pixel (WebP 22): about 1 GB at the default `max_pixels`.

    Args:
        data: the whole file.
        max_bytes: longest file that is read.
        max_pixels: largest width times height; checked in the header, before anything is decoded.

    Returns:
        `(H, W, 3)` uint8 RGB, C-contiguous and writable, turned upright as its EXIF orientation says; at least 1 x 1.

    Raises:
        ImageError: whatever is wrong with the bytes, its `code` says what kind of wrong.
    """
    if not data:
        raise ImageError("image_empty", "The file is empty: send the bytes of a JPEG, PNG or WebP image.")
    if len(data) > max_bytes:
        message = f"The file has {len(data)} bytes and at most {max_bytes} are accepted: send a smaller image."
        raise ImageError("image_too_large", message)
    kind = _sniff(data)
    try:
        with _PLUGINS[kind](BytesIO(data)) as picture:
            _check_size(picture.size, max_pixels)
            picture.load()
            return np.array(_to_upright(_to_rgb(picture), _orientation(picture)))
    except ImageError:
        raise
    except Exception as error:  # on hostile bytes Pillow raises nearly anything: SyntaxError, struct.error, MemoryError
        raise _unreadable(kind, data) from error


def _sniff(data: bytes) -> str:
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    raise ImageError("image_type_unsupported", "The file is not a JPEG, PNG or WebP image: convert it to one of these.")


def _check_size(size_wh: tuple[int, int], max_pixels: int) -> None:
    width, height = size_wh
    if width * height > max_pixels:
        message = f"The image has {width} x {height} pixels and at most {max_pixels} are accepted: scale it down."
        raise ImageError("image_too_large", message)


def _to_rgb(picture: ImageFile) -> Image.Image:
    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow's own conversion clips at 255 instead of scaling
        return Image.fromarray(_grey16_to_8(np.asarray(picture))).convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    rgba = picture.convert("RGBA")
    page = Image.new("RGB", rgba.size, "white")
    page.paste(rgba, mask=rgba.getchannel("A"))
    return page


def _grey16_to_8(grey: NDArray[Any]) -> NDArray[np.uint8]:
    return ((grey.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 / 255 = 257, rounded to the nearest


def _orientation(picture: ImageFile) -> int:
    try:
        return int(picture.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # a broken tag must not cost the picture; the parser raises as freely as the decoders do
        return 1


def _to_upright(picture: Image.Image, orientation: int) -> Image.Image:
    method = _TO_UPRIGHT.get(orientation)
    return picture if method is None else picture.transpose(method)


def _unreadable(kind: str, data: bytes) -> ImageError:
    if _is_cut_off(kind, data):
        return ImageError("image_truncated", f"The {kind} file ends too early: send it again, whole.")
    return ImageError("image_invalid", f"The {kind} file is damaged: save it again as JPEG or PNG and send that.")


def _is_cut_off(kind: str, data: bytes) -> bool:
    if kind == "JPEG":
        return not data.rstrip(b"\0").endswith(b"\xff\xd9")
    if kind == "PNG":
        return b"IEND" not in data[-64:]
    return len(data) < 8 + int.from_bytes(data[4:8], "little")
