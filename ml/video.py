"""A clip to upright RGB frames, one at a time: the arrow in front of `ml.detection` when the upload is a video.

PyAV decodes, and every file may be hostile: the container is told by the first bytes and its reader named to FFmpeg, so
that no playlist, concatenation, image sequence or subtitle reader can be reached; FFmpeg gets an open file and may open
no other; only the codecs of phones, cameras and browsers are decoded.
"""

import ctypes
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Discard, Disposition
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from ml.containers import HEAD_BYTES, is_cut_off, sniff_container
from ml.errors import VideoError
from ml.types import RgbImage

# Our name for a container, and FFmpeg's for the one reader that may look at it.
_READERS: Final = {"mp4": "mov", "mov": "mov", "avi": "avi", "webm": "matroska", "mkv": "matroska", "gif": "gif"}
# FFmpeg's name for a decoder, and everybody's for the codec.
_CODECS: Final = {
    "h264": "h264",
    "hevc": "hevc",
    "vp8": "vp8",
    "vp9": "vp9",
    "libdav1d": "av1",
    "mpeg4": "mpeg4",
    "mjpeg": "mjpeg",
    "gif": "gif",
    "h263": "h263",
}
_NOT_A_FILM: Final = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
# One for each pose that an enrolment looks for: fewer than that, and the rest of a damaged clip is of no use.
MIN_FRAMES_OF_A_DAMAGED_CLIP: Final = 5
# x264 puts a key frame at least every 250 frames: when none has come by then, the rest cannot be relied on.
_MAX_LOST_IN_A_ROW: Final = 250
# Picture, sound, and what phones and action cameras add (metadata, time code, depth) make eight or so.
_MAX_STREAMS: Final = 12
# Above any packet or index of a clip within the limits, and far below the 1.9 GB that 85 bytes could make FFmpeg take.
_MIN_ALLOCATION_LIMIT_BYTES: Final = 40 * 2**20
_WIDEST_PIXEL_BYTES: Final = 5  # GIF has four in one block, and rows are padded
_READ_BYTES: Final = 64 * 2**10
# A file is read once, and a little more to find its index; hostile tables name the same bytes a million times.
_MAX_TIMES_READ: Final = 8
_ROUNDING_S: Final = 1e-6  # in binary, 0.3 - 0.2 < 0.1
_Matrix: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class VideoLimits:
    """What is accepted; more is refused by the header where it says so, and at the frame that goes beyond otherwise.

    `max_bytes`: three minutes of 4K as phones film it (HEVC, 30 frames/s), ten of a street camera's 1080p are 345 MB.
    `max_seconds`: an enrolment takes ten seconds, a clip to be searched ten minutes; half as much again. `max_pixels`
    of a frame: 4K as wide as in cinemas. `max_frames`: 60 a second for `max_seconds`. `max_total_pixels`: that many
    frames of 1920 x 1080, which bounds the time (measured: 250 to 330 million pixels/s on one core, so eight minutes).
    `max_frames_per_second`: the slow motion of phones is filmed at up to 960.
    """

    max_bytes: int = 500_000_000
    max_seconds: float = 900.0
    max_pixels: int = 4096 * 2304
    max_frames: int = 54_000
    max_total_pixels: int = 54_000 * 1920 * 1080
    max_frames_per_second: float = 1000.0


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a clip is: `width` and `height` in px of its first frame, upright.

    `duration_s`, `fps` and `n_frames` are what the header says, None where it says nothing: good for a progress bar.
    `codec`: h264, hevc, vp8, vp9, av1, mpeg4, mjpeg, gif, h263. `container`: mp4, mov, avi, webm, mkv, gif.
    """

    width: int
    height: int
    duration_s: float | None
    fps: float | None
    n_frames: int | None
    codec: str
    container: str


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrame:
    """One frame: `index` among the good ones, `time_s` since the first of them, `image (H, W, 3)` upright RGB."""

    index: int
    time_s: float
    image: RgbImage


@dataclass(frozen=True, slots=True, eq=False)
class _Clip:
    raw: BinaryIO
    container: str
    file: InputContainer
    stream: VideoStream
    limits: VideoLimits


def probe_video(path: Path, limits: VideoLimits) -> VideoInfo:
    """What the clip is, told by its content and not by its name: opened, and decoded up to its first good frame.

    Args:
        path: a file on this machine.
        limits: what is accepted.

    Returns:
        The clip's properties. Damage behind the first good frame is not noticed here.

    Raises:
        VideoError: whatever is wrong with the file, its `code` says what kind of wrong.
    """
    with _open_clip(path, limits) as clip:
        frame = next(_good_frames(clip))
        is_on_its_side = _swaps_axes(_display_matrix(frame))
        return VideoInfo(
            width=frame.height if is_on_its_side else frame.width,
            height=frame.width if is_on_its_side else frame.height,
            duration_s=_duration_s(clip.file, clip.stream),
            fps=float(clip.stream.average_rate) if clip.stream.average_rate else None,
            n_frames=clip.stream.frames or None,
            codec=_CODECS[clip.stream.codec_context.name],
            container=clip.container,
        )


def read_frames(path: Path, limits: VideoLimits, *, frames_per_second: float | None) -> Iterator[VideoFrame]:
    """Decode a clip frame by frame, holding one at a time however long it is.

    Frames are picked by the time at which they are shown, so that a variable frame rate makes no difference, and only
    the picked ones become RGB. Rotation and mirroring are undone; transparent pixels of a GIF become white. Colours go
    by the matrix and range that the clip names, or else by BT.601 as in OpenCV; HDR is not toned down, and pixels are
    taken to be square. There is one decoding thread: a file gives the same frames every time, and the other cores are
    left to the networks.

    A damaged clip gives what is good in it. A frame that does not decode is left out with all that build on it, up to
    the next key frame; a clip that is cut off ends where it was cut. What was filmed until then is worth as much as a
    shorter clip, which the caller has to judge anyway; a last `time_s` far from `VideoInfo.duration_s` tells of it.
    Only when there are fewer than `MIN_FRAMES_OF_A_DAMAGED_CLIP` good frames, an error follows them.

    Args:
        path: a file on this machine.
        limits: what is accepted.
        frames_per_second: None for every frame; else the first, and each at least `1 / frames_per_second` after the one
            picked before it.

    Returns:
        At least one frame, in the order in which they are shown, `time_s` never decreasing. Nothing happens before the
        first is asked for; the file is closed with the iterator. Where a clip changes its size, so do the images.

    Raises:
        VideoError: while iterating: whatever is wrong with the file, its `code` says what kind of wrong.
        ValueError: `frames_per_second` is not above 0.
    """
    if frames_per_second is not None and not frames_per_second > 0:
        raise ValueError(f"frames_per_second is {frames_per_second}: it must be above 0, or None for every frame.")
    interval_s = 0.0 if frames_per_second is None else 1.0 / frames_per_second - _ROUNDING_S
    due_s = 0.0
    with _open_clip(path, limits) as clip:
        converter = VideoReformatter()
        matrix = None
        for index, (time_s, frame) in enumerate(_timed(clip)):
            if time_s >= due_s:
                due_s = time_s + interval_s
                matrix = matrix or _display_matrix(frame)
                yield VideoFrame(index, time_s, _upright_rgb(frame, matrix, converter))


@contextmanager
def _open_clip(path: Path, limits: VideoLimits) -> Iterator[_Clip]:
    n_bytes = path.stat().st_size
    if n_bytes == 0:
        raise VideoError("video_empty", "The file is empty: send the bytes of an MP4, MOV, AVI, WebM or GIF video.")
    _refuse_more(n_bytes, limits.max_bytes, "bytes", "send a shorter clip")
    with path.open("rb", buffering=0) as raw:
        container = sniff_container(raw.read(HEAD_BYTES))
        raw.seek(0)
        file = _BoundedFile(raw, _MAX_TIMES_READ * n_bytes + _MIN_ALLOCATION_LIMIT_BYTES)
        _bound_allocations(limits)
        try:
            opened = _open_container(file, container)
        except VideoError:
            raise
        except Exception as error:  # FFmpeg's, PyAV's, and those of the file
            raise _unusable(raw, container) from error
        with opened:
            stream = _film(opened)
            _check_header(opened, stream, limits)
            _prepare(opened, stream, limits)
            yield _Clip(raw, container, opened, stream, limits)


class _BoundedFile:
    """A file for FFmpeg that has come to its end when more was read than any honest index asks for."""

    def __init__(self, file: BinaryIO, max_bytes: int) -> None:
        self._file = file
        self._bytes_left = max_bytes
        self.seek = file.seek
        self.tell = file.tell

    def read(self, n_bytes: int) -> bytes:
        data = self._file.read(n_bytes) if self._bytes_left > 0 else b""
        self._bytes_left -= len(data)
        return data


def _open_container(file: _BoundedFile, container: str) -> InputContainer:
    reader = _READERS[container]
    allowed = {"format_whitelist": reader, "codec_whitelist": ",".join(_CODECS), "max_streams": str(_MAX_STREAMS)}
    return av.open(
        file,
        "r",
        format=reader,
        container_options=allowed,
        metadata_errors="replace",
        buffer_size=_READ_BYTES,
        io_open=_open_nothing_else,
    )


def _open_nothing_else(url: str, flags: int, options: dict[str, str]) -> Any:
    raise VideoError("video_invalid", "The video is spread over several files: save it as one MP4 file.")


def _bound_allocations(limits: VideoLimits) -> None:
    """Let FFmpeg take no block of memory that a clip within the limits has no use for.

    Its readers believe the numbers of entries that a header declares. PyAV has no name for this switch; it is one for
    the whole process, in which nobody else uses PyAV. Where the library cannot be asked (Windows), it stays open.
    """
    try:
        set_limit = ctypes.CDLL(av._core.__file__).av_max_alloc
    except (AttributeError, OSError):
        return
    n_bytes = max(_MIN_ALLOCATION_LIMIT_BYTES, _WIDEST_PIXEL_BYTES * limits.max_pixels)
    set_limit(ctypes.c_size_t(n_bytes))


def _film(file: InputContainer) -> VideoStream:
    films = [stream for stream in file.streams.video if not stream.disposition & _NOT_A_FILM]
    if not films:
        raise VideoError("video_no_frames", "The file has no moving picture (only sound, or a cover): send a video.")
    best = file.streams.best("video")
    film = next((stream for stream in films if stream is best), films[0])
    if film.codec_context is None or film.codec_context.name not in _CODECS:
        name = "unknown" if film.codec_context is None else film.codec_context.name
        message = f"The video is coded as {name}, which is not accepted: convert it to MP4 with H.264."
        raise VideoError("video_type_unsupported", message)
    return film


def _check_header(file: InputContainer, stream: VideoStream, limits: VideoLimits) -> None:
    n_pixels = stream.width * stream.height
    _refuse_more(n_pixels, limits.max_pixels, "pixels in a frame", "film it at 1920 x 1080")
    _refuse_more(_duration_s(file, stream) or 0, limits.max_seconds, "seconds", "shorten it")
    rate = stream.average_rate or 0
    _refuse_more(float(rate), limits.max_frames_per_second, "frames a second", "save it again with 30")


def _refuse_more(n: float, limit: float, unit: str, advice: str) -> None:
    if n > limit:
        message = f"The video has {n:.0f} {unit} and at most {limit:.0f} are accepted: {advice}."
        raise VideoError("video_too_large", message)


def _duration_s(file: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration is not None and stream.duration > 0 and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if file.duration is not None and file.duration > 0:
        return file.duration / av.time_base
    return None


def _prepare(file: InputContainer, stream: VideoStream, limits: VideoLimits) -> None:
    for other in file.streams:
        if other is not stream:
            other.discard = Discard.all
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {"max_pixels": str(limits.max_pixels)}


def _timed(clip: _Clip) -> Iterator[tuple[float, av.VideoFrame]]:
    """The good frames with the seconds since the first of them, which never go back.

    A frame without a time comes when the frame rate says. AVI has none: with H.264 in it they are off by up to three
    frames, and stand still until they go on.
    """
    start_s: float | None = None
    last_s = 0.0
    step_s = 1.0 / float(clip.stream.average_rate or 25)
    for frame in _good_frames(clip):
        shown_s = frame.time
        if shown_s is None:
            shown_s = last_s + step_s + (start_s or 0.0)
        start_s = shown_s if start_s is None else start_s
        last_s = max(last_s, shown_s - start_s)
        _refuse_more(last_s, clip.limits.max_seconds, "seconds", "shorten it")
        yield last_s, frame


def _good_frames(clip: _Clip) -> Iterator[av.VideoFrame]:
    """The frames without a fault, in the order in which they are shown."""
    n_good = n_lost_in_a_row = n_pixels = 0
    is_damaged = False
    for frame in _decoded(clip):
        if frame is None or frame.is_corrupt or (n_lost_in_a_row and not frame.key_frame):
            is_damaged = True
            n_lost_in_a_row += 1
            if n_lost_in_a_row > _MAX_LOST_IN_A_ROW:
                break
            continue
        n_lost_in_a_row = 0
        n_good += 1
        n_pixels += frame.width * frame.height
        _refuse_more(n_good, clip.limits.max_frames, "frames (or more)", "shorten it")
        _refuse_more(n_pixels, clip.limits.max_total_pixels, "pixels in all (or more)", "film it at 1920 x 1080")
        yield frame
    is_damaged = is_damaged or is_cut_off(clip.raw, clip.container)
    if n_good == 0 or (is_damaged and n_good < MIN_FRAMES_OF_A_DAMAGED_CLIP):
        raise _unusable(clip.raw, clip.container, is_damaged=is_damaged)


def _decoded(clip: _Clip) -> Iterator[av.VideoFrame | None]:
    """What comes out of the decoder; None in place of what does not decode."""
    packets = clip.file.demux(clip.stream)
    frames: Sequence[av.VideoFrame | None]
    for n_packets in count():
        # A frame is one packet, or two where it is interlaced or VP9 hides a reference in front of it.
        _refuse_more(n_packets // 2, clip.limits.max_frames, "frames (or more)", "shorten it")
        try:
            packet = next(packets, None)
            if packet is None:
                return
            frames = () if _is_cut_short(packet, clip.container) else packet.decode()
        except av.FFmpegError:
            frames = (None,)
        yield from frames


def _is_cut_short(packet: "av.Packet[VideoStream]", container: str) -> bool:
    if container == "gif" and packet.size:  # whose reader does not tell
        return bytes(packet)[-1:] not in (b"\0", b";")  # GIF89a, sections 16 and 27: the end of a picture, and of all
    return packet.is_corrupt


def _upright_rgb(frame: av.VideoFrame, matrix: _Matrix, converter: VideoReformatter) -> RgbImage:
    try:
        rgb = converter.reformat(frame, format="rgb24", threads=1).to_ndarray()
    except av.FFmpegError as error:
        message = "The colours of the video cannot be read: save it again as MP4 with H.264."
        raise VideoError("video_invalid", message) from error
    a, b, c, d = matrix
    down, right = (b, c) if _swaps_axes(matrix) else (d, a)
    rgb = rgb.transpose(1, 0, 2) if _swaps_axes(matrix) else rgb
    return np.ascontiguousarray(rgb[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1], dtype=np.uint8)


def _swaps_axes(matrix: _Matrix) -> bool:
    a, b, c, d = matrix
    return abs(b) + abs(c) > abs(a) + abs(d)


def _display_matrix(frame: av.VideoFrame) -> _Matrix:
    """`(a, b, c, d)` of ISO/IEC 14496-12, 6.2.2: a stored pixel at `x, y` is shown at `a x + c y, b x + d y`.

    For one frame of a clip only: whoever is asked for its side data lives on until Python collects its garbage.
    """
    try:
        side_data: Mapping[Any, Any] = frame.side_data
        data = side_data.get(SideDataType.DISPLAYMATRIX)
    except ValueError:  # PyAV has no name for another thing that comes with the frame, and gives none of them
        turned = math.radians(frame.rotation)  # anticlockwise; mirroring is lost
        return math.cos(turned), -math.sin(turned), math.sin(turned), math.cos(turned)
    if data is None:
        return 1.0, 0.0, 0.0, 1.0
    a, b, _, c, d, *_ = np.frombuffer(bytes(data), np.int32).tolist()
    return a, b, c, d


def _unusable(file: BinaryIO, container: str, *, is_damaged: bool = True) -> VideoError:
    if is_cut_off(file, container):
        return VideoError("video_truncated", "The video ends too early to be of use: send it again, whole.")
    if is_damaged:
        return VideoError("video_invalid", "The video is damaged: save it again as MP4 with H.264 and send that.")
    return VideoError("video_no_frames", "The video has no frames: film it again.")
