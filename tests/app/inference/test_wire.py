"""Batches as bytes: nothing is lost on the way, and bytes that are wrong are refused whatever is wrong with them."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inference import wire
from app.inference.port import Lane
from app.inference.wire import Answer, Batch, OtherEngineError, WireError
from ml.types import Face, FloatArray, Pose, Quality, RgbImage, Sample

DIM, WORD, MODEL = 8, "net/1 mtcnn 40", "net/1"
RNG = np.random.default_rng(5)


def make_image(*, height: int, width: int) -> RgbImage:
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def make_sample(*, score: float = 0.983) -> Sample:
    embedding = RNG.normal(size=DIM)
    return Sample(
        Face(
            RNG.random(4).astype(np.float32) * 100,
            RNG.random((5, 2)).astype(np.float32) * 100,
            detection_score=0.1 + 0.2,  # a number that single precision does not keep
        ),
        Quality(score, Pose(-12.5, 3.1, 0.7), 81.3, 0.0123, 127.4, 0.1 + 0.2),
        (embedding / np.linalg.norm(embedding)).astype(np.float32),
        MODEL,
    )


BATCH = Batch([make_image(height=3, width=5), make_image(height=2, width=2)], [7, 1], Lane.BULK)
ASK = b"".join(wire.encode_ask(BATCH))
ANSWER = Answer([[make_sample(), make_sample()], []], 0.5, 0.25, 0.125)
ANSWERED = wire.encode_answer(ANSWER, DIM, WORD)


def decode(body: bytes, batch: Batch = BATCH, *, dim: int = DIM, word: str = WORD) -> Answer:
    return wire.decode_answer(body, batch, dim=dim, word=word, model=MODEL)


def rows(array: FloatArray) -> list[float]:
    return [float(number) for number in array.ravel()]


def test_an_ask_comes_back_as_it_was() -> None:
    assert len(ASK) == BATCH.n_bytes
    read = wire.decode_ask(ASK, max_images=2)
    assert (read.max_faces, read.lane) == ([7, 1], Lane.BULK)
    for image, sent in zip(read.images, BATCH.images, strict=True):
        assert np.array_equal(image, sent)


def test_the_ask_is_laid_out_as_documented() -> None:
    head = b"RCQ1" + struct.pack("<HBBII", 1, 1, 0, 2, 0) + struct.pack("<6I", 3, 5, 7, 2, 2, 1)
    assert head + BATCH.images[0].tobytes() + BATCH.images[1].tobytes() == ASK


def test_an_image_that_is_a_view_is_sent_as_it_looks() -> None:
    mirrored = make_image(height=40, width=30)[:, ::-1]
    body = b"".join(wire.encode_ask(Batch([mirrored], [1], Lane.INTERACTIVE)))
    assert np.array_equal(wire.decode_ask(body, 1).images[0], mirrored)


def test_images_are_views_of_the_body_that_networks_may_write_to() -> None:
    body = bytearray(ASK)
    image = wire.decode_ask(body, 2).images[0]
    image[0, 0, 0] ^= 255
    assert body != ASK


def test_a_large_image_goes_in_pieces() -> None:
    image = make_image(height=1000, width=1000)
    pieces = wire.encode_ask(Batch([image], [1], Lane.INTERACTIVE))
    assert max(len(piece) for piece in pieces) <= 1 << 20
    assert b"".join(pieces[1:]) == image.tobytes()


def test_an_answer_comes_back_to_the_last_bit() -> None:
    read = decode(ANSWERED)
    assert (read.queue_s, read.detect_s, read.embed_s) == (0.5, 0.25, 0.125)
    assert [len(samples) for samples in read.samples] == [2, 0]
    for got, sent in zip(read.samples[0], ANSWER.samples[0], strict=True):
        assert rows(got.face.box_xyxy) == rows(sent.face.box_xyxy)
        assert rows(got.face.landmarks) == rows(sent.face.landmarks)
        assert rows(got.embedding) == rows(sent.embedding)
        assert (got.face.detection_score, got.quality, got.model) == (0.1 + 0.2, sent.quality, MODEL)
        assert {got.embedding.dtype, got.face.box_xyxy.dtype, got.face.landmarks.dtype} == {np.dtype(np.float32)}


def test_an_answer_without_a_face() -> None:
    empty = Answer([[], []], 0.0, 0.0, 0.0)
    assert decode(wire.encode_answer(empty, DIM, WORD)).samples == [[], []]


def test_the_longest_answer_is_as_long_as_foretold() -> None:
    full = Answer([[make_sample() for _ in range(7)], [make_sample()]], 0.0, 0.0, 0.0)
    assert len(wire.encode_answer(full, DIM, WORD)) == wire.largest_answer_bytes(BATCH, DIM, WORD)


def test_what_is_no_image_is_not_sent() -> None:
    with pytest.raises(ValueError, match="RGB"):
        wire.encode_ask(Batch([np.zeros((4, 4), np.uint8)], [1], Lane.INTERACTIVE))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "head"),
        (b"POST" + ASK[4:], "version"),
        (ASK[:4] + b"\x02" + ASK[5:], "version"),
        (ASK[:6] + b"\x09" + ASK[7:], "lane"),
        (ASK[:8] + struct.pack("<I", 0) + ASK[12:], "images"),
        (ASK[:8] + struct.pack("<I", 3) + ASK[12:], "images"),
        (ASK[:20], "list of its images"),
        (ASK[:16] + struct.pack("<I", 0) + ASK[20:], "no pixels"),
        (ASK[:16] + struct.pack("<II", 2**32 - 1, 2**32 - 1) + ASK[24:], "bytes long"),
        (ASK[:24] + struct.pack("<I", 101) + ASK[28:], "max_faces"),
        (ASK[:-1], "bytes long"),
        (ASK + b"\0", "bytes long"),
    ],
)
def test_an_ask_that_is_wrong_is_refused_and_says_where(body: bytes, reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        wire.decode_ask(body, max_images=2)


def nan_at(offset: int) -> bytes:
    return ANSWERED[:offset] + struct.pack("<f", float("nan")) + ANSWERED[offset + 4 :]


FACES_AT = 40
EMBEDDINGS_AT = FACES_AT + 2 * 128


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "head"),
        (b"RCQ1" + ANSWERED[4:], "version"),
        (ANSWERED[:-1], "bytes long"),
        (ANSWERED + b"\0", "bytes long"),
        (ANSWERED[:12] + struct.pack("<I", 2**32 - 1) + ANSWERED[16:], "bytes long"),
        (wire.encode_answer(Answer([[]], 0, 0, 0), DIM, WORD), "not to what was asked"),
        (wire.encode_answer(ANSWER, DIM, WORD).replace(struct.pack("<II", 2, 0), struct.pack("<II", 1, 0)), "as many"),
        (wire.encode_answer(Answer([[], [make_sample()] * 2], 0, 0, 0), DIM, WORD), "more faces"),
        (nan_at(16), "numbers that are none"),
        (nan_at(FACES_AT), "numbers that are none"),
        (nan_at(EMBEDDINGS_AT), "length 1"),
        (ANSWERED[:EMBEDDINGS_AT] + bytes(4 * DIM) + ANSWERED[EMBEDDINGS_AT + 4 * DIM :], "length 1"),
    ],
)
def test_an_answer_that_is_wrong_is_refused_and_says_where(body: bytes, reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        decode(body)


def test_an_answer_of_other_networks_is_refused_as_such() -> None:
    with pytest.raises(OtherEngineError, match="net/2"):
        decode(ANSWERED, word="net/2 mtcnn 40")
    with pytest.raises(WireError, match="not to what was asked"):
        decode(ANSWERED, dim=DIM + 1, word=WORD)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_the_one_error(body: bytes) -> None:
    for prefix in (b"", ASK[:8], ASK[:28], ANSWERED[:8], ANSWERED[:40]):
        with pytest.raises(WireError):
            wire.decode_ask(prefix + body + b"!", max_images=2)
        with pytest.raises(WireError):
            decode(prefix + body + b"!")


@given(st.integers(0, len(ANSWERED) * 8 - 1))
def test_an_answer_with_one_wrong_bit_is_refused_or_has_faces_of_the_right_shape(bit: int) -> None:
    body = bytearray(ANSWERED)
    body[bit // 8] ^= 1 << bit % 8
    try:
        read = decode(bytes(body))
    except WireError:
        return
    assert [len(samples) for samples in read.samples] == [2, 0]
    for sample in read.samples[0]:
        assert np.isclose(np.linalg.norm(sample.embedding), 1, atol=2e-3)
        assert np.isfinite(sample.face.box_xyxy).all()


@given(st.integers(0, len(ASK) * 8 - 1), st.integers(0, len(ASK)))
def test_an_ask_with_one_wrong_bit_or_cut_short_never_claims_more_than_is_there(bit: int, end: int) -> None:
    body = bytearray(ASK)
    body[bit // 8] ^= 1 << bit % 8
    for hostile in (bytes(body), bytes(body[:end])):
        try:
            read = wire.decode_ask(hostile, max_images=2)
        except WireError:
            continue
        assert sum(image.nbytes for image in read.images) < len(hostile)
