"""Bytes to an upright RGB image, with friendly and hostile bytes."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ml.errors import ImageError
from ml.image import Decoded, decode_image, decode_reduced
from ml.types import RgbImage
from tests.ml.faces import grace_hopper_jpeg
from tests.ml.factories import make_face, make_quality, make_sample

# Pillow warns of the metadata that it skips, and goes on: so must the tests, to take the way that the service takes.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
WHITE = (255, 255, 255)
RED = (255, 0, 0)


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def make_scene() -> RgbImage:
    """A small picture without any symmetry: smooth, so that JPEG keeps it."""
    y, x = np.mgrid[0:24, 0:40]
    return np.stack([x * 6, y * 10, (x + y) * 3], axis=2).astype(np.uint8)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int) -> bytes:
    return PNG_SIGNATURE + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def webp_header(width: int, height: int) -> bytes:
    canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = b"WEBPVP8X" + struct.pack("<II", 10, 0) + canvas
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg_header(width: int, height: int) -> bytes:
    """As Pillow writes it, with another size, and cut off before the first pixel."""
    data = bytearray(encode(Image.new("L", (8, 8)), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data[: data.index(b"\xff\xda") + 10])


def code_of(data: bytes, **limits: int) -> str:
    with pytest.raises(ImageError) as refusal:
        decode_image(data, **limits)
    assert str(refusal.value)
    return refusal.value.code


@pytest.mark.parametrize(("file_format", "tolerance"), [("JPEG", 6), ("PNG", 0), ("WEBP", 6)])
def test_each_accepted_format_gives_its_picture_as_contiguous_rgb_bytes(file_format: str, tolerance: int) -> None:
    image = decode_image(encode(Image.fromarray(make_scene()), file_format, quality=100))
    assert image.shape == (24, 40, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.flags.writeable
    assert np.abs(image.astype(int) - make_scene()).max() <= tolerance


def make_jpegs() -> dict[str, bytes]:
    """A photo, 171 x 201, as a JPEG of every sort that the faster decoder takes."""
    photo = Image.open(BytesIO(grace_hopper_jpeg())).resize((171, 201))
    return {
        "4:2:0": encode(photo, "JPEG"),
        "4:2:2": encode(photo, "JPEG", subsampling=1),
        "4:4:4": encode(photo, "JPEG", subsampling=0),
        "progressive": encode(photo, "JPEG", progressive=True),
        "restart markers": encode(photo, "JPEG", restart_marker_blocks=3),
        "RGB inside": encode(photo, "JPEG", keep_rgb=True),
        "grey": encode(photo.convert("L"), "JPEG"),
        "padded": encode(photo, "JPEG") + bytes(50),
        "two pictures": encode(photo, "JPEG") * 2,
    }


@pytest.mark.parametrize("sort", make_jpegs())
def test_every_sort_of_jpeg_has_the_very_pixels_that_pillow_decodes(sort: str) -> None:
    data = make_jpegs()[sort]
    assert np.array_equal(decode_image(data), np.asarray(Image.open(BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("sort", [sort for sort in make_jpegs() if sort != "two pictures"])
def test_a_jpeg_without_its_last_bytes_is_truncated(sort: str) -> None:
    assert code_of(make_jpegs()[sort].rstrip(b"\0")[:-2]) == "image_truncated"


def test_red_is_the_first_channel() -> None:
    assert decode_image(encode(Image.new("RGB", (2, 2), RED), "PNG"))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_gives_the_same_upright_picture(file_format: str, orientation: int) -> None:
    upright = make_scene()
    # EXIF 2.3: where the stored row 0 and column 0 lie in the upright picture.
    stored = {
        1: upright,  # top, left
        2: upright[:, ::-1],  # top, right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
        5: upright.transpose(1, 0, 2),  # left, top
        6: upright[:, ::-1].transpose(1, 0, 2),  # right, top
        7: upright[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
        8: upright[::-1].transpose(1, 0, 2),  # left, bottom
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if file_format == "WEBP" else {"quality": 100, "subsampling": 0}
    data = encode(Image.fromarray(np.ascontiguousarray(stored)), file_format, exif=exif, **options)
    image = decode_image(data)
    assert image.shape == upright.shape
    assert image.flags.c_contiguous
    assert np.abs(image.astype(int) - upright).max() <= (4 if file_format == "JPEG" else 0)


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_an_orientation_that_does_not_exist_leaves_the_picture_as_it_is(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(decode_image(encode(Image.fromarray(make_scene()), "PNG", exif=exif)), make_scene())


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0rubbish",
        b"Exif\0\0II*\0\xff\xff\xff\xff",  # the directory lies beyond the end
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 40,  # more entries than bytes
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abc\0\0\0\0\0",  # an orientation made of letters
    ],
)
def test_broken_exif_does_not_cost_the_picture(exif: bytes) -> None:
    assert np.array_equal(decode_image(encode(Image.fromarray(make_scene()), "PNG", exif=exif)), make_scene())
    assert decode_image(encode(Image.fromarray(make_scene()), "JPEG", exif=exif)).shape == (24, 40, 3)


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, WHITE),
        ("L", 100, (100, 100, 100)),
        ("LA", (100, 255), (100, 100, 100)),
        ("LA", (100, 0), WHITE),
        ("RGB", (10, 20, 30), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), WHITE),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),  # one fifth black on white
    ],
)
def test_grey_and_transparent_png_become_rgb_on_white(
    mode: str, colour: int | tuple[int, ...], expected: tuple[int, int, int]
) -> None:
    assert decode_image(encode(Image.new(mode, (3, 2), colour), "PNG")).tolist() == [[list(expected)] * 3] * 2


def make_palette_image() -> Image.Image:
    """Colour 0 is red, colour 1 is blue; one pixel of each."""
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    return image


def test_a_palette_becomes_its_colours() -> None:
    assert decode_image(encode(make_palette_image(), "PNG")).tolist() == [[[255, 0, 0], [0, 0, 255]]]


@pytest.mark.parametrize("transparency", [0, b"\x00\xff"])
def test_a_transparent_palette_colour_becomes_white(transparency: int | bytes) -> None:
    data = encode(make_palette_image(), "PNG", transparency=transparency)
    assert decode_image(data).tolist() == [[[255, 255, 255], [0, 0, 255]]]


@pytest.mark.parametrize(("mode", "colour", "key"), [("L", 7, 7), ("RGB", RED, RED)])
def test_a_colour_declared_transparent_becomes_white(
    mode: str, colour: int | tuple[int, ...], key: int | tuple[int, ...]
) -> None:
    assert decode_image(encode(Image.new(mode, (1, 1), colour), "PNG", transparency=key)).tolist() == [[[255] * 3]]


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    levels = np.array([[0, 128, 129, 257, 257 * 100, 32768, 65407, 65535]], dtype=np.uint16)
    image = decode_image(encode(Image.fromarray(levels), "PNG"))
    assert image[0, :, 0].tolist() == [0, 0, 1, 1, 100, 128, 255, 255]
    assert (image == image[:, :, :1]).all()


def test_16_bit_colour_is_scaled_not_clipped() -> None:
    bgr = np.array([[[65535, 257 * 100, 0]]], dtype=np.uint16)
    assert decode_image(cv2.imencode(".png", bgr)[1].tobytes()).tolist() == [[[0, 100, 255]]]


def test_a_cmyk_jpeg_has_the_colours_that_opencv_sees() -> None:
    inks = Image.new("CMYK", (32, 32), (0, 255, 255, 0))  # magenta and yellow ink: red
    inks.paste((255, 0, 0, 0), (0, 0, 16, 32))  # cyan ink
    data = encode(inks, "JPEG", quality=95)
    image = decode_image(data).astype(int)
    assert image[16, 24].tolist() == pytest.approx([255, 0, 0], abs=6)
    assert image[16, 4].tolist() == pytest.approx([0, 255, 255], abs=6)
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(image[:, 20:] - bgr[:, 20:, ::-1]).max() <= 6


@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_an_animation_gives_its_first_picture(file_format: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encode(frames[0], file_format, save_all=True, append_images=frames[1:], duration=100, **options)
    assert decode_image(data)[4, 4].tolist() == [255, 0, 0]


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_one_pixel_is_an_image(file_format: str) -> None:
    assert decode_image(encode(Image.new("RGB", (1, 1), "white"), file_format)).shape == (1, 1, 3)


def test_no_bytes_are_an_empty_file() -> None:
    assert code_of(b"") == "image_empty"


@pytest.mark.parametrize("file_format", ["GIF", "TIFF", "BMP", "ICO", "PPM", "JPEG2000"])
def test_other_image_formats_are_not_supported(file_format: str) -> None:
    assert code_of(encode(Image.new("RGB", (16, 16)), file_format)) == "image_type_unsupported"


@pytest.mark.parametrize(
    "data",
    [b"\0", b"hello", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"RIFF\x24\0\0\0AVI LIST", b"%PDF-1.7", b"\xff"],
)
def test_what_is_no_image_is_not_supported(data: bytes) -> None:
    assert code_of(data) == "image_type_unsupported"


def test_the_byte_limit_is_the_longest_file_accepted() -> None:
    data = encode(Image.fromarray(make_scene()), "PNG")
    assert decode_image(data, max_bytes=len(data)).shape == (24, 40, 3)
    assert code_of(data, max_bytes=len(data) - 1) == "image_too_large"


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_the_pixel_limit_is_the_biggest_image_accepted(file_format: str) -> None:
    data = encode(Image.fromarray(make_scene()), file_format)
    assert decode_image(data, max_pixels=24 * 40).shape == (24, 40, 3)
    assert code_of(data, max_pixels=24 * 40 - 1) == "image_too_large"


@pytest.mark.parametrize(
    "data",
    [
        jpeg_header(65_500, 65_500),
        png_header(100_000, 100_000) + png_chunk(b"IDAT", zlib.compress(bytes(1000))),
        png_header(2**31 - 1, 2**31 - 1) + png_chunk(b"IDAT", b""),
    ],
    ids=["jpeg", "png", "huge png"],
)
def test_a_bomb_is_refused_by_its_header_before_any_pixel_is_decoded(data: bytes) -> None:
    assert code_of(data) == "image_too_large"


def test_a_webp_canvas_of_a_terabyte_is_refused() -> None:
    assert code_of(webp_header(2**24, 2**8)) in ("image_too_large", "image_invalid")


def test_pillows_process_wide_limit_neither_matters_nor_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for file_format in ("JPEG", "PNG"):
        assert decode_image(encode(Image.fromarray(make_scene()), file_format)).shape == (24, 40, 3)
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP", b"iTXt"])
@pytest.mark.parametrize("is_last", [False, True])
def test_a_text_bomb_in_a_png_is_refused(kind: bytes, is_last: bool) -> None:
    body = b"key\0\1\0\0\0" if kind == b"iTXt" else b"key\0\0"
    bomb = png_chunk(kind, body + zlib.compress(bytes(50_000_000)))
    data = encode(Image.fromarray(make_scene()), "PNG")
    at = data.index(b"IEND" if is_last else b"IDAT") - 4
    try:
        image = decode_image(data[:at] + bomb + data[at:])
    except ImageError as refusal:
        assert refusal.code == "image_invalid"
    else:  # behind the pixels a profile is no longer looked at
        assert np.array_equal(image, make_scene())


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_half_a_file_is_truncated(file_format: str, share: float) -> None:
    data = encode(Image.open(BytesIO(grace_hopper_jpeg())), file_format)
    assert code_of(data[: int(len(data) * share)]) == "image_truncated"


def test_a_damaged_file_that_is_whole_is_invalid() -> None:
    data = bytearray(encode(Image.fromarray(make_scene()), "PNG"))
    at = data.index(b"IDAT") + 6
    data[at : at + 10] = bytes(10)
    assert code_of(bytes(data)) == "image_invalid"


def make_specimens() -> dict[str, bytes]:
    """One small valid file of every sort that takes its own way through a decoder."""
    scene = Image.fromarray(make_scene())
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [scene, scene.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    return {
        "jpeg": encode(scene, "JPEG", exif=exif, icc_profile=bytes(200)),
        "progressive": encode(scene, "JPEG", progressive=True),
        "cmyk": encode(scene.convert("CMYK"), "JPEG"),
        "png": encode(scene, "PNG", exif=exif),
        "palette": encode(scene.convert("P"), "PNG", transparency=3),
        "grey16": encode(Image.fromarray(make_scene()[:, :, 0].astype(np.uint16) * 257), "PNG"),
        "apng": encode(scene, "PNG", save_all=True, append_images=frames[1:]),
        "webp": encode(scene, "WEBP", exif=exif),
        "lossless": encode(scene.convert("RGBA"), "WEBP", lossless=True),
        "animated": encode(scene, "WEBP", save_all=True, append_images=frames[1:], duration=50),
    }


SPECIMENS = make_specimens()


def decode_or_refuse(data: bytes, needed_side_px: int | None = None) -> None:
    try:
        image = decode_reduced(data, needed_side_px=needed_side_px, max_pixels=1_000_000).image
    except ImageError as refusal:
        assert refusal.code.startswith("image_")
    else:
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3
        assert 0 < image.shape[0] * image.shape[1] <= 1_000_000


@pytest.mark.parametrize("name", SPECIMENS)
def test_a_file_cut_off_anywhere_is_refused_or_decoded(name: str) -> None:
    data = SPECIMENS[name]
    for length in range(len(data)):
        decode_or_refuse(data[:length])


def overwrite(data: bytearray, at: int, value: int) -> None:
    data[at] = value


def remove(data: bytearray, at: int, value: int) -> None:
    del data[at : at + value]


def repeat(data: bytearray, at: int, value: int) -> None:
    data[at:at] = data[at : at + value]


def fill(data: bytearray, at: int, value: int) -> None:
    data[at : at + 4] = bytes([value]) * 4


EDITS: list[Callable[[bytearray, int, int], None]] = [overwrite, remove, repeat, fill]


@settings(max_examples=1500)
@given(
    name=st.sampled_from(sorted(SPECIMENS)),
    needed_side_px=st.sampled_from([None, 20]),
    edits=st.lists(
        st.tuples(st.sampled_from(EDITS), st.floats(0, 1, exclude_max=True), st.integers(0, 255)),
        min_size=1,
        max_size=4,
    ),
)
def test_a_file_damaged_anywhere_is_refused_or_decoded(
    name: str, needed_side_px: int | None, edits: list[tuple[Callable[[bytearray, int, int], None], float, int]]
) -> None:
    data = bytearray(SPECIMENS[name])
    for edit, where, value in edits:
        if data:
            edit(data, int(where * len(data)), value)
    decode_or_refuse(bytes(data), needed_side_px)


@given(st.sampled_from([b"\xff\xd8\xff\xe0", PNG_SIGNATURE, b"RIFF\xff\0\0\0WEBPVP8 "]), st.binary(max_size=300))
def test_noise_behind_a_right_signature_is_refused(signature: bytes, noise: bytes) -> None:
    assert code_of(signature + noise) in ("image_truncated", "image_invalid", "image_too_large")


@pytest.mark.parametrize(
    ("needed_side_px", "size_wh"),
    [
        (None, (171, 201)),
        (202, (171, 201)),  # never enlarged
        (201, (171, 201)),
        (101, (171, 201)),  # a half of 201 is less
        (100, (86, 101)),  # half a pixel counts as one
        (51, (86, 101)),
        (50, (43, 51)),
        (25, (22, 26)),
        (1, (22, 26)),  # an eighth is the least there is
    ],
)
def test_a_jpeg_is_decoded_as_small_as_still_has_the_needed_side(
    needed_side_px: int | None, size_wh: tuple[int, int]
) -> None:
    for sort, data in make_jpegs().items():
        decoded = decode_reduced(data, needed_side_px=needed_side_px)
        assert decoded.image.shape == (size_wh[1], size_wh[0], 3), sort
        assert decoded.image.dtype == np.uint8
        assert decoded.full_wh == (171, 201)


@pytest.mark.parametrize("divisor", [2, 4, 8])
def test_a_reduced_picture_is_the_full_one_shrunk(divisor: int) -> None:
    reduced = decode_reduced(grace_hopper_jpeg(), needed_side_px=600 // divisor).image
    size_wh = 512 // divisor, 600 // divisor
    shrunk = cv2.resize(decode_image(grace_hopper_jpeg()), size_wh, interpolation=cv2.INTER_AREA)
    assert np.abs(reduced.astype(float) - shrunk).mean() < 1.0  # half a grey level was measured


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_picture_is_upright_and_so_is_its_full_size(orientation: int) -> None:
    photo = Image.open(BytesIO(grace_hopper_jpeg()))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(photo, "JPEG", exif=exif, quality=95)
    reduced, full = decode_reduced(data, needed_side_px=150), decode_image(data)
    assert reduced.full_wh == (full.shape[1], full.shape[0])
    shrunk = cv2.resize(full, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    assert np.abs(reduced.image.astype(float) - shrunk).mean() < 1.0
    assert reduced.image.flags.c_contiguous


def test_what_cannot_be_reduced_has_its_full_size() -> None:
    cmyk = encode(Image.open(BytesIO(grace_hopper_jpeg())).convert("CMYK"), "JPEG")
    others = [encode(Image.open(BytesIO(grace_hopper_jpeg())), file_format) for file_format in ("PNG", "WEBP")]
    for data in (cmyk, *others, grace_hopper_jpeg() + b"what a phone adds"):
        decoded = decode_reduced(data, needed_side_px=1)
        assert (decoded.image.shape[1], decoded.image.shape[0]) == decoded.full_wh == (512, 600)


def test_the_limits_hold_for_the_full_picture() -> None:
    data = grace_hopper_jpeg()
    with pytest.raises(ImageError, match="512 x 600") as refusal:
        decode_reduced(data, needed_side_px=1, max_pixels=512 * 600 - 1)
    assert refusal.value.code == "image_too_large"
    with pytest.raises(ImageError) as refusal:
        decode_reduced(data[: len(data) // 2], needed_side_px=1)
    assert refusal.value.code == "image_truncated"


def test_a_sample_of_a_reduced_picture_is_told_in_pixels_of_the_full_one() -> None:
    decoded = Decoded(np.zeros((150, 128, 3), np.uint8), full_wh=(512, 600))
    face = make_face(box_xyxy=(9.5, 19.5, 49.5, 69.5))  # forty pixels by fifty, edge to edge
    sample = make_sample(
        embedding=np.ones(4, np.float32) / 2, box_xyxy=(9.5, 19.5, 49.5, 69.5), quality=make_quality(size_px=40)
    )
    told = decoded.in_full(sample)
    assert told.face.box_xyxy.tolist() == [39.5, 79.5, 199.5, 279.5]
    np.testing.assert_allclose(told.face.landmarks, (face.landmarks + 0.5) * 4 - 0.5)
    assert (told.face.size_px, told.quality.size_px) == (160, 160)
    assert told.embedding is sample.embedding


def test_a_sample_of_a_picture_in_full_stays_as_it_is() -> None:
    sample = make_sample(embedding=np.ones(4, np.float32) / 2)
    assert Decoded(np.zeros((600, 512, 3), np.uint8), full_wh=(512, 600)).in_full(sample) is sample


def test_an_enlarged_picture_still_counts_in_the_pixels_of_the_one_that_was_sent() -> None:
    decoded = Decoded(np.zeros((100, 200, 3), np.uint8), full_wh=(200, 100)).enlarged(2.0)
    assert (decoded.image.shape, decoded.full_wh) == ((200, 400, 3), (200, 100))
    sample = make_sample(embedding=np.ones(4, np.float32) / 2, box_xyxy=(39.5, 19.5, 79.5, 69.5))
    assert decoded.in_full(sample).face.box_xyxy.tolist() == [19.5, 9.5, 39.5, 34.5]


@pytest.mark.parametrize(
    ("size_hw", "ratio", "enlarged_hw"),
    [((100, 200), 1.0, (100, 200)), ((1000, 2048), 3.0, (2000, 4096)), ((10, 5000), 3.0, (10, 5000))],
)
def test_a_picture_is_enlarged_no_further_than_the_detector_looks(
    size_hw: tuple[int, int], ratio: float, enlarged_hw: tuple[int, int]
) -> None:
    height, width = size_hw
    decoded = Decoded(np.zeros((height, width, 3), np.uint8), full_wh=(width, height))
    assert decoded.enlarged(ratio).image.shape[:2] == enlarged_hw
