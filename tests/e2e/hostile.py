"""Files that somebody careless or unkind would upload. Every one is made here."""

from io import BytesIO

import cv2
import numpy as np
from PIL import Image

from tests.app import photos

# EXIF orientation -> the transposition of an upright picture that a viewer undoes.
STORED_AS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
_ORIENTATION_TAG = 0x0112


def grace_image() -> Image.Image:
    return Image.open(BytesIO(photos.grace())).convert("RGB")


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixel_bomb() -> bytes:
    """400 million pixels in 50 kB."""
    return encoded(Image.new("1", (20_000, 20_000)), "PNG")


def cmyk() -> bytes:
    return encoded(grace_image().convert("CMYK"), "JPEG", quality=92)


def png_16_bit() -> bytes:
    """Three channels of 16 bits, which Pillow cannot write."""
    deep = np.asarray(grace_image(), dtype=np.uint16)[:, :, ::-1] * 257
    return bytes(cv2.imencode(".png", deep)[1])


def png_16_bit_grey() -> bytes:
    return bytes(cv2.imencode(".png", np.asarray(grace_image().convert("L"), dtype=np.uint16) * 257)[1])


def animated(kind: str) -> bytes:
    """Grace Hopper first, then nothing but colour."""
    first = grace_image()
    others = [Image.new("RGB", first.size, colour) for colour in ("red", "green")]
    return encoded(first, kind, save_all=True, append_images=others, duration=100)


def oriented(orientation: int) -> bytes:
    """The same upright picture, stored in one of the eight ways."""
    image = grace_image()
    if orientation in STORED_AS:
        image = image.transpose(STORED_AS[orientation])
    exif = Image.Exif()
    exif[_ORIENTATION_TAG] = orientation
    return encoded(image, "JPEG", quality=92, exif=exif)


def one_pixel() -> bytes:
    return encoded(Image.new("RGB", (1, 1)), "PNG")


def thread() -> bytes:
    """One pixel high and as wide as JPEG can be."""
    return encoded(Image.new("RGB", (65_500, 1)), "JPEG")


def broken_middle() -> bytes:
    """A JPEG whose first and last bytes are right."""
    data = bytearray(photos.grace())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    return bytes(data)


def png_that_lies() -> bytes:
    """A header of 7000 x 7000, within the limit, before the pixels of a tiny picture."""
    data = bytearray(encoded(Image.new("L", (8, 8)), "PNG"))
    data[16:24] = (7000).to_bytes(4, "big") * 2
    return bytes(data)
