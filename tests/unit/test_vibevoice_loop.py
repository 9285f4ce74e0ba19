"""The decoding loop against transformers' own ``generate``, and what it would notice."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor
from transformers import LogitsProcessorList, Qwen2Model

from serve_app.engines import vibevoice_frame
from serve_app.engines.vibevoice_codec import FrameCodec
from serve_app.engines.vibevoice_load import LoadedModel
from serve_app.engines.vibevoice_loop import Batch, Row, Sounded
from serve_app.engines.vibevoice_prefill import Reader
from serve_app.engines.vibevoice_prompt import turns_of
from serve_app.engines.vibevoice_slots import KvSlots, Past
from serve_app.engines.vibevoice_tokens import TokenChooser
from tests.tiny_vibevoice import ArrayVoices
from tests.vibevoice_engine import stock_tiny, tiny
from tests.vibevoice_reference import inputs, messages
from tests.vibevoice_runs import SEGMENTS, Samples, Segment, distance, line, speak, stock

BOUND = 1e-5

Forward = Callable[..., Any]


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return tiny()


@pytest.fixture(scope="module")
def expected() -> list[Samples]:
    voices = ArrayVoices().voices
    return [stock(stock_tiny(), segment, voices) for segment in SEGMENTS]


def test_together_as_generate_alone(loaded: LoadedModel, expected: list[Samples]) -> None:
    heard = speak(loaded, SEGMENTS)
    assert distance(heard, expected) <= BOUND
    assert {len(samples) // 3200 for samples in heard} >= {4, 9, 12}


def test_the_same_bits_alone_together_and_late(loaded: LoadedModel) -> None:
    together = speak(loaded, SEGMENTS)
    for segment, samples in zip(SEGMENTS, together, strict=True):
        (alone,) = speak(loaded, [segment])
        assert np.array_equal(alone, samples)


def test_the_same_bits_in_a_full_batch(loaded: LoadedModel) -> None:
    crowd = [Segment(SEGMENTS[at % 5].lines, 6 + at % 3, seed=at) for at in range(17)]
    together = speak(loaded, crowd)
    for segment, samples in list(zip(crowd, together, strict=True))[::4]:
        assert np.array_equal(speak(loaded, [segment])[0], samples)


def test_audio_that_ends_and_begins_again(loaded: LoadedModel) -> None:
    assert _stop_and_go(loaded) <= BOUND


def test_it_would_notice_what_silence_leaves_behind(loaded: LoadedModel) -> None:
    """Rows that don't speak in a frame are computed with the others."""
    with mock.patch.object(Past, "commit", _all_count):
        assert _stop_and_go(loaded) > 10 * BOUND


def test_it_would_notice_a_blind_row_that_goes_on(loaded: LoadedModel) -> None:
    counted = Batch._sounded

    def going_on(self: Batch, row: Row, values: Samples) -> Sounded:
        before = row.blind_column
        sounded = counted(self, row, values)
        row.blind_column = max(before, row.blind_column)
        return sounded

    with mock.patch.object(Batch, "_sounded", going_on):
        assert _stop_and_go(loaded) > 10 * BOUND


def _stop_and_go(loaded: LoadedModel) -> float:
    """How far a segment is from ``generate``, beside others, where its tokens are forced.

    Stretches of audio follow each other, also one that begins without its token.
    """
    rules, config = loaded.rules, loaded.model.config
    end, begin = config.audio_eos_token_id, config.audio_bos_token_id
    script = [*[rules.audio] * 3, end, begin, *[rules.audio] * 4, end, *[rules.audio] * 3]
    script += [begin, *[rules.audio] * 2, config.eos_token_id]

    def forced(_chooser: object, _scores: object, spoken: Tensor) -> Tensor:
        return torch.tensor(script)[spoken.long()]

    class Force:
        def __init__(self) -> None:
            self.spoken = 0

        def __call__(self, _ids: Tensor, scores: Tensor) -> Tensor:
            wanted = torch.full_like(scores, float("-inf"))
            wanted[:, script[self.spoken]] = 0.0
            self.spoken += 1
            return wanted

    segment = Segment(SEGMENTS[2].lines, budget=40, seed=8)
    neighbours = [Segment(SEGMENTS[1].lines, 40, seed=9), Segment(SEGMENTS[0].lines, 40, seed=10)]
    with mock.patch.object(
        stock_tiny().model, "_get_logits_processor", return_value=LogitsProcessorList([Force()])
    ):
        reference = stock(stock_tiny(), segment, ArrayVoices().voices)
    assert len(reference) // 3200 == script.count(rules.audio)
    with mock.patch.object(TokenChooser, "choose", forced):
        heard = speak(loaded, [segment, *neighbours])
    return distance(heard[:1], [reference])


def _bent(change: Callable[[dict[str, Any]], None]) -> AbstractContextManager[object]:
    """Frames whose language model is called otherwise; prompts are read as they should be."""
    stock_forward: Forward = Qwen2Model.forward

    def forward(self: Qwen2Model, *args: Any, **kwargs: Any) -> Any:
        if kwargs["inputs_embeds"].shape[1] == 1 and kwargs["inputs_embeds"].shape[0] > 1:
            change(kwargs)
        return stock_forward(self, *args, **kwargs)

    return mock.patch.object(Qwen2Model, "forward", forward)


def _see_everything(kwargs: dict[str, Any]) -> None:
    kwargs["attention_mask"] = {
        kind: torch.ones_like(mask) for kind, mask in kwargs["attention_mask"].items()
    }


def _miss_the_first(kwargs: dict[str, Any]) -> None:
    (mask,) = kwargs["attention_mask"].values()
    mask[..., 0] = False


def _one_place_too_far(kwargs: dict[str, Any]) -> None:
    kwargs["position_ids"] = kwargs["position_ids"] + (kwargs["position_ids"] > 60)


def _all_at_the_longest(kwargs: dict[str, Any]) -> None:
    places = kwargs["position_ids"]
    kwargs["position_ids"] = places.max().expand_as(places)


def _with_the_neighbours_past(self: Past, channels: int, columns: int) -> Any:
    behind = _layer(self, channels, columns)

    def mixed(sound: Tensor, rows: slice) -> Tensor:
        padded = behind(sound, rows)
        padded[..., :columns] = padded[..., :columns].flip(0)
        return padded

    return mixed


def _all_count(self: Past, counts: Tensor) -> None:
    _commit(self, torch.ones_like(counts))


_layer, _commit = Past.layer, Past.commit


def _shared_noise(self: Row, size: int) -> Tensor:
    return torch.randn(size, generator=_shared_source)


_shared_source = torch.Generator()


def _nothing(*_: object) -> None:
    pass


def _blind_from_the_prompt(self: KvSlots, row: int, keys: Any, values: Any) -> None:
    _put(self, row, keys, values)
    if row % 2 == 0:
        _put(self, row + 1, keys, values)


def _unblinded(self: KvSlots, row: int, keys: Any, values: Any) -> None:
    if row % 2 == 0:
        _put(self, row, keys, values)


_put = KvSlots.put

BUGS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "the mask shows what is behind a row's end": lambda: _bent(_see_everything),
    "the mask hides the first column": lambda: _bent(_miss_the_first),
    "positions are off by one": lambda: _bent(_one_place_too_far),
    "all rows are where the longest is": lambda: _bent(_all_at_the_longest),
    "convolutions remember another row": lambda: mock.patch.object(
        Past, "layer", _with_the_neighbours_past
    ),
    "convolutions remember the slot's last guest": lambda: mock.patch.object(
        Past, "clear", _nothing
    ),
    "convolutions stay behind in a move": lambda: mock.patch.object(Past, "move", _nothing),
    "convolutions forget a frame": lambda: mock.patch.object(Past, "commit", _nothing),
    "keys and values stay behind in a move": lambda: mock.patch.object(KvSlots, "move", _nothing),
    "the blind row starts empty": lambda: mock.patch.object(KvSlots, "put", _unblinded),
    "noise is shared": lambda: mock.patch.object(Row, "draw", _shared_noise),
}


@pytest.mark.parametrize("bug", BUGS)
def test_it_would_notice(bug: str, loaded: LoadedModel, expected: list[Samples]) -> None:
    with BUGS[bug]():
        heard = speak(loaded, SEGMENTS)
    gap = distance(heard, expected)
    assert gap > 10 * BOUND, gap


def test_it_would_notice_too_few_rows(loaded: LoadedModel) -> None:
    """They only change the last bits, which the tests of equal bits see."""
    with (
        mock.patch.object(vibevoice_frame, "MIN_ROWS", 1),
        mock.patch.object(vibevoice_frame, "MIN_SLOTS", 1),
    ):
        alone = speak(loaded, SEGMENTS[1:2])
    with_others = speak(loaded, SEGMENTS)[1:2]
    assert 0 < distance(alone, with_others) <= BOUND


def test_half_a_frame_done_again_gives_the_same_bits(loaded: LoadedModel) -> None:
    """It fails in its middle, after the caches were touched, and is called again."""
    clean = speak(loaded, SEGMENTS[1:4])
    stock_block, stock_forward = FrameCodec._block, Qwen2Model.forward
    blocks, thoughts = itertools.count(), itertools.count()

    def block(self: Any, *args: Any) -> Any:
        result = stock_block(self, *args)
        if next(blocks) in {1, 8, 9, 16}:
            raise torch.OutOfMemoryError("planted")
        return result

    def forward(self: Qwen2Model, *args: Any, **kwargs: Any) -> Any:
        result = stock_forward(self, *args, **kwargs)
        if kwargs["inputs_embeds"].shape[:2] >= (2, 1) and next(thoughts) in {0, 3, 12}:
            raise torch.OutOfMemoryError("planted")
        return result

    def stubborn(half: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def retried(batch: Any) -> Any:
            while True:
                with suppress(torch.OutOfMemoryError):
                    return half(batch)

        return retried

    with (
        mock.patch.object(FrameCodec, "_block", block),
        mock.patch.object(Qwen2Model, "forward", forward),
        mock.patch.object(Batch, "sound", stubborn(Batch.sound)),
        mock.patch.object(Batch, "think", stubborn(Batch.think)),
    ):
        heard = speak(loaded, SEGMENTS[1:4])
    assert next(blocks) > 17
    assert next(thoughts) > 13
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(heard, clean, strict=True))


class TestReading:
    def test_the_prompt_is_the_processors_own(self, loaded: LoadedModel) -> None:
        voices = ArrayVoices()
        reader = Reader(loaded, voices)
        for segment in SEGMENTS:
            turns = turns_of(segment.lines)
            given = {str(at): voices.voices[voice] for at, voice in enumerate(turns.voices)}
            theirs = inputs(loaded.processor, [messages(turns.lines, given)])["input_ids"]
            with torch.inference_mode():
                assert reader.prompt(turns).ids == tuple(theirs[0].tolist())

    def test_voices_are_encoded_once_by_what_they_hold(self, loaded: LoadedModel) -> None:
        recording = ArrayVoices().voices["v1"]
        voices = ArrayVoices({"one": recording, "twin": recording.copy()})
        reader = Reader(loaded, voices)
        tower = loaded.model.model.audio_tower
        with (
            torch.inference_mode(),
            mock.patch.object(tower, "encode", wraps=tower.encode) as encode,
        ):
            for voice in ("one", "twin", "one"):
                reader.read(reader.prompt(turns_of((line("Ada", voice, "Hello."),))))
        assert encode.call_count == 1

    def test_piece_by_piece_gives_the_same(
        self, loaded: LoadedModel, expected: list[Samples]
    ) -> None:
        with torch.inference_mode():
            reader = Reader(loaded, ArrayVoices(), piece=16)
            prompt = reader.prompt(turns_of(SEGMENTS[2].lines))
            reading = reader.reading(prompt)
            pieces = 1
            while reading.advance() is None:
                pieces += 1
            warm = reader.reading(prompt)
            pieces_again = 1
            while warm.advance() is None:
                pieces_again += 1
        shared, rest = prompt.shared, len(prompt.ids) - prompt.shared
        assert pieces_again == -(-rest // 16)
        assert pieces == pieces_again + -(-shared // 16) + len(prompt.voices)
        assert distance(speak(loaded, SEGMENTS, piece=16), expected) <= BOUND

    def test_a_shared_beginning_is_read_once_to_the_same_bits(self, loaded: LoadedModel) -> None:
        segment = SEGMENTS[2]
        with torch.inference_mode():
            warm, cold = Reader(loaded, ArrayVoices()), Reader(loaded, ArrayVoices())
            warm.read(warm.prompt(turns_of((*segment.lines, line("Ada", "v1", "More.")))))
            prompt = warm.prompt(turns_of(segment.lines))
            assert 0 < prompt.shared < len(prompt.ids)
            with mock.patch.object(warm, "_shared_embeddings", side_effect=AssertionError):
                again = warm.read(prompt)
            fresh = cold.read(cold.prompt(turns_of(segment.lines)))
        assert torch.equal(again.hidden, fresh.hidden)
        pairs = zip(again.kept.keys, fresh.kept.keys, strict=True)
        assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
