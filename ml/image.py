"""Bytes to an upright RGB image: the first arrow, and the one that meets hostile files."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL.ImageFile import ImageFile

from ml.errors import ImageError
from ml.types import Face, RgbImage, Sample

# The plug-ins are called by name instead of through Image.open: that one also opens the multi-picture format, and warns
# and raises by a process-wide pixel limit, which would have to be changed for everybody to be changed for us.
_PLUGINS: Final[dict[str, Callable[[BytesIO], ImageFile]]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
}
_ORIENTATION_TAG: Final = 0x0112  # EXIF 2.3, section 4.6.4
# EXIF orientation -> what turns the stored picture upright; 1 is upright already.
_TO_UPRIGHT: Final[dict[int, Callable[[Any], Any]]] = {
    2: partial(cv2.flip, flipCode=1),
    3: partial(cv2.rotate, rotateCode=cv2.ROTATE_180),
    4: partial(cv2.flip, flipCode=0),
    5: cv2.transpose,
    6: partial(cv2.rotate, rotateCode=cv2.ROTATE_90_CLOCKWISE),
    7: lambda image: cv2.rotate(cv2.transpose(image), cv2.ROTATE_180),
    8: partial(cv2.rotate, rotateCode=cv2.ROTATE_90_COUNTERCLOCKWISE),
}
# What a JPEG can be divided by while it is decoded -> the flag for that, which leaves the colours to another flag.
_REDUCTIONS: Final = {
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    1: 0,
}
_MOST_ENLARGED_PX: Final = 4096  # bounds memory and time; MTCNN shrinks what is larger anyway


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """An upright image, smaller or larger than the picture that was sent, and the size of that, upright too, in px."""

    image: RgbImage
    full_wh: tuple[int, int]

    def enlarged(self, ratio: float) -> "Decoded":
        """The image `ratio >= 1` times as large, for faces too small to be looked for; its sides stay below 4096 px.

        No detail is gained, and none pretended: `in_full` counts in the picture that was sent.
        """
        height, width = self.image.shape[:2]
        ratio = min(ratio, _MOST_ENLARGED_PX / max(width, height))
        if ratio <= 1:
            return self
        size_wh = round(width * ratio), round(height * ratio)
        larger = cv2.resize(self.image, size_wh, interpolation=cv2.INTER_CUBIC)
        return Decoded(np.asarray(larger, dtype=np.uint8), self.full_wh)

    def in_full(self, sample: Sample) -> Sample:
        """A sample found in `image`, with all its pixels counted in the picture that was sent.

        What was measured on the chip, and the quality's score, stay those of what was looked at.
        """
        height, width = self.image.shape[:2]
        if (width, height) == self.full_wh:
            return sample
        ratio = np.array([self.full_wh[0] / width, self.full_wh[1] / height], dtype=np.float32)
        half = np.float32(0.5)  # pixel centres lie at whole numbers
        corners = (sample.face.box_xyxy.reshape(2, 2) + half) * ratio - half
        landmarks = (sample.face.landmarks + half) * ratio - half
        face = Face(corners.ravel(), landmarks, sample.face.detection_score)
        return replace(sample, face=face, quality=replace(sample.quality, size_px=face.size_px))


def decode_image(data: bytes, *, max_bytes: int = 20_000_000, max_pixels: int = 50_000_000) -> RgbImage:
    """Decode a JPEG, PNG or WebP file into an upright RGB image of its full size; see `decode_reduced`.

    Returns:
        `(H, W, 3)` uint8 RGB, C-contiguous and writable, turned upright as its EXIF orientation says; at least 1 x 1.
    """
    return decode_reduced(data, needed_side_px=None, max_bytes=max_bytes, max_pixels=max_pixels).image


def decode_reduced(
    data: bytes, *, needed_side_px: int | None, max_bytes: int = 20_000_000, max_pixels: int = 50_000_000
) -> Decoded:
    """Decode a JPEG, PNG or WebP file into an upright RGB image, a JPEG only as large as is needed.

    Of an animation, the first picture. Transparent pixels are laid on white, the page that cut-out portraits are made
    for: hair stays visible on it. Colour profiles are ignored. Peak memory is 6 bytes a pixel for most JPEGs, else 14
    (WebP 22): about 1 GB at the default `max_pixels`.

    Args:
        data: the whole file.
        needed_side_px: a JPEG is decoded at a half, a quarter or an eighth of its size if its longer side still has at
            least this many pixels then; None for the full size. CMYK ones and other formats are never reduced.
        max_bytes: longest file that is read.
        max_pixels: largest width times height; checked in the header, before anything is decoded.

    Returns:
        The image as `decode_image` returns it, and the size that it would have without reduction.

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
            stored_wh = picture.size
            _check_size(stored_wh, max_pixels)
            image = _plain_jpeg(kind, picture, data, needed_side_px)
            if image is None:
                picture.load()
                image = np.array(_to_rgb(picture))
            return _upright(image, stored_wh, _orientation(picture))
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


def _plain_jpeg(kind: str, picture: ImageFile, data: bytes, needed_side_px: int | None) -> RgbImage | None:
    """The pixels as they are stored, by OpenCV's decoder; None for what is left to Pillow.

    Both have libjpeg-turbo inside and give the same pixels. OpenCV takes two thirds of the time and less than half of
    the memory, and can divide. A file that lacks its last bytes is Pillow's to refuse: OpenCV would not miss them.
    """
    if kind != "JPEG" or picture.mode not in ("RGB", "L") or _is_cut_off(kind, data):
        return None
    divisor = _divisor(max(picture.size), needed_side_px)
    flags = _REDUCTIONS[divisor] | cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    if image is None:
        return None
    width, height = (-(-side // divisor) for side in picture.size)
    # What was checked against the limit must be what was decoded, should two parsers ever read one header differently.
    return np.asarray(image, dtype=np.uint8) if image.shape == (height, width, 3) else None


def _divisor(longer_side_px: int, needed_side_px: int | None) -> int:
    if needed_side_px is None:
        return 1
    return next((divisor for divisor in _REDUCTIONS if longer_side_px >= needed_side_px * divisor), 1)  # biggest first


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


def _upright(image: RgbImage, stored_wh: tuple[int, int], orientation: int) -> Decoded:
    turn = _TO_UPRIGHT.get(orientation)
    if turn is None:
        return Decoded(image, stored_wh)
    return Decoded(turn(image), stored_wh[::-1] if orientation >= 5 else stored_wh)


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
