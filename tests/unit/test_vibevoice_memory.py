"""The VibeVoice engine on a card that is too small: who is admitted, dropped, refused and split."""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import replace
from itertools import chain, repeat
from typing import Any
from unittest import mock

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.fair import FairPool
from serve_app.core.plan import PlannedSegment
from serve_app.core.segment import Boundary, Utterance, make_segment
from serve_app.core.vram import HEADROOM_BYTES, segment_columns
from serve_app.engines import vibevoice_load
from serve_app.engines.base import CardMemory, Chunk, Line, SpeakTask
from serve_app.engines.simulated import SimulatedEngine, SimulatedOptions
from serve_app.engines.slots import Slots
from serve_app.engines.vibevoice import VibeVoiceEngine
from serve_app.engines.vibevoice_frame import Device
from serve_app.engines.vibevoice_load import Checkpoint, load
from serve_app.engines.vibevoice_loop import Batch
from serve_app.engines.vibevoice_memory import card_memory, give_back
from serve_app.engines.vibevoice_order import Order
from serve_app.engines.vibevoice_prefill import Reader
from serve_app.engines.vibevoice_slots import COLUMN_BUCKET, KvSlots
from serve_app.engines.vibevoice_thread import LoopThread
from serve_app.errors import (
    ConfigError,
    EngineCrashedError,
    EngineError,
    EngineMemoryError,
)
from serve_app.fanout import FanOut
from serve_app.pieces import (
    Delivery,
    FanOutRules,
    PartAudio,
    PartEnd,
    SpeechReport,
    Started,
    TakeItem,
)
from serve_app.replica import ReplicaIdentity, Speaker
from telemetry.speech_metrics import NoSynthesisHook
from tests.contract.engine_cases import listen
from tests.tiny_vibevoice import ArrayVoices, checkpoint
from tests.unit.fake_replicas import pieces_of
from tests.unit.test_vibevoice_engine import _all, task
from tests.vibevoice_engine import tiny, tiny_engine


@pytest.fixture
async def engine() -> AsyncIterator[VibeVoiceEngine]:
    made = tiny_engine(4)
    yield made
    await made.close()


def card_for(rows: int) -> tuple[Any, Any]:
    """Both halves of a frame fail beyond so many rows, behind their work."""
    stock_sound, stock_think = Device.sound, Device.think

    def sound(self: Device, slots: int, steps: tuple[int, ...]) -> Any:
        result = stock_sound(self, slots, steps)
        if slots > rows:
            raise torch.OutOfMemoryError("planted")
        return result

    def think(self: Device, places: list[int]) -> None:
        stock_think(self, places)
        if len(places) > 2 * rows:
            raise torch.OutOfMemoryError("planted")

    return mock.patch.object(Device, "sound", sound), mock.patch.object(Device, "think", think)


@pytest.mark.parametrize("half", [0, 1], ids=["sound", "think"])
async def test_the_newest_are_dropped(half: int, engine: VibeVoiceEngine) -> None:
    alone = [await listen(engine, task(number)) for number in range(4)]
    with card_for(2)[half]:
        heard = await _all(engine, [task(number) for number in range(4)])
        # Not EngineMemoryError, for which callers split: alone they fit.
        assert [type(item) for item in heard[2:]] == [EngineError] * 2
        assert [item.pcm for item in heard[:2]] == [alone[0].pcm, alone[1].pcm]
        assert engine.slots == 2
        again = await _all(engine, [task(2), task(3)])
    assert [item.pcm for item in again] == [alone[2].pcm, alone[3].pcm]


async def test_reading_that_finds_no_room_harms_no_one(engine: VibeVoiceEngine) -> None:
    alone = await listen(engine, task(0))
    stock_join = Batch.join

    def join(batch: Batch, *args: Any) -> None:
        if batch.rows:
            raise torch.OutOfMemoryError("planted")
        stock_join(batch, *args)

    with mock.patch.object(Batch, "join", join):
        heard = await _all(engine, [task(0), task(1)])
    assert heard[0].pcm == alone.pcm
    assert type(heard[1]) is EngineError
    assert engine.slots == 1


class SmallCard:
    """An engine on a card with room for two large segments and their voice beside its model."""

    def __init__(self, slots: int) -> None:
        self.room_bytes = 1 << 40
        self.engine = tiny_engine(
            slots, memory=lambda: (HEADROOM_BYTES + self.room_bytes - self.held(), 8 << 30)
        )
        self.batch = self.engine._thread._batch
        self.large = replace(task(9, voice_id="v2"), est_s=60.0)

    def held(self) -> int:
        slots, columns = self.batch.reserved
        return slots * tiny().shape.slot_bytes(columns)

    async def alone(self, *tasks: SpeakTask) -> list[bytes]:
        """What segments sound like with much room, the large one last; then there is less."""
        heard = [(await listen(self.engine, one)).pcm for one in (*tasks, self.large)]
        self.columns = self.batch.reserved[1]
        give_back(self.batch, self.engine._thread._reader)
        self.room_bytes = 2 * tiny().shape.slot_bytes(self.columns) + voice_bytes("v2")
        return heard


async def test_who_has_no_room_is_told_at_once_and_has_not_started_again() -> None:
    """It is not kept waiting between its start and its first sound, for which there is a limit."""
    card = SmallCard(slots=3)
    engine = card.engine
    alone = await card.alone(task(0), task(1))
    speaker = Speaker(engine, ReplicaIdentity("r", "n", None, simulated=False), Silent(), Silent())
    first, second, refused, again = (
        speaker.speak(one) for one in (task(0), task(1), card.large, card.large)
    )
    both, told = threading.Event(), threading.Event()
    stock_sound, stock_submit = Batch.sound, LoopThread.submit
    submitted = itertools.count(1)

    def submit(thread: LoopThread, order: Order) -> None:
        stock_submit(thread, order)
        if next(submitted) == 2:
            both.set()

    def sound(batch: Batch) -> Any:
        assert (both if len(batch.rows) < 2 else told).wait(30)
        return stock_sound(batch)

    with (
        mock.patch.object(Batch, "sound", sound),
        mock.patch.object(LoopThread, "submit", submit),
    ):
        speaking = [asyncio.create_task(_rest(each)) for each in (first, second)]
        while len(card.batch.rows) < 2:
            await asyncio.sleep(0.001)
        assert isinstance(await anext(refused), Started)
        refusal = asyncio.create_task(anext(refused))
        while not engine._thread._waiting:
            await asyncio.sleep(0.001)
        told.set()
        with pytest.raises(EngineError, match=r"beside 2 others; 2 slots are left") as raised:
            await refusal
        assert type(raised.value) is EngineError  # for which callers don't split
        assert engine.slots == 2
        waiting = asyncio.create_task(anext(again))
        await asyncio.wait({waiting, *speaking}, return_when=asyncio.FIRST_COMPLETED)
        assert any(each.done() for each in speaking)
        assert isinstance(await waiting, Started)
        spoken = [*await asyncio.gather(*speaking), await _rest(again)]
    await engine.close()
    assert [_pcm(items) for items in spoken] == alone


async def _rest(items: AsyncGenerator[TakeItem, None]) -> list[TakeItem]:
    return [item async for item in items]


def _pcm(items: list[TakeItem]) -> bytes:
    return b"".join(item.pcm for item in items if isinstance(item, Chunk))


async def test_room_that_others_have_left_is_used_before_it_is_said_that_there_is_none() -> None:
    card = SmallCard(slots=4)
    alone = await card.alone(task(0))
    await _all(card.engine, [task(number) for number in range(4)])
    slots, columns = card.batch.reserved
    assert slots == 4
    assert slots * columns < 2 * card.columns < slots * card.columns
    heard = await _all(card.engine, [task(0), card.large])
    assert [one.pcm for one in heard] == alone
    assert card.batch.reserved == (2, card.columns)
    assert card.engine.slots == 4
    await card.engine.close()


async def test_what_is_too_large_for_the_card_is_so_beside_others_too() -> None:
    """It costs them no slot, and whether it is split is no matter of what was kept."""
    card = SmallCard(slots=4)
    alone = await card.alone(task(0), task(1))
    card.room_bytes -= 1
    heard = await _all(card.engine, [task(0), task(1), card.large])
    assert [one.pcm for one in heard[:2]] == alone[:2]
    assert type(heard[2]) is EngineMemoryError
    assert card.engine.slots == 4
    await card.engine.close()


class TestGivingBack:
    """Once, before anything is dropped or refused."""

    async def test_what_earlier_segments_left_makes_no_segment_too_large(
        self, engine: VibeVoiceEngine
    ) -> None:
        alone = [await listen(engine, task(number)) for number in range(4)]
        stock_think = Device.think

        def think(self: Device, places: list[int]) -> None:
            stock_think(self, places)
            if self.reserved[0] > 2:
                raise torch.OutOfMemoryError("planted")

        await _all(engine, [task(number) for number in range(4)])
        assert engine._thread._batch.reserved[0] == 4
        with mock.patch.object(Device, "think", think):
            heard = await _all(engine, [task(0), task(1)])
        assert [one.pcm for one in heard] == [alone[0].pcm, alone[1].pcm]
        assert engine.slots == 4

    async def test_nor_does_what_was_read_before(self, engine: VibeVoiceEngine) -> None:
        alone = await listen(engine, task(0))
        stock_run = Reader._run

        def run(self: Reader, *args: Any) -> Any:
            if self._prefixes._items and engine._thread._batch.reserved[0]:
                raise torch.OutOfMemoryError("planted")
            return stock_run(self, *args)

        with mock.patch.object(Reader, "_run", run):
            assert (await listen(engine, task(0))).pcm == alone.pcm

    @pytest.mark.parametrize("where", ["_run", "think"])
    async def test_it_happens_when_the_failed_work_holds_nothing_any_more(
        self, where: str, engine: VibeVoiceEngine
    ) -> None:
        """An error that is being handled keeps its functions, and they their tensors."""
        held: list[weakref.ref[torch.Tensor]] = []
        owner: Any = Reader if where == "_run" else Device
        stock: Callable[..., Any] = getattr(owner, where)

        def failing(*args: Any) -> Any:
            if not held:
                large = torch.zeros(8)
                held.append(weakref.ref(large))
                raise torch.OutOfMemoryError("planted")
            return stock(*args)

        stock_forget = Reader.forget
        alive = []

        def forget(self: Reader) -> None:
            alive.append(held[0]() is not None)
            stock_forget(self)

        with (
            mock.patch.object(owner, where, failing),
            mock.patch.object(Reader, "forget", forget),
        ):
            assert (await listen(engine, task(0))).ends
        assert alive == [False]

    async def test_a_self_test_that_finds_no_room(self, engine: VibeVoiceEngine) -> None:
        await listen(engine, task(0))
        stock_think = Device.think

        def think(self: Device, places: list[int]) -> None:
            if engine._thread._batch.reserved[0]:
                raise torch.OutOfMemoryError("planted")
            stock_think(self, places)

        with mock.patch.object(Device, "think", think):
            await engine.health()


async def test_lowered_slots_rise_again(engine: VibeVoiceEngine) -> None:
    with card_for(2)[0]:
        await _all(engine, [task(number) for number in range(3)])
    assert engine.slots == 2
    heard = 0
    with mock.patch.object(engine._slots, "_climb_after", 2):
        for number in range(5):
            heard += bool((await listen(engine, task(number))).ends)
    assert (heard, engine.slots) == (5, 4)


@given(st.lists(st.integers(1, 9) | st.none(), max_size=60), st.integers(1, 6))
def test_slots_rise_to_what_was_asked_for_and_more_slowly_each_time(
    events: list[int | None], wanted: int
) -> None:
    """A number lowers them, None is a success."""
    slots = Slots(wanted)
    for event in events:
        before = slots.limit
        if event is None:
            slots.succeeded()
            assert before <= slots.limit <= min(wanted, before + 1)
        else:
            slots.lower(event)
            assert slots.limit == min(before, event)
    slots.lower(1)
    for _ in range(256 * wanted):
        slots.succeeded()
    assert slots.limit == wanted


def test_each_vain_rise_makes_the_next_one_wait_longer() -> None:
    slots, waits = Slots(2), []
    for _ in range(7):
        slots.lower(1)
        waits.append(0)
        while slots.limit == 1:
            slots.succeeded()
            waits[-1] += 1
    assert waits == [16, 32, 64, 128, 256, 256, 256]


async def test_a_row_that_was_alone_is_too_large(engine: VibeVoiceEngine) -> None:
    alone = await listen(engine, task(0))
    with card_for(0)[1], pytest.raises(EngineMemoryError, match="empty card"):
        await listen(engine, task(0))
    assert engine.slots == 4
    assert (await listen(engine, task(0))).pcm == alone.pcm


def voice_bytes(name: str) -> int:
    """Peak of encoding one of the four voices."""
    return tiny().shape.voice_bytes(len(ArrayVoices().voices[name]) / 24_000)


def small_card(free_bytes: int) -> Callable[[], tuple[int, int]]:
    return lambda: (HEADROOM_BYTES + free_bytes, 8 << 30)


@pytest.mark.parametrize("short_bytes", [0, 1])
async def test_admission_counts_slots_and_the_peak_of_a_new_voice(short_bytes: int) -> None:
    first = task(0)
    budget = 2 * math.ceil(7.5 * first.est_s) + 30
    engine = tiny_engine(2)
    prompt_tokens = (await listen(engine, first)).ends[0].input_tokens
    await engine.close()

    free = [0]
    engine = tiny_engine(2, memory=lambda: (HEADROOM_BYTES + free[0], 8 << 30))
    slots, columns = engine._thread._batch.room(prompt_tokens + budget)
    free[0] = slots * tiny().shape.slot_bytes(columns) + voice_bytes("v1") - short_bytes
    if short_bytes:
        with pytest.raises(EngineMemoryError, match="empty card"):
            await listen(engine, first)
        free[0] += short_bytes
    assert (await listen(engine, first)).ends
    free[0] = 0  # neither the slots nor the voice are asked for again
    assert (await listen(engine, first)).ends
    with pytest.raises(EngineMemoryError, match="empty card"):
        await listen(engine, task(1, voice_id="v2"))
    await engine.close()


async def test_what_is_too_large_is_split_at_a_sentence_always_alike() -> None:
    text = "She told us once that she was one of many. " * 9
    said = Utterance("Ada", text.strip(), Boundary.PARAGRAPH)
    segment = PlannedSegment(make_segment(1, (said,), None), "ab" * 16, seed=1)
    folder = str(checkpoint(stop_after=50))
    loaded = load(Checkpoint(folder, None, "cpu", "float32"))

    async def spoken(free_bytes: int) -> tuple[list[Delivery], list[PartEnd], bytes]:
        engine = VibeVoiceEngine(
            loaded, ArrayVoices(), slots=2, steps=4, memory=small_card(free_bytes)
        )
        events: list[Delivery] = []
        identity = ReplicaIdentity("r", "n", None, simulated=False)
        fan_out = FanOut(
            (segment,),
            Speaker(engine, identity, Silent(), Silent()).speak,
            FairPool(2),
            FanOutRules(retry_pause_s=0.0),
            voices={"Ada": "v1"},
            on_event=events.append,
        )
        pieces = [piece async for piece in pieces_of(fan_out)]
        await engine.close()
        audio = b"".join(piece.chunk.pcm for piece in pieces if isinstance(piece, PartAudio))
        return events, [piece for piece in pieces if isinstance(piece, PartEnd)], audio

    events, ends, audio = await spoken(voice_bytes("v1") + 700_000)
    assert [(event.kind, event.code) for event in events] == [
        *[("fault", "engine_out_of_memory")] * (FanOutRules().attempts - 1),
        ("split", "engine_out_of_memory"),
    ]
    assert [end.last for end in ends] == [False, True]
    again = await spoken(voice_bytes("v1") + 700_000)
    assert (again[0], again[2]) == (events, audio)


class Silent(NoSynthesisHook):
    """A node that notes nothing."""

    def load(self, busy: int, slots: int) -> None:
        pass


async def test_who_waits_for_a_slot_that_was_lowered_has_not_started() -> None:
    engine = SimulatedEngine(SimulatedOptions(slots=2, first_chunk_s=0.0, real_time_factor=0.0))
    identity = ReplicaIdentity("r", "n", None, simulated=True)
    speaker = Speaker(engine, identity, Silent(), Silent())
    engine.set_slots(1)
    one = replace(task(1), lines=(Line("Ada", "sim-1", "Hello there."),))
    first, second = speaker.speak(one), speaker.speak(one)
    assert isinstance(await anext(first), Started)
    waiting = asyncio.create_task(anext(second))
    rest = [item async for item in first]
    assert isinstance(rest[-1], SpeechReport)
    assert isinstance(await waiting, Started)
    third = asyncio.create_task(anext(speaker.speak(one)))
    await asyncio.sleep(0)
    await second.aclose()
    assert isinstance(await third, Started)
    fourth = asyncio.create_task(anext(speaker.speak(one)))
    await asyncio.sleep(0)
    await speaker.close()
    with pytest.raises(EngineCrashedError):
        await fourth


class TestStaticCache:
    columns = segment_columns(10.0)

    def engine(self, free_bytes: int, static_cache_s: float | None = 10.0) -> VibeVoiceEngine:
        return VibeVoiceEngine(
            tiny(),
            ArrayVoices(),
            slots=4,
            steps=4,
            memory=small_card(free_bytes),
            static_cache_s=static_cache_s,
        )

    async def test_room_is_there_from_the_start_and_changes_nothing(self) -> None:
        grown, kept = self.engine(1 << 40, None), self.engine(1 << 40)
        slots, columns = kept._thread._batch.reserved
        assert slots >= kept.slots == 4
        assert columns >= self.columns
        assert (await listen(kept, task(0))).pcm == (await listen(grown, task(0))).pcm
        assert kept._thread._batch.reserved == (slots, columns)
        await grown.close()
        await kept.close()

    async def test_slots_without_room_are_not_offered(self) -> None:
        shape = tiny().shape
        peak = shape.voice_bytes(30.0)
        engine = self.engine(peak + 3 * shape.slot_bytes(self.columns))
        assert engine.slots == 3
        await engine.close()
        with pytest.raises(ConfigError, match="no room for a slot"):
            self.engine(peak + shape.slot_bytes(self.columns) - 1)


class TestReadings:
    """Of a card that is not there: torch's own figures are given."""

    card = torch.device("cuda", 0)

    def test_memory_that_torch_holds_unused_is_free(self) -> None:
        with (
            mock.patch("torch.cuda.mem_get_info", return_value=(100, 1000)),
            mock.patch("torch.cuda.memory_reserved", return_value=70),
            mock.patch("torch.cuda.memory_allocated", return_value=30),
        ):
            assert card_memory(self.card)() == (140, 1000)
        assert card_memory(torch.device("cpu"))() is None

    def test_memory_of_recordings_is_not(self) -> None:
        def segment(device: int, pool: tuple[int, int], total: int, used: int) -> dict[str, Any]:
            sizes = {"total_size": total, "allocated_size": used}
            return {"device": device, "segment_pool_id": pool, **sizes}

        segments = [
            segment(0, (0, 0), 40, 10),
            segment(0, (0, 1), 20, 15),
            segment(1, (0, 2), 500, 1),
        ]
        with (
            mock.patch("torch.cuda.mem_get_info", return_value=(100, 1000)),
            mock.patch("torch.cuda.memory_reserved", return_value=60),
            mock.patch("torch.cuda.memory_allocated", return_value=25),
            mock.patch("torch.cuda.memory_snapshot", return_value=segments) as snapshot,
        ):
            assert card_memory(self.card)() == (135, 1000)
            assert not snapshot.called
            assert card_memory(self.card, graphs=True)() == (130, 1000)

    async def test_use_around_loading_is_in_the_replica_s_info(self) -> None:
        used = CardMemory(total_bytes=1000, before_bytes=100, after_bytes=700)
        with mock.patch.object(vibevoice_load, "_memory", return_value=used):
            loaded = load(Checkpoint(str(checkpoint()), None, "cpu", "float32"))
        engine = VibeVoiceEngine(loaded, ArrayVoices(), slots=1, steps=4)
        identity = ReplicaIdentity("r", "n", None, simulated=False)
        assert Speaker(engine, identity, Silent(), Silent()).info.engine.memory == used
        await engine.close()
        assert tiny().memory is None
        with mock.patch("torch.cuda.mem_get_info", return_value=(300, 1000)):
            assert vibevoice_load._memory(self.card, 100) == used


def test_slots_that_could_not_grow_take_what_fits() -> None:
    slots = KvSlots(layers=2, heads=1, dim=2, like=torch.zeros(1))
    slots.resize(1, COLUMN_BUCKET)
    written = [torch.ones(1, 1, COLUMN_BUCKET, 2)] * 2
    slots.put(0, written, written)
    make = slots._new
    room = chain([make], repeat(None))

    def short(*size: int) -> torch.Tensor:
        if (found := next(room)) is None:
            raise torch.OutOfMemoryError("out of memory")
        return found(*size)

    with mock.patch.object(slots, "_new", short), pytest.raises(torch.OutOfMemoryError):
        slots.resize(4, 3 * COLUMN_BUCKET)
    slots.resize(2, 2 * COLUMN_BUCKET)
    assert all(layer.shape == (4, 1, 2 * COLUMN_BUCKET, 2) for layer in slots.keys + slots.values)
    assert all((layer[0, 0, :COLUMN_BUCKET] == 1).all() for layer in slots.keys + slots.values)
