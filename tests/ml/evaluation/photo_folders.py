"""Folders of photos made from the two that packages carry, altered as other cameras would see them."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from ml.types import RgbImage
from tests.ml.faces import astronaut, grace_hopper


def make_photo(*, image: RgbImage, variant: int) -> Image.Image:
    """The same person in other light, another size, mirrored; every variant is another picture."""
    picture = Image.fromarray(image)
    if variant % 2:
        picture = ImageOps.mirror(picture)
    width = 260 + 17 * variant
    picture = picture.resize((width, round(width * picture.height / picture.width)))
    return ImageEnhance.Brightness(picture).enhance(0.75 + 0.09 * variant)


def write_photo(path: Path, *, image: RgbImage, variant: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    make_photo(image=image, variant=variant).save(path, quality=92)
    return path


def make_folder(root: Path, *, n_grace: int = 5, n_eileen: int = 1) -> Path:
    """Photos of somebody to enrol, one of a stranger, and one in which nobody is seen."""
    for variant in range(n_grace):
        write_photo(root / "Grace & <Hopper>" / f"{variant}.jpg", image=grace_hopper(), variant=variant)
    for variant in range(n_eileen):
        write_photo(root / "Eileen" / f"{variant}.jpg", image=astronaut(), variant=variant)
    write_photo(root / "Nobody" / "0.jpg", image=np.full((300, 260, 3), 128, dtype=np.uint8))
    return root


def make_empty_photos(root: Path, *, counts: dict[str, int]) -> Path:
    """Files that are photos by name only: enough for a protocol."""
    for person, n in counts.items():
        (root / person).mkdir(parents=True)
        for number in range(n):
            (root / person / f"{number:03d}.jpg").write_bytes(b"")
    return root
