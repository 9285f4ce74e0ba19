"""What simulated audio says survives what lossless audio goes through."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.core.audio import Pcm
from serve_app.engines.simulated_code import (
    CELL_SAMPLES,
    MAX_CELLS,
    DecodedCell,
    decode,
    encode,
    segments_heard,
)

TAGS = st.integers(0, 0xFFFF)
HEIGHT = 2320


def whole(tag: int, cells: int) -> Pcm:
    return encode(tag, 0, cells, cells, HEIGHT)


def faded(pcm: Pcm, samples: int) -> Pcm:
    ramp = np.linspace(0, 1, samples)
    gain = np.ones(pcm.size)
    gain[:samples] *= ramp
    gain[-samples:] *= ramp[::-1]
    return np.rint(pcm * gain).astype(np.int16)


@given(TAGS, st.integers(0, MAX_CELLS - 100), st.integers(1, 100), st.integers(1, 2000))
def test_cells_are_read_as_written(tag: int, start: int, count: int, offset: int) -> None:
    pcm = encode(tag, start, start + count, MAX_CELLS, HEIGHT)
    signal = np.concatenate([np.zeros(offset, np.int16), pcm, np.zeros(300, np.int16)])
    assert decode(signal) == [
        DecodedCell(tag, start + n, offset + n * CELL_SAMPLES) for n in range(count)
    ]


@given(st.integers(1, 300), st.lists(st.integers(0, 300), max_size=4))
def test_parts_joined_are_the_whole(cells: int, cuts: list[int]) -> None:
    edges = sorted({0, cells, *(cut % (cells + 1) for cut in cuts)})
    parts = [encode(7, a, b, cells, HEIGHT) for a, b in pairwise(edges)]
    assert np.array_equal(np.concatenate(parts), whole(7, cells))


@settings(deadline=None)
@given(
    segments=st.lists(st.tuples(TAGS, st.integers(40, 200), st.integers(0, 3000)), max_size=5),
    gain_db=st.floats(-3, 3),
    fade=st.integers(1, 192),
    trim=st.integers(0, CELL_SAMPLES),
)
def test_a_stitched_script_is_read_back(
    segments: list[tuple[int, int, int]], gain_db: float, fade: int, trim: int
) -> None:
    parts: list[Pcm] = [np.zeros(0, np.int16)]
    for tag, cells, pause in segments:
        sound = whole(tag, cells)[trim : cells * CELL_SAMPLES - trim]
        parts += [faded(sound, fade), np.zeros(pause, np.int16)]
    signal = np.rint(np.concatenate(parts) * 10 ** (gain_db / 20)).astype(np.int16)
    heard = segments_heard(signal)
    assert [item.tag for item in heard] == [tag for tag, _, _ in segments]
    assert all(item.complete for item in heard)
    at = 0
    for item, (_, cells, pause) in zip(heard, segments, strict=True):
        stop = at + cells * CELL_SAMPLES - 2 * trim
        assert abs(item.start - at) <= 2 * CELL_SAMPLES
        assert abs(item.stop - stop) <= 2 * CELL_SAMPLES
        at = stop + pause


@given(st.integers(10, 90), st.integers(1, 500))
def test_a_gap_shows(at: int, missing: int) -> None:
    pcm = whole(3, 100)
    cut = np.delete(pcm, slice(at * CELL_SAMPLES, at * CELL_SAMPLES + missing))
    heard = segments_heard(cut)
    assert len(heard) == 2
    assert not any(item.complete for item in heard)


@given(st.integers(10, 90), st.integers(1, 500))
def test_silence_inside_shows(at: int, added: int) -> None:
    pcm = np.insert(whole(3, 100), at * CELL_SAMPLES, np.zeros(added, np.int16))
    heard = segments_heard(pcm)
    assert len(heard) == 2
    assert not any(item.complete for item in heard)


def test_a_segment_heard_twice_shows() -> None:
    assert [item.tag for item in segments_heard(np.concatenate([whole(3, 50)] * 2))] == [3, 3]


@given(st.integers(3, 60))
def test_a_lost_beginning_or_end_shows(cells: int) -> None:
    pcm = whole(3, 100)
    (late,) = segments_heard(pcm[cells * CELL_SAMPLES :])
    (early,) = segments_heard(pcm[: -cells * CELL_SAMPLES])
    assert (late.complete, late.first_cell, late.last_cell) == (False, cells, 99)
    assert (early.complete, early.first_cell, early.last_cell) == (False, 0, 99 - cells)


@given(st.integers(0, 2**32 - 1))
def test_noise_and_silence_say_nothing_or_nothing_whole(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 3000, 24_000).astype(np.int16)
    assert not any(item.complete for item in segments_heard(noise))
    assert decode(np.zeros(24_000, np.int16)) == []
    assert segments_heard(np.zeros(0, np.int16)) == []


def test_a_search_in_blocks_loses_nothing_at_their_borders() -> None:
    cells = (1 << 22) // CELL_SAMPLES + 50
    (heard,) = segments_heard(whole(12, cells))
    assert (heard.complete, heard.last_cell) == (True, cells - 1)


@given(TAGS, st.integers(30, 400))
def test_it_has_no_dc_a_speech_level_and_a_quiet_end(tag: int, cells: int) -> None:
    pcm = whole(tag, cells).astype(float)
    assert pcm.sum() == 0
    level_db = 20 * np.log10(np.sqrt(np.mean(pcm**2)) / 32_768)
    assert -24 < level_db < -22.9
    assert 20 * np.log10(np.sqrt(np.mean(pcm[-240:] ** 2)) / 32_768) < -30
