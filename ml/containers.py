"""What container a file is, by its first bytes, and whether it is all there; nothing is decoded."""

from os import SEEK_END
from typing import BinaryIO, Final

from ml.errors import VideoError

# The containers that are accepted name themselves, and their kind, in these.
HEAD_BYTES: Final = 64
_QUICKTIME_BOXES: Final = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")  # first in files older than `ftyp`
_PHOTO_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2", b"avif", b"avci")  # HEIF and AVIF
_MAX_BOXES: Final = 10_000  # a fragmented MP4 of 15 minutes has two a second


def is_video(head: bytes) -> bool:
    """Whether a file's first `HEAD_BYTES` are those of a container that is accepted; says nothing about the rest."""
    try:
        sniff_container(head)
    except VideoError:
        return False
    return True


def sniff_container(head: bytes) -> str:
    """Name the container: mp4, mov, avi, webm, mkv or gif.

    Args:
        head: the file's first `HEAD_BYTES`, or all of a shorter file.

    Raises:
        VideoError: `video_type_unsupported`: it is none of these.
    """
    box, brand = head[4:8], head[8:12]
    if box == b"ftyp" and brand in _PHOTO_BRANDS:
        raise VideoError("video_type_unsupported", "The file is a photo: send it as a photo, or send a video.")
    if box == b"ftyp":
        return "mov" if brand == b"qt  " else "mp4"
    if box in _QUICKTIME_BOXES:
        return "mov"
    if head.startswith(b"RIFF") and brand == b"AVI ":
        return "avi"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "webm" if b"webm" in head else "mkv"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    message = "The file is not an MP4, MOV, AVI, WebM or GIF video: convert it to one of these (best: MP4 with H.264)."
    raise VideoError("video_type_unsupported", message)


def is_cut_off(file: BinaryIO, container: str) -> bool:
    """Whether the file is shorter than it says itself."""
    n_bytes = file.seek(0, SEEK_END)
    if container == "gif":
        file.seek(-min(n_bytes, 64), SEEK_END)
        return not file.read(64).rstrip(b"\0").endswith(b";")
    file.seek(0)
    if container == "avi":
        return n_bytes < 8 + int.from_bytes(file.read(8)[4:], "little")
    if container in ("webm", "mkv"):
        return n_bytes < _matroska_end(file.read(4096))
    return not _has_whole_boxes(file, n_bytes)


def _has_whole_boxes(file: BinaryIO, n_bytes: int) -> bool:
    """ISO/IEC 14496-12, 4.2: whether every box is as long as it says, and one of them is the index, written last."""
    at, has_index = 0, False
    for _ in range(_MAX_BOXES):
        if at >= n_bytes:
            break
        file.seek(at)
        head = file.read(16)
        size = int.from_bytes(head[:4]) if head[:4] != b"\0\0\0\1" else int.from_bytes(head[8:])
        has_index = has_index or head[4:8] == b"moov"
        if size == 0:  # up to the end
            break
        at += max(size, 8)
    return has_index and at <= n_bytes


def _matroska_end(head: bytes) -> int:
    """Where the segment ends, by RFC 8794 (sections 4 to 6): header, segment, each an id and a size; 0 if left open."""
    after_header = _element_end(head, 0)
    if after_header is None:
        return 0
    return _element_end(head, after_header) or 0


def _element_end(head: bytes, at: int) -> int | None:
    """Where the element with an id of four bytes at `at` ends; None if it does not say so within `head`."""
    at += 4
    n_bytes = 9 - head[at].bit_length() if at < len(head) else 9
    if n_bytes > 8:
        return None
    open_end = (1 << 7 * n_bytes) - 1
    size = int.from_bytes(head[at : at + n_bytes]) & open_end
    return None if size == open_end else at + n_bytes + size
