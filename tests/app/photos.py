"""Photo files for tests of the service: two people that packages carry, seen under other circumstances."""

from io import BytesIO

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from tests.ml.faces import astronaut, grace_hopper


def jpeg(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def grace(*, variant: int = 0) -> bytes:
    """Grace Hopper; every variant is another picture of hers (light, size, mirrored)."""
    return jpeg(_vary(Image.fromarray(grace_hopper()), variant))


def eileen(*, variant: int = 0) -> bytes:
    """Eileen Collins, likewise."""
    return jpeg(_vary(Image.fromarray(astronaut()).crop((100, 0, 380, 300)), variant))


def two_people() -> bytes:
    """Both, side by side and equally large."""
    left, right = (Image.open(BytesIO(photo)).resize((400, 460)) for photo in (grace(), eileen()))
    both = Image.new("RGB", (800, 460))
    both.paste(left, (0, 0))
    both.paste(right, (400, 0))
    return jpeg(both)


def blurred() -> bytes:
    return jpeg(Image.fromarray(grace_hopper()).filter(ImageFilter.GaussianBlur(9)))


def nobody() -> bytes:
    return jpeg(Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)))


def _vary(image: Image.Image, variant: int) -> Image.Image:
    width, height = image.size
    changes = (
        lambda: image,
        lambda: ImageOps.mirror(image),
        lambda: ImageEnhance.Brightness(image).enhance(0.7),
        lambda: image.resize((width * 3 // 4, height * 3 // 4)),
        lambda: image.rotate(8, fillcolor=(90, 90, 90)),
        lambda: ImageEnhance.Color(image).enhance(0.1),
    )
    return changes[variant]()
