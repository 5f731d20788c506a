"""Clips made for the tests: moving pictures that say which frame they are and which way is up, and files that lie."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np

from ml.types import RgbImage

# The corners of every frame: top left, top right, bottom left, bottom right. No symmetry, and no two alike.
CORNERS = [[230, 20, 20], [20, 200, 20], [20, 20, 230], [230, 230, 20]]
N_BITS = 8
TICK = Fraction(1, 1000)
MUXERS = {"mp4": "mp4", "mov": "mov", "avi": "avi", "webm": "webm", "mkv": "matroska", "gif": "gif"}
USUAL_CODECS = {
    "mp4": "libx264",
    "mov": "libx264",
    "avi": "mjpeg",
    "webm": "libvpx-vp9",
    "mkv": "libx264",
    "gif": "gif",
}
PIXELS = {"mjpeg": "yuvj420p", "gif": "rgb8", "png": "rgb24", "libx264rgb": "rgb24"}
FAST = {
    "libx264": {"preset": "ultrafast", "crf": "10"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "10", "b": "0"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8", "b": "2000000"},
    "libsvtav1": {"preset": "8", "crf": "10"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "mpeg4": {"b": "2000000"},
}


def make_frame(number: int, *, width: int = 128, height: int = 96) -> RgbImage:
    """Four corners in `CORNERS`, and across the middle the number in eight squares: white is 1, highest bit left."""
    image = np.full((height, width, 3), 128, dtype=np.uint8)
    top, left = height // 3, width // 3
    image[:top, :left], image[:top, -left:] = CORNERS[0], CORNERS[1]
    image[-top:, :left], image[-top:, -left:] = CORNERS[2], CORNERS[3]
    for bit in range(N_BITS):
        square = slice(bit * width // N_BITS, (bit + 1) * width // N_BITS)
        image[top:-top, square] = 255 * (number >> (N_BITS - 1 - bit) & 1)
    return image


def make_noise(n: int, *, width: int = 128, height: int = 96) -> list[RgbImage]:
    """Frames that do not compress: every packet is long, so that a cut hits a picture and not a header."""
    noise = np.random.default_rng(0).integers(0, 256, (n, height // 4, width // 4, 3), dtype=np.uint8)
    return list(noise.repeat(4, axis=1).repeat(4, axis=2))


def number_of(image: RgbImage) -> int:
    """The number that `make_frame` drew, read from an upright picture."""
    height, width = image.shape[:2]
    centres = [(2 * bit + 1) * width // (2 * N_BITS) for bit in range(N_BITS)]
    bits = [int(image[height // 2, x].mean() > 128) for x in centres]
    return sum(bit << (N_BITS - 1 - i) for i, bit in enumerate(bits))


def corners_of(image: RgbImage) -> list[list[int]]:
    """The mean colours of the four corners, in the order of `CORNERS`."""
    height, width = image.shape[0] // 4, image.shape[1] // 4
    rows, columns = (slice(height), slice(-height, None)), (slice(width), slice(-width, None))
    return [image[y, x].mean(axis=(0, 1)).round().astype(int).tolist() for y in rows for x in columns]


def make_clip(
    path: Path,
    *,
    frames: Sequence[RgbImage] | int = 12,
    times_s: Sequence[float] | None = None,
    fps: int = 10,
    codec: str | None = None,
    options: dict[str, str] | None = None,
    muxer_options: dict[str, str] | None = None,
    display: tuple[int, bool, bool] | None = None,
    title: str | None = None,
) -> Path:
    """Write a clip in the container that the suffix of `path` names.

    `frames` may be a number of frames; `times_s` makes their rate variable; `display` says how a player has to turn the
    stored pictures: degrees anticlockwise, then mirrored left to right, then upside down.
    """
    kind = path.suffix[1:]
    codec = codec or USUAL_CODECS[kind]
    images = [make_frame(number) for number in range(frames)] if isinstance(frames, int) else list(frames)
    with av.open(str(path), "w", format=MUXERS[kind], options=muxer_options or {}) as file:
        if title is not None:
            file.metadata["title"] = title
        stream = file.add_stream(codec, rate=fps, options=FAST.get(codec, {}) | (options or {}))
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = PIXELS.get(codec, "yuv420p")
        if display is not None:
            stream.set_display_rotation(display[0], hflip=display[1], vflip=display[2])
        if times_s is not None:
            stream.codec_context.time_base = TICK
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            if times_s is not None:
                frame.time_base, frame.pts = TICK, round(times_s[number] / TICK)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def make_clip_of_packets(path: Path, packets: Sequence[bytes], *, fps: int = 10) -> Path:
    """Put coded pictures (JPEG) into an AVI as they are."""
    with av.open(str(path), "w", format="avi") as file:
        stream = file.add_stream("mjpeg", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuvj420p"
        for number, data in enumerate(packets):
            packet = av.Packet(data)
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, fps), number, number
            packet.is_keyframe = True
            file.mux(packet)
    return path


def make_sound(path: Path, *, cover: bytes | None = None) -> Path:
    """Half a second of silence in an MP4, with or without a cover picture (JPEG)."""
    with av.open(str(path), "w", format="mp4") as file:
        sound = file.add_stream("aac", rate=16000, layout="mono")
        picture = None
        if cover is not None:
            picture = file.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = 128, 96, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
        for start in range(0, 8192, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            file.mux(sound.encode(frame))
        file.mux(sound.encode(None))
        if picture is not None:
            packet = av.Packet(cover)
            packet.stream, packet.pts, packet.dts, packet.time_base = picture, 0, 0, Fraction(1, 1)
            file.mux(packet)
    return path


def gif_bytes(frames: Sequence[object], **options: object) -> bytes:
    """Pillow's pictures as an animated GIF."""
    file = BytesIO()
    first, *rest = frames
    first.save(file, "GIF", save_all=True, append_images=rest, **options)  # type: ignore[attr-defined]
    return file.getvalue()


def with_bytes(data: bytes, after: bytes, offset: int, new: bytes) -> bytes:
    """`data` with `new` written `offset` bytes behind the end of the first `after`."""
    at = data.index(after) + len(after) + offset
    return data[:at] + new + data[at + len(new) :]


def box(kind: bytes, *content: bytes) -> bytes:
    """ISO/IEC 14496-12, 4.2."""
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full_box(kind: bytes, *content: bytes) -> bytes:
    return box(kind, bytes(4), *content)


FILE_TYPE = box(b"ftyp", b"isom", bytes(4), b"isom")


def make_lying_mp4(
    *, n_samples: int, sample_bytes: int = 10, n_tracks: int = 1, n_edits: int = 0, side_px: int = 96, data: bytes = b""
) -> bytes:
    """An MP4 whose tables declare what they like: `n_samples` of one size, in one chunk, for every track."""
    movie_header = full_box(b"mvhd", struct.pack(">4I", 0, 0, 1000, 1000), bytes(80))
    chunk_at = len(FILE_TYPE) + 8
    tracks = [_lying_track(i + 1, n_samples, sample_bytes, n_edits, side_px, chunk_at) for i in range(n_tracks)]
    return FILE_TYPE + box(b"mdat", data) + box(b"moov", movie_header, *tracks)


def _lying_track(number: int, n_samples: int, sample_bytes: int, n_edits: int, side_px: int, chunk_at: int) -> bytes:
    upright = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    header = full_box(b"tkhd", struct.pack(">5I", 0, 0, number, 0, 1000), bytes(16), upright, bytes(8))
    edits = full_box(b"elst", struct.pack(">I", n_edits), struct.pack(">3I", n_samples, 0, 1 << 16) * n_edits)
    media_header = full_box(b"mdhd", struct.pack(">4I2H", 0, 0, 1000, 1000, 0, 0))
    handler = full_box(b"hdlr", bytes(4), b"vide", bytes(13))
    picture = struct.pack(">2H2I4xH", side_px, side_px, 72 << 16, 72 << 16, 1) + bytes(32) + struct.pack(">Hh", 24, -1)
    entry = box(b"avc1", bytes(6), b"\0\1", bytes(16), picture)
    table = box(
        b"stbl",
        full_box(b"stsd", struct.pack(">I", 1), entry),
        full_box(b"stts", struct.pack(">3I", 1, n_samples, 1)),
        full_box(b"stsc", struct.pack(">4I", 1, 1, n_samples, 1)),
        full_box(b"stsz", struct.pack(">2I", sample_bytes, n_samples)),
        full_box(b"stco", struct.pack(">2I", 1, chunk_at)),
    )
    here = full_box(b"dref", struct.pack(">I", 1), box(b"url ", b"\0\0\0\1"))
    media = box(b"minf", full_box(b"vmhd", bytes(8)), box(b"dinf", here), table)
    return box(b"trak", header, box(b"edts", edits), box(b"mdia", media_header, handler, media))
