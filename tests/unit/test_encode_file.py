"""A finished file is whole, knows its length and its parts, or is not there."""

from __future__ import annotations

import io
import resource
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve_app.core.audio import Pcm, silence
from serve_app.core.portions import PORTION_SAMPLES, portions
from serve_app.decode import decoded
from serve_app.encode import AI_MARK
from serve_app.encode_cover import MAX_COVER_BYTES
from serve_app.encode_file import FILE_FORMATS, part_of, write_file
from serve_app.encode_tags import Chapter, Tags, chapters_from
from serve_app.errors import InvalidInputError, UnknownFormatError
from tests.unit.test_encode import best_match, speech

LOSSLESS = ("flac", "wav")
WITH_CHAPTERS = [name for name, written in FILE_FORMATS.items() if written.takes_chapters]
WITH_COVER = [name for name, written in FILE_FORMATS.items() if written.takes_cover]
PADDED = ("aac", "m4b")
"""Their last frame is decoded whole; an m4b's header tells the length that is meant."""


def cut(pcm: Pcm, sizes: list[int]) -> Iterator[Pcm]:
    at = 0
    for size in sizes:
        yield pcm[at : at + size]
        at += size
    yield pcm[at:]


def picture(codec: str, pixel_format: str, side: int = 64) -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format="image2pipe") as container:
        stream = container.add_stream(codec, rate=1)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = side
        stream.pix_fmt = pixel_format
        grey = np.full((side, side, 3), 90, np.uint8)
        frame = av.VideoFrame.from_ndarray(grey, format="rgb24").reformat(format=pixel_format)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target.getvalue()


COVERS = {"jpeg": picture("mjpeg", "yuvj420p"), "png": picture("png", "rgb24")}


@pytest.mark.parametrize("name", FILE_FORMATS)
def test_the_file_sounds_like_the_samples(name: str, tmp_path: Path) -> None:
    pcm = speech(60_000)
    write_file(tmp_path / "a", name, [pcm])
    heard = np.concatenate(list(decoded(tmp_path / "a")))
    if name in LOSSLESS:
        assert np.array_equal(heard, pcm)
    correlation, delay = best_match(heard, pcm[:12_000])
    assert correlation > 0.98
    assert delay == (1_024 if name == "aac" else 0), "players drop the codec's own delay"
    assert 0 <= len(heard) - delay - len(pcm) < (1_024 if name in PADDED else 1)


@pytest.mark.parametrize("name", LOSSLESS)
def test_lengths_in_headers_are_true(name: str, tmp_path: Path) -> None:
    write_file(tmp_path / "a", name, cut(speech(50_001), [700, 30_000]))
    assert soundfile.info(str(tmp_path / "a")).frames == 50_001


@pytest.mark.parametrize("name", FILE_FORMATS)
@given(length=st.integers(1, 80_000), sizes=st.lists(st.integers(0, 40_000), max_size=6))
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_any_chunking_gives_the_same_file(
    name: str, length: int, sizes: list[int], tmp_path: Path
) -> None:
    pcm = speech(length)
    for path, chunks in ((tmp_path / "a", [pcm]), (tmp_path / "b", cut(pcm, sizes))):
        write_file(path, name, chunks, tags=Tags("Alice", ("Ann",)))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@given(sizes=st.lists(st.integers(0, 3 * PORTION_SAMPLES), max_size=5))
@settings(deadline=None)
def test_portions_are_the_samples_in_equal_chunks(sizes: list[int]) -> None:
    pcm = np.arange(sum(sizes)).astype(np.int16)
    made = list(portions(cut(pcm, sizes)))
    assert np.array_equal(np.concatenate([silence(0), *made]), pcm)
    assert all(len(portion) == PORTION_SAMPLES for portion in made[:-1])
    assert all(0 < len(portion) <= PORTION_SAMPLES for portion in made)


@pytest.mark.parametrize("name", FILE_FORMATS)
def test_tags_are_kept(name: str, tmp_path: Path) -> None:
    write_file(tmp_path / "a", name, [speech(9_000)], tags=Tags("Alice 爱", ("Ann", "Bob")))
    with av.open(str(tmp_path / "a")) as container:
        said = container.metadata | container.streams.audio[0].metadata
    assert said["title"] == "Alice 爱"
    assert said["artist"] == "Ann, Bob"
    assert said["comment"] == AI_MARK


def seconds(units: int, base: Fraction | None) -> float:
    assert base is not None
    return float(units * base)


@pytest.mark.parametrize("name", WITH_CHAPTERS)
def test_chapters_are_kept(name: str, tmp_path: Path) -> None:
    parts = chapters_from([("Down the Rabbit-Hole", 0.0), ("爱" * 200, 1.25)], 2.5)
    write_file(tmp_path / "a", name, [speech(60_000)], chapters=parts)
    with av.open(str(tmp_path / "a")) as container:
        found = container.chapters()
    starts_s = [seconds(chapter["start"], chapter["time_base"]) for chapter in found]
    assert starts_s == [0.0, 1.25]
    ends_s = [seconds(chapter["end"], chapter["time_base"]) for chapter in found]
    assert ends_s == pytest.approx([1.25, 2.5], abs=0.01)
    titles = [chapter["metadata"]["title"] for chapter in found]
    assert titles == ["Down the Rabbit-Hole", "爱" * 83], "cut between characters"


def test_chapters_follow_one_another() -> None:
    assert chapters_from([("a", 0.5), ("b", 2.0)], 3.0) == (
        Chapter("a", 0.5, 2.0),
        Chapter("b", 2.0, 3.0),
    )
    assert chapters_from([], 3.0) == ()
    for starts in ([("a", 2.0), ("b", 1.0)], [("a", 4.0)], [("a", -1.0)]):
        with pytest.raises(ValueError, match="no chapter goes from"):
            chapters_from(starts, 3.0)


@pytest.mark.parametrize("name", WITH_COVER)
@pytest.mark.parametrize("kind", COVERS)
def test_a_cover_is_kept_as_it_is(name: str, kind: str, tmp_path: Path) -> None:
    parts = chapters_from([("One", 0.0), ("Two", 1.0)], 2.0)
    write_file(
        tmp_path / "a", name, [speech(48_000)], cover=COVERS[kind], chapters=parts, tags=Tags("T")
    )
    with av.open(str(tmp_path / "a")) as container:
        stream = container.streams.video[0]
        assert av.stream.Disposition.attached_pic in stream.disposition
        assert bytes(next(container.demux(stream))) == COVERS[kind]
    assert 0 <= sum(map(len, decoded(tmp_path / "a"))) - 48_000 < 1_024


@pytest.mark.parametrize("name", sorted(set(FILE_FORMATS) - set(WITH_COVER)))
def test_a_cover_without_a_place_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="mp3, flac, m4b") as caught:
        write_file(tmp_path / "a", name, [speech(100)], cover=COVERS["png"])
    assert caught.value.param == "cover"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"GIF89a",
        b"\xff\xd8\xff",
        COVERS["png"][:30],
        COVERS["jpeg"][:100],
        COVERS["png"] + bytes(MAX_COVER_BYTES),
        picture("png", "gray", side=4_200),
    ],
    ids=["empty", "gif", "mark only", "half a png", "half a jpeg", "too long", "too many pixels"],
)
def test_what_is_no_picture_is_refused(broken: bytes, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cover") as caught:
        write_file(tmp_path / "a", "m4b", [speech(100)], cover=broken)
    assert caught.value.param == "cover"
    assert not list(tmp_path.iterdir())


def test_an_audiobook_begins_with_its_table_of_contents(tmp_path: Path) -> None:
    write_file(tmp_path / "a", "m4b", [speech(240_000)])
    data = (tmp_path / "a").read_bytes()
    assert data[4:12] == b"ftypM4B "
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    with av.open(str(tmp_path / "a")) as container:
        stream = container.streams.audio[0]
        assert (stream.duration, stream.time_base) == (240_000, Fraction(1, 24_000))


@pytest.mark.parametrize("name", FILE_FORMATS)
def test_what_fails_half_way_leaves_nothing_behind(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"before")

    def breaking() -> Iterator[Pcm]:
        yield speech(100_000)
        assert part_of(path).exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(path, name, breaking())
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert path.read_bytes() == b"before"


@pytest.fixture
def full_disk() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", FILE_FORMATS)
def test_a_full_disk_is_an_error_not_a_short_file(
    name: str, tmp_path: Path, full_disk: None
) -> None:
    with pytest.raises(OSError, match="large"):
        write_file(tmp_path / "a", name, [speech(240_000)])
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_file(tmp_path / "no" / "a", "m4b", [speech(100)])


def test_an_unknown_format_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UnknownFormatError, match="mp3, opus, aac, flac, wav, m4b"):
        write_file(tmp_path / "a", "pcm", [speech(100)])
