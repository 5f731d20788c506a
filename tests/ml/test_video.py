"""Clips to upright RGB frames: friendly, damaged and hostile ones."""

import os
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ml.errors import VideoError
from ml.types import RgbImage
from ml.video import MIN_FRAMES_OF_A_DAMAGED_CLIP, VideoFrame, VideoInfo, VideoLimits, probe_video, read_frames
from tests.ml.faces import REPOSITORY, data_file
from tests.ml.videos import (
    CORNERS,
    FILE_TYPE,
    box,
    corners_of,
    full_box,
    gif_bytes,
    make_clip,
    make_clip_of_packets,
    make_frame,
    make_lying_mp4,
    make_noise,
    make_sound,
    number_of,
    with_bytes,
)

LIMITS = VideoLimits()
TENTHS = [tenth / 10 for tenth in range(1, 10)]
KINDS = ["mp4", "mov", "avi", "webm", "mkv", "gif"]
# The tables of an MP4 in front of the pictures, so that half a file is half a clip.
INDEX_FIRST = {"movflags": "faststart"}
# What an uneven camera might do: 12 frames, in seconds.
UNEVEN_S = [0.0, 0.1, 0.15, 0.5, 0.6, 1.2, 1.21, 1.3, 2.0, 2.5, 2.6, 4.0]
DATA_CLIPS = ["head-pose-face-detection-female", "head-pose-face-detection-male", "face-demographics-walking"]


def all_frames(path: Path, *, limits: VideoLimits = LIMITS, frames_per_second: float | None = None) -> list[VideoFrame]:
    return list(read_frames(path, limits, frames_per_second=frames_per_second))


def numbers(frames: list[VideoFrame]) -> list[int]:
    return [number_of(frame.image) for frame in frames]


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def code_of(path: Path, limits: VideoLimits = LIMITS) -> str:
    """What reading the whole clip is refused with."""
    with pytest.raises(VideoError) as refusal:
        all_frames(path, limits=limits)
    assert ": " in str(refusal.value), "it says what is wrong, and after the colon what to do"
    return refusal.value.code


def probe_code_of(path: Path, limits: VideoLimits = LIMITS) -> str:
    with pytest.raises(VideoError) as refusal:
        probe_video(path, limits)
    return refusal.value.code


def jpeg(image: RgbImage, **options: object) -> bytes:
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=95, **options)
    return file.getvalue()


# Good clips


@pytest.mark.parametrize(
    ("kind", "codec", "name"),
    [
        ("mp4", "libx264", "h264"),
        ("mp4", "libx265", "hevc"),
        ("mp4", "mpeg4", "mpeg4"),
        ("mov", "libx264", "h264"),
        ("mov", "h263", "h263"),
        ("avi", "mjpeg", "mjpeg"),
        ("avi", "mpeg4", "mpeg4"),
        ("webm", "libvpx", "vp8"),
        ("webm", "libvpx-vp9", "vp9"),
        ("webm", "libsvtav1", "av1"),
        ("mkv", "libx264", "h264"),
        ("gif", "gif", "gif"),
    ],
)
def test_every_container_and_codec_gives_its_frames_in_order(tmp_path: Path, kind: str, codec: str, name: str) -> None:
    path = make_clip(tmp_path / f"clip.{kind}", codec=codec)
    frames = all_frames(path)
    assert numbers(frames) == [frame.index for frame in frames] == list(range(12))
    assert [frame.time_s for frame in frames] == pytest.approx([n / 10 for n in range(12)])
    tolerance = 16 if kind == "gif" else 6  # its palette here has eight reds, eight greens and four blues
    assert np.abs(np.array(corners_of(frames[3].image)) - CORNERS).max() <= tolerance
    for frame in frames:
        assert frame.image.shape == (96, 128, 3)
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        assert frame.image.flags.writeable
    n_frames = None if kind in ("webm", "mkv") else 12
    expected = VideoInfo(128, 96, duration_s=1.2, fps=10.0, n_frames=n_frames, codec=name, container=kind)
    assert probe_video(path, LIMITS) == expected


def test_the_content_says_what_a_file_is_and_not_its_name(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.webm").rename(tmp_path / "photo.jpg")
    assert probe_video(path, LIMITS).container == "webm"
    assert numbers(all_frames(path)) == list(range(12))


@pytest.mark.parametrize("kind", ["mp4", "mov", "mkv", "webm"])
@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
@pytest.mark.parametrize("is_mirrored", [False, True])
def test_a_camera_held_any_way_gives_an_upright_picture(
    tmp_path: Path, kind: str, degrees: int, is_mirrored: bool
) -> None:
    shown = make_frame(77)
    unmirrored = shown[:, ::-1] if is_mirrored else shown
    stored = np.rot90(unmirrored, -degrees // 90)  # the player turns it back, anticlockwise
    path = make_clip(tmp_path / f"c.{kind}", frames=[stored], codec=None, display=(degrees, is_mirrored, False))
    (frame,) = all_frames(path)
    assert number_of(frame.image) == 77
    assert np.abs(np.array(corners_of(frame.image)) - CORNERS).max() <= 6
    assert frame.image.flags.c_contiguous
    info = probe_video(path, LIMITS)
    assert (info.width, info.height) == (128, 96)


def test_a_camera_that_is_upside_down_in_a_mirror_is_put_right(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "c.mp4", frames=[make_frame(77)[::-1]], display=(0, False, True))
    assert number_of(all_frames(path)[0].image) == 77
    assert np.abs(np.array(corners_of(all_frames(path)[0].image)) - CORNERS).max() <= 6


def test_motion_jpeg_with_exif_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # row 0 is on the right: stored turned by 90 degrees anticlockwise
    pictures = [jpeg(np.rot90(make_frame(n)).copy(), exif=exif) for n in range(3)]
    path = make_clip_of_packets(tmp_path / "c.avi", pictures)
    assert numbers(all_frames(path)) == [0, 1, 2]
    assert (probe_video(path, LIMITS).width, probe_video(path, LIMITS).height) == (128, 96)


@pytest.mark.parametrize("kind", KINDS)
def test_a_variable_frame_rate_keeps_its_times(tmp_path: Path, kind: str) -> None:
    path = make_clip(tmp_path / f"clip.{kind}", times_s=UNEVEN_S)
    frames = all_frames(path)
    assert numbers(frames) == list(range(12))
    assert [frame.time_s for frame in frames] == pytest.approx(UNEVEN_S, abs=0.001)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_picked_by_time_and_never_nearer_than_asked(tmp_path: Path, kind: str) -> None:
    path = make_clip(tmp_path / f"clip.{kind}", times_s=UNEVEN_S)
    picked = all_frames(path, frames_per_second=4)
    # At least 0.25 s after the one before: 0, 0.5, 1.2, 2.0, 2.5, 4.0.
    assert numbers(picked) == [frame.index for frame in picked] == [0, 3, 5, 8, 9, 11]
    assert all(b.time_s - a.time_s >= 0.249 for a, b in pairwise(picked))


def test_a_rate_that_divides_the_clips_picks_evenly(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", frames=60, fps=30)
    assert numbers(all_frames(path, frames_per_second=10)) == list(range(0, 60, 3))


def test_a_rate_above_the_clips_picks_every_frame(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4")
    assert numbers(all_frames(path, frames_per_second=1000)) == list(range(12))


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_rate_that_is_no_rate_is_a_programming_error(tmp_path: Path, rate: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        all_frames(make_clip(tmp_path / "clip.mp4"), frames_per_second=rate)


@pytest.mark.parametrize("kind", ["mp4", "mkv", "avi"])
def test_frames_stored_out_of_order_are_shown_in_order(tmp_path: Path, kind: str) -> None:
    options = {"preset": "medium", "bf": "3", "g": "30"}
    frames = all_frames(make_clip(tmp_path / f"clip.{kind}", frames=40, codec="libx264", options=options))
    assert numbers(frames) == list(range(40))
    times_s = [frame.time_s for frame in frames]
    assert times_s == sorted(times_s)
    tolerance_s = 0.3 if kind == "avi" else 0.001  # AVI has no times of its own
    assert times_s == pytest.approx([n / 10 for n in range(40)], abs=tolerance_s)


def test_time_starts_with_the_first_frame(tmp_path: Path) -> None:
    frames = all_frames(make_clip(tmp_path / "clip.mkv", frames=3, times_s=[7.0, 7.1, 7.2]))
    assert [frame.time_s for frame in frames] == pytest.approx([0.0, 0.1, 0.2])


def test_kept_frames_do_not_change_when_the_next_ones_come(tmp_path: Path) -> None:
    frames = all_frames(make_clip(tmp_path / "clip.mp4", frames=30))
    frames[0].image[:] = 0
    assert numbers(frames) == list(range(30))


def test_transparent_pixels_of_a_gif_are_white(tmp_path: Path) -> None:
    pictures = []
    for n in range(3):
        picture = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
        picture.paste((255, 0, 0, 255), (0, 0, 10 + n, 10))
        pictures.append(picture)
    frames = all_frames(write(tmp_path / "c.gif", gif_bytes(pictures, duration=100, disposal=2)))
    assert [frame.image[5, 5].tolist() for frame in frames] == [[255, 0, 0]] * 3
    assert [frame.image[20, 20].tolist() for frame in frames] == [[255, 255, 255]] * 3


def test_a_gif_that_stores_only_what_changes_gives_whole_frames(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (40, 30), "blue") for _ in range(4)]
    for n, picture in enumerate(pictures):
        picture.paste("lime", (n * 10, 0, n * 10 + 5, 5))
    frames = all_frames(write(tmp_path / "c.gif", gif_bytes(pictures, duration=100)))
    assert [frame.image[25, 35].tolist() for frame in frames] == [[0, 0, 255]] * 4
    assert [frame.image[2, n * 10 + 2].tolist() for n, frame in enumerate(frames)] == [[0, 255, 0]] * 4


@pytest.mark.parametrize("kind", ["mp4", "webm", "avi", "gif"])
def test_one_frame_is_a_clip(tmp_path: Path, kind: str) -> None:
    path = make_clip(tmp_path / f"clip.{kind}", frames=[make_frame(9)])
    assert numbers(all_frames(path, frames_per_second=5)) == [9]


def test_names_that_are_not_text_do_not_cost_the_clip(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", title="cafés")
    write(path, path.read_bytes().replace("és".encode(), b"\xff\xfe\xff"))
    assert numbers(all_frames(path)) == list(range(12))


def test_nothing_is_opened_before_the_first_frame_and_the_file_is_closed_with_the_iterator(tmp_path: Path) -> None:
    missing = read_frames(tmp_path / "missing.mp4", LIMITS, frames_per_second=None)
    with pytest.raises(FileNotFoundError):
        next(missing)
    path = make_clip(tmp_path / "clip.mp4")
    frames = read_frames(path, LIMITS, frames_per_second=None)
    assert next(frames).index == 0
    assert str(path) in open_files()
    frames.close()  # type: ignore[attr-defined]
    assert str(path) not in open_files()


def test_a_file_that_is_removed_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4")
    frames = read_frames(path, LIMITS, frames_per_second=None)
    first = next(frames)
    path.unlink()
    assert numbers([first, *frames]) == list(range(12))


def open_files() -> list[str]:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("no /proc to see the open files in")
    return [str(fd.readlink()) for fd in folder.iterdir() if fd.is_symlink()]


# What is no clip


def test_no_bytes_are_an_empty_file(tmp_path: Path) -> None:
    assert code_of(write(tmp_path / "clip.mp4", b"")) == "video_empty"
    assert probe_code_of(tmp_path / "clip.mp4") == "video_empty"


@pytest.mark.parametrize(
    "data",
    [
        jpeg(make_frame(0)),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        FILE_TYPE.replace(b"isom", b"heic") + bytes(100),
        b"RIFF\xff\0\0\0WAVEfmt " + bytes(100),
        b"RIFF\xff\0\0\0WEBPVP8 " + bytes(100),
        b"#EXTM3U\n#EXTINF:1,\nclip.mp4\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile clip.mp4\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
        b"1\n00:00:00,000 --> 00:00:01,000\nhello\n",
        b"<?xml version='1.0'?><MPD/>",
        b"hello",
        b"\0",
    ],
    ids=["jpeg", "png", "heic", "wav", "webp", "hls", "concat", "sdp", "srt", "dash", "text", "zero"],
)
def test_what_is_no_video_is_not_supported_whatever_its_name(tmp_path: Path, data: bytes) -> None:
    make_clip(tmp_path / "clip.mp4")
    path = write(tmp_path / "upload.mp4", data)
    assert code_of(path) == probe_code_of(path) == "video_type_unsupported"


@pytest.mark.parametrize(("kind", "codec"), [("mov", "png"), ("mkv", "ffv1"), ("avi", "ffvhuff")])
def test_codecs_that_no_phone_writes_are_not_supported(tmp_path: Path, kind: str, codec: str) -> None:
    assert code_of(make_clip(tmp_path / f"clip.{kind}", codec=codec)) == "video_type_unsupported"


def test_sound_alone_has_no_frames(tmp_path: Path) -> None:
    assert code_of(make_sound(tmp_path / "a.mp4")) == "video_no_frames"


def test_the_cover_of_a_song_is_not_a_film(tmp_path: Path) -> None:
    assert code_of(make_sound(tmp_path / "a.mp4", cover=jpeg(make_frame(0)))) == "video_no_frames"


def test_a_clip_without_a_frame_has_no_frames(tmp_path: Path) -> None:
    assert code_of(write(tmp_path / "c.mp4", make_lying_mp4(n_samples=0))) == "video_no_frames"


# Damage


@pytest.mark.parametrize(
    ("kind", "codec"),
    [
        ("mp4", "libx264"),
        ("mov", "libx265"),
        ("mp4", "mpeg4"),
        ("avi", "mjpeg"),
        ("webm", "libvpx-vp9"),
        ("gif", "gif"),
    ],
)
def test_a_clip_cut_off_at_any_tenth_gives_the_good_frames_before_the_cut(
    tmp_path: Path, kind: str, codec: str
) -> None:
    muxer_options = INDEX_FIRST if kind in ("mp4", "mov") else {}
    path = make_clip(tmp_path / f"c.{kind}", frames=make_noise(40), codec=codec, muxer_options=muxer_options)
    whole, data = all_frames(path), path.read_bytes()
    counts = []
    for share in TENTHS:
        cut = write(tmp_path / "cut", data[: int(share * len(data))])
        frames, code = frames_and_code(cut)
        counts.append(len(frames))
        assert (code is None) == (len(frames) >= MIN_FRAMES_OF_A_DAMAGED_CLIP)
        assert code in (None, "video_truncated")
        for frame in frames:  # of frames stored out of order, one may lie behind the cut and a later one before it
            assert np.array_equal(frame.image, whole[round(frame.time_s * 10)].image)
    assert counts == sorted(counts)
    assert counts[4] >= 15
    assert counts[-1] >= 30


def frames_and_code(path: Path) -> tuple[list[VideoFrame], str | None]:
    frames = []
    try:
        for frame in read_frames(path, LIMITS, frames_per_second=None):
            frames.append(frame)
    except VideoError as refusal:
        return frames, refusal.code
    return frames, None


@pytest.mark.parametrize("share", TENTHS)
def test_an_mp4_that_has_lost_its_index_is_truncated(tmp_path: Path, share: float) -> None:
    data = make_clip(tmp_path / "c.mp4", frames=make_noise(40)).read_bytes()
    path = write(tmp_path / "cut.mp4", data[: int(share * len(data))])
    assert code_of(path) == probe_code_of(path) == "video_truncated"


@pytest.mark.parametrize("share", TENTHS)
@pytest.mark.parametrize("name", ["street-1080p.mp4", "head-pose-face-detection-female.mp4"])
def test_a_real_clip_cut_off_anywhere_is_read_or_refused(tmp_path: Path, name: str, share: float) -> None:
    data = data_file(f"videos/{name}").read_bytes()
    frames, code = frames_and_code(write(tmp_path / "cut.mp4", data[: int(share * len(data))]))
    assert (code is None) == (len(frames) >= MIN_FRAMES_OF_A_DAMAGED_CLIP)
    assert code in (None, "video_truncated")


def jpegs_with_rubbish(n: int, rubbish: range) -> Iterator[bytes]:
    for number in range(n):
        yield b"\xff\xd8rubbish" if number in rubbish else jpeg(make_frame(number % 256))


def test_a_frame_that_does_not_decode_is_skipped(tmp_path: Path) -> None:
    path = make_clip_of_packets(tmp_path / "c.avi", list(jpegs_with_rubbish(12, range(4, 6))))
    frames = all_frames(path)
    assert numbers(frames) == [0, 1, 2, 3, 6, 7, 8, 9, 10, 11]
    assert [frame.index for frame in frames] == list(range(10))
    assert frames[4].time_s == pytest.approx(0.6)


def test_the_clip_goes_on_after_many_lost_frames_but_not_after_too_many(tmp_path: Path) -> None:
    many = make_clip_of_packets(tmp_path / "many.avi", list(jpegs_with_rubbish(262, range(6, 256))), fps=30)
    assert len(all_frames(many)) == 12
    too_many = make_clip_of_packets(tmp_path / "too_many.avi", list(jpegs_with_rubbish(262, range(6, 257))), fps=30)
    assert len(all_frames(too_many)) == 6


@pytest.mark.parametrize("n_good", [MIN_FRAMES_OF_A_DAMAGED_CLIP - 1, MIN_FRAMES_OF_A_DAMAGED_CLIP])
def test_a_damaged_clip_needs_some_good_frames(tmp_path: Path, n_good: int) -> None:
    path = make_clip_of_packets(tmp_path / "c.avi", list(jpegs_with_rubbish(12, range(n_good, 12))))
    frames, code = frames_and_code(path)
    assert len(frames) == n_good
    assert code == ("video_invalid" if n_good < MIN_FRAMES_OF_A_DAMAGED_CLIP else None)
    assert probe_video(path, LIMITS).codec == "mjpeg"


def test_what_builds_on_a_lost_frame_is_left_out_up_to_the_next_key_frame(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "c.mp4", frames=make_noise(40), codec="mpeg4", options={"g": "10"})
    whole, data = all_frames(path), bytearray(path.read_bytes())
    at = data.index(b"mdat") + 4 + int(0.37 * (data.index(b"moov") - data.index(b"mdat")))
    data[at : at + 200] = b"\xa5" * 200
    frames = all_frames(write(path, bytes(data)))
    intact = {frame.image.tobytes() for frame in whole}
    assert all(frame.image.tobytes() in intact for frame in frames)
    assert 25 <= len(frames) < 40
    assert np.array_equal(frames[-1].image, whole[-1].image)


# Limits, and headers that lie


@pytest.mark.parametrize(
    ("exact", "one_less"),
    [
        (VideoLimits(max_pixels=128 * 96), VideoLimits(max_pixels=128 * 96 - 1)),
        (VideoLimits(max_frames=12), VideoLimits(max_frames=11)),
        (VideoLimits(max_total_pixels=12 * 128 * 96), VideoLimits(max_total_pixels=12 * 128 * 96 - 1)),
        (VideoLimits(max_frames_per_second=10), VideoLimits(max_frames_per_second=9.9)),
        (VideoLimits(max_seconds=1.2), VideoLimits(max_seconds=1.1)),
    ],
    ids=["pixels", "frames", "total pixels", "rate", "seconds"],
)
@pytest.mark.parametrize("kind", ["mp4", "webm", "avi", "gif"])
def test_every_limit_is_the_most_that_is_accepted(
    tmp_path: Path, kind: str, exact: VideoLimits, one_less: VideoLimits
) -> None:
    path = make_clip(tmp_path / f"clip.{kind}")
    assert len(all_frames(path, limits=exact)) == 12
    assert code_of(path, one_less) == "video_too_large"


def test_the_byte_limit_is_the_longest_file_accepted(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4")
    n_bytes = path.stat().st_size
    assert len(all_frames(path, limits=VideoLimits(max_bytes=n_bytes))) == 12
    assert code_of(path, VideoLimits(max_bytes=n_bytes - 1)) == "video_too_large"


def test_a_clip_longer_than_its_header_says_ends_at_the_limit(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mkv", times_s=UNEVEN_S)
    data = path.read_bytes()
    declared = data.index(b"\x44\x89\x88") + 3  # Matroska, Duration: a float of 8 bytes, in ms
    write(path, data[:declared] + np.array(1000.0, ">f8").tobytes() + data[declared + 8 :])
    assert probe_video(path, LIMITS).duration_s == pytest.approx(1.0)
    assert code_of(path, VideoLimits(max_seconds=2.0)) == "video_too_large"


def lie(tmp_path: Path, kind: str, after: bytes, offset: int, new: bytes) -> Path:
    path = make_clip(tmp_path / f"honest.{kind}")
    return write(tmp_path / f"lie.{kind}", with_bytes(path.read_bytes(), after, offset, new))


def test_ten_thousand_frames_a_second_are_refused(tmp_path: Path) -> None:
    honest = make_clip(tmp_path / "c.mp4").read_bytes()
    at = honest.index(b"mdhd") + 16
    scale = int.from_bytes(honest[at : at + 4])
    mp4 = lie(tmp_path, "mp4", b"mdhd", 12, (scale * 1000).to_bytes(4))
    avi = lie(tmp_path, "avi", b"strh", 24, np.array([1, 10_000], "<u4").tobytes())
    for path in (mp4, avi):
        assert code_of(path) == probe_code_of(path) == "video_too_large"


@pytest.mark.parametrize(
    ("kind", "after", "offset", "new"),
    [
        ("webm", b"\x44\x89", 1, np.array(1e15, ">f8").tobytes()),  # Duration
        ("avi", b"strh", 36, b"\xff\xff\xff\x7f"),  # number of frames
        ("gif", b"GIF89a", 0, np.array([10_000, 10_000], "<u2").tobytes()),  # size of the page
    ],
    ids=["webm lasts for ages", "avi lasts for ages", "gif of 100 megapixels"],
)
def test_a_header_beyond_the_limits_is_refused_before_anything_is_decoded(
    tmp_path: Path, kind: str, after: bytes, offset: int, new: bytes
) -> None:
    path = lie(tmp_path, kind, after, offset, new)
    assert code_of(path) == probe_code_of(path) == "video_too_large"


@pytest.mark.parametrize(
    ("kind", "after", "offset", "new"),
    [
        ("avi", b"RIFF", 0, b"\xff\xff\xff\xff"),  # a file of 4 GB
        ("avi", b"strf", 8, b"\x60\xea\0\0\x60\xea\0\0"),  # 60 000 x 60 000, which the pictures in it are not
        ("mp4", b"tkhd", 76, b"\xff\xff\0\0\xff\xff\0\0"),  # to be shown on 65 535 x 65 535
        ("mp4", b"mvhd", 16, b"\x7f\xff\xff\xff"),  # a film of 25 days, with tracks of a second
    ],
    ids=["avi of 4 GB", "avi of 3600 megapixels", "mp4 shown large", "mp4 of 25 days"],
)
def test_a_lie_that_the_frames_disprove_is_forgiven(
    tmp_path: Path, kind: str, after: bytes, offset: int, new: bytes
) -> None:
    path = lie(tmp_path, kind, after, offset, new)
    assert numbers(all_frames(path)) == list(range(12))
    assert (probe_video(path, LIMITS).width, probe_video(path, LIMITS).height) == (128, 96)


def test_an_mp4_that_declares_four_gigabytes_of_pictures_is_truncated(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "c.mp4")
    at = path.read_bytes().index(b"mdat") - 4
    write(path, path.read_bytes()[:at] + b"\xff\xff\xff\xff" + path.read_bytes()[at + 4 :])
    assert code_of(path) == probe_code_of(path) == "video_truncated"


BOMBS = {
    "85 bytes for a list of 250 million names": FILE_TYPE
    + box(
        b"moov",
        box(b"meta", full_box(b"hdlr", bytes(4), b"mdta", bytes(13)), full_box(b"keys", (250_000_000).to_bytes(4))),
    ),
    "4 kB for 8 indexes of 80 million frames": make_lying_mp4(n_samples=80_000_000, n_tracks=8),
    "6 kB for 12 indexes of 1.9 million frames": make_lying_mp4(n_samples=1_900_000, n_tracks=12),
    "a table that shows 10 000 frames 20 000 times": make_lying_mp4(
        n_samples=10_000, sample_bytes=1, n_edits=20_000, data=bytes(20_000)
    ),
    "40 000 frames of 100 kB in one place": make_lying_mp4(n_samples=40_000, sample_bytes=100_000, data=bytes(100_000)),
    "a frame of 4295 megapixels": make_lying_mp4(n_samples=1, side_px=65_535, data=bytes(1000)),
    "900 tracks": make_lying_mp4(n_samples=1, n_tracks=900),
}
# A process of its own, whose memory nothing else has touched. `VmHWM` is what it ever held at most.
MEASURE = """
import sys, time
from pathlib import Path
from ml.errors import VideoError
from ml.video import VideoLimits, read_frames

def peak_mb():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024

before = peak_mb()
for name in sys.argv[1:]:
    started, said = time.monotonic(), "ok"
    try:
        for frame in read_frames(Path(name), VideoLimits(), frames_per_second=None):
            pass
    except VideoError as error:
        said = error.code
    print(said, time.monotonic() - started, peak_mb() - before)
"""


def measure(*paths: Path) -> list[tuple[str, float, float]]:
    """For each clip: what reading it ended with, in how many seconds, and the peak in MB up to there."""
    if not Path("/proc/self/status").is_file():
        pytest.skip("no /proc to read the memory from")
    command = [sys.executable, "-W", "error", "-c", MEASURE, *map(str, paths)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY, env=environment)
    rows = [line.split() for line in done.stdout.splitlines()]
    return [(code, float(seconds), float(peak)) for code, seconds, peak in rows]


def test_tables_that_declare_gigabytes_cost_neither_memory_nor_time(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{n}.mp4", data) for n, data in enumerate(BOMBS.values())]
    for name, (code, seconds, peak_mb) in zip(BOMBS, measure(*paths), strict=True):
        assert code in ("video_invalid", "video_no_frames", "video_too_large"), name
        assert seconds < 20, name  # milliseconds; without the bounds minutes, or the end of the process
        assert peak_mb < 1000, name  # without the bounds 1.9 GB and more


def test_memory_does_not_grow_with_the_length_of_the_clip(tmp_path: Path) -> None:
    pictures = [make_frame(n, width=320, height=240) for n in range(20)]
    short = make_clip(tmp_path / "short.gif", frames=pictures[:10])
    long = make_clip(tmp_path / "long.gif", frames=pictures * 20)
    ((_, _, short_mb),) = measure(short)
    ((_, _, long_mb),) = measure(long)
    assert long_mb < short_mb + 20  # 400 frames are 122 MB as FFmpeg holds them


SPECIMENS = ["mp4", "avi", "webm", "gif"]


@pytest.fixture(scope="module")
def specimens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("specimens")
    return {kind: make_clip(folder / f"c.{kind}", display=(90, False, False)).read_bytes() for kind in SPECIMENS}


@settings(max_examples=600)
@given(
    kind=st.sampled_from(SPECIMENS),
    edits=st.lists(
        st.tuples(
            st.floats(0, 1, exclude_max=True), st.booleans(), st.binary(min_size=1, max_size=8), st.integers(0, 40)
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_a_file_damaged_anywhere_is_read_or_refused(
    specimens: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    edits: list[tuple[float, bool, bytes, int]],
) -> None:
    data = specimens[kind]
    for where, is_in_the_header, new, n_removed in edits:
        at = int(where * (min(len(data), 900) if is_in_the_header else len(data)))
        data = data[:at] + new + data[at + n_removed :]
    frames, code = frames_and_code(write(tmp_path_factory.getbasetemp() / "damaged", data))
    assert code is None or code.startswith("video_")
    assert frames or code
    assert all(frame.image.ndim == 3 and frame.image.shape[2] == 3 for frame in frames)


@given(
    signature=st.sampled_from(
        [FILE_TYPE, b"RIFF\xff\xff\0\0AVI LIST", b"\x1a\x45\xdf\xa3", b"GIF89a", b"\0\0\0\x08moov"]
    ),
    noise=st.binary(max_size=300),
)
def test_noise_behind_a_right_signature_is_refused(
    tmp_path_factory: pytest.TempPathFactory, signature: bytes, noise: bytes
) -> None:
    path = write(tmp_path_factory.getbasetemp() / "noise", signature + noise)
    frames, code = frames_and_code(path)
    assert not frames
    assert code in ("video_invalid", "video_truncated", "video_no_frames", "video_too_large")


# Real clips


@pytest.mark.parametrize("name", DATA_CLIPS)
def test_the_development_clips_give_the_same_frames_as_mp4_and_as_gif(name: str) -> None:
    from_mp4 = all_frames(data_file(f"videos/{name}.mp4"))
    from_gif = all_frames(data_file(f"videos/{name}.gif"))
    assert len(from_mp4) == len(from_gif) == probe_video(data_file(f"videos/{name}.mp4"), LIMITS).n_frames
    assert from_mp4[0].image.shape == (270, 480, 3)
    assert from_mp4[1].time_s == pytest.approx(0.08)
    for a, b in zip(from_mp4, from_gif, strict=True):
        assert np.abs(a.image.astype(int) - b.image).mean() < 12  # 256 colours, dithered


def test_a_street_in_1080p_decodes_as_opencv_decodes_it() -> None:
    path = data_file("videos/street-1080p.mp4")
    video = cv2.VideoCapture(str(path))
    frames = read_frames(path, LIMITS, frames_per_second=None)
    for _ in range(10):
        bgr = video.read()[1]
        assert np.abs(next(frames).image.astype(int) - bgr[:, :, ::-1]).mean() < 1.0
    info = probe_video(path, LIMITS)
    assert (info.width, info.height, info.n_frames, info.codec) == (1920, 1080, 105, "h264")


def test_the_street_at_five_frames_a_second_is_every_fifth_frame() -> None:
    picked = all_frames(data_file("videos/street-1080p.mp4"), frames_per_second=5)
    assert [frame.index for frame in picked] == list(range(0, 105, 5))
