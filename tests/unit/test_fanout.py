"""Order, retries, splits, bounds and cancelling of the fan-out, without Ray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve_app.core.fair import FairPool
from serve_app.core.plan import PlannedSegment, plan
from serve_app.core.script import parse
from serve_app.engines.base import SpeakTask
from serve_app.errors import SegmentFailedError, TakeMismatchError
from serve_app.fanout import FanOut
from serve_app.pieces import Delivery, FanOutRules, PartAudio, PartEnd
from tests.unit.fake_replicas import FakeReplicas, pieces_of

TEXT = "\n\n".join(
    f"Paragraph number {n} tells a short story about a ship. It sails on, and on, and on. "
    f"Nobody knew where it went; {n} people asked. The harbour kept quiet."
    for n in range(8)
)
VOICES = {"Narrator": "v"}
RULES = FanOutRules(retry_pause_s=0, assign_timeout_s=5, first_chunk_timeout_s=5, chunk_timeout_s=5)


def planned() -> tuple[PlannedSegment, ...]:
    return plan(parse(TEXT), voices=VOICES, revision="1").segments


async def heard(
    replicas: FakeReplicas, rules: FanOutRules = RULES, width: int = 4
) -> tuple[bytes, list[int], list[Delivery]]:
    events: list[Delivery] = []
    pool = FairPool(width)
    fan_out = FanOut(planned(), replicas.speak, pool, rules, voices=VOICES, on_event=events.append)
    audio, done = bytearray(), []
    async for piece in pieces_of(fan_out):
        if isinstance(piece, PartAudio):
            audio += piece.chunk.pcm
        elif piece.last:
            done.append(piece.part.index)
    assert (replicas.running, pool.used, pool.waiting) == (0, 0, 0)
    return bytes(audio), done, events


def fault_on(tag: int, *kinds: str) -> Callable[[SpeakTask, int], str | None]:
    return lambda task, take: kinds[take] if task.tag == tag and take < len(kinds) else None


async def test_every_segment_once_and_in_order() -> None:
    replicas = FakeReplicas()
    audio, done, events = await heard(replicas)
    assert done == list(range(len(planned())))
    assert len(done) > 5
    assert len(replicas.taken) == len(done)
    assert events == []
    assert replicas.peak == 4
    alone, *_ = await heard(FakeReplicas(), width=1)
    assert alone == audio


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    faults=st.dictionaries(
        st.integers(0, 7),
        st.lists(st.sampled_from(["crash", "crash_after", "memory"]), min_size=1, max_size=3),
    ),
    width=st.integers(1, 6),
    chunk=st.integers(2000, 50_000).map(lambda n: 2 * n),
    live=st.booleans(),
)
def test_faults_never_change_a_byte(
    faults: dict[int, list[str]], width: int, chunk: int, live: bool
) -> None:
    def fault(task: SpeakTask, take: int) -> str | None:
        kinds = faults.get(task.tag, [])
        return kinds[take] if take < len(kinds) else None

    async def scenario() -> None:
        undisturbed, *_ = await heard(FakeReplicas())
        replicas = FakeReplicas(fault, chunk_bytes=chunk)
        audio, done, events = await heard(replicas, replace(RULES, live=live), width)
        assert audio == undisturbed
        assert done == list(range(len(planned())))
        assert [event.kind for event in events] == ["fault"] * replicas.raised

    asyncio.run(scenario())


async def test_a_hang_is_a_fault_like_any_other() -> None:
    undisturbed, *_ = await heard(FakeReplicas())
    rules = replace(RULES, first_chunk_timeout_s=0.05)
    audio, _, events = await heard(FakeReplicas(fault_on(3, "hang")), rules)
    assert audio == undisturbed
    assert events == [Delivery("fault", 3, "engine_timeout")]


@pytest.mark.parametrize("fault", ["crash", "crash_after", "hang", "memory"])
async def test_one_sick_replica_costs_a_segment_one_take(fault: str) -> None:
    def idle_one(task: SpeakTask) -> str:
        return "healthy" if "sick" in task.failed_on else "sick"

    def ill(task: SpeakTask, _take: int) -> str | None:
        return fault if idle_one(task) == "sick" else None

    undisturbed, *_ = await heard(FakeReplicas())
    rules = replace(RULES, attempts=2, first_chunk_timeout_s=0.05)
    audio, done, events = await heard(FakeReplicas(ill, replica_for=idle_one), rules)
    assert audio == undisturbed
    assert [event.index for event in sorted(events, key=lambda event: event.index)] == done


async def test_a_pause_behind_a_fault_holds_up_nobody_else() -> None:
    segments = planned()
    replicas, pool = FakeReplicas(fault_on(3, "crash")), FairPool(1)
    rules = replace(RULES, retry_pause_s=1e6)
    fan_out = FanOut(segments, replicas.speak, pool, rules, voices=VOICES)
    pieces = pieces_of(fan_out)
    async with asyncio.timeout(5):
        await anext(pieces)
        while len(replicas.taken) < len(segments) or pool.used:
            await asyncio.sleep(0)
    assert [tag for tag, _ in replicas.taken] == list(range(len(segments)))
    await pieces.aclose()
    assert [FanOutRules().pause_s(faults) for faults in (1, 2, 3, 60)] == [0.05, 0.1, 0.2, 2.0]


@pytest.mark.parametrize(("paused_timeout_s", "ends_well"), [(60, True), (59, False)])
async def test_paused_cards_are_waited_for_as_long_as_they_may_be(
    paused_timeout_s: float, ends_well: bool
) -> None:
    now_s = [0.0]

    async def refusals() -> AsyncGenerator[None, None]:
        for _ in range(61):  # each sooner than a slot would have to be found
            yield
            now_s[0] += 1.0 if len(replicas.taken) == 1 else 0.0

    replicas = FakeReplicas(refusals=refusals)
    rules = replace(RULES, paused_timeout_s=paused_timeout_s, clock=lambda: now_s[0])
    if ends_well:
        audio, done, events = await heard(replicas, rules, width=1)
        assert (audio, done, events) == await heard(FakeReplicas())
    else:
        with pytest.raises(SegmentFailedError, match="not_ready"):
            await heard(replicas, rules, width=1)


async def test_a_second_take_that_differs_ends_the_stream() -> None:
    def fault(task: SpeakTask, take: int) -> str | None:
        return ("crash_after", "other_audio")[take] if task.tag == 0 and take < 2 else None

    with pytest.raises(TakeMismatchError, match="differs"):
        await heard(FakeReplicas(fault))


async def test_a_bad_take_gets_the_next_seed_and_the_same_one_every_time() -> None:
    replicas = FakeReplicas(fault_on(2, "silent", "length"))
    audio, done, events = await heard(replicas)
    assert done == list(range(len(planned())))
    assert [event.kind for event in events] == ["bad_take", "bad_take"]
    seeds = [seed for tag, seed in replicas.taken if tag == 2]
    assert len(set(seeds)) == 3
    again = FakeReplicas(fault_on(2, "silent", "crash", "length"))
    repeated, *_ = await heard(again, width=1)
    assert repeated == audio
    assert [seed for tag, seed in again.taken if tag == 2] == [
        seeds[0],
        seeds[1],
        seeds[1],
        seeds[2],
    ]


async def test_always_bad_is_split_and_the_halves_are_spoken() -> None:
    long_est = planned()[4].segment.est_s

    def fault(task: SpeakTask, _take: int) -> str | None:
        return "silent" if task.tag == 4 and task.est_s > 0.7 * long_est else None

    audio, done, events = await heard(FakeReplicas(fault))
    assert done == list(range(len(planned())))
    assert [event.kind for event in events] == ["bad_take", "bad_take", "split"]
    assert len(audio) > 0


async def test_what_no_replica_has_the_memory_for_is_split() -> None:
    long_est = planned()[4].segment.est_s

    def fault(task: SpeakTask, take: int) -> str | None:
        if task.tag != 4 or task.est_s <= 0.7 * long_est:
            return None
        return "crash" if take in {0, 2, 4} else "memory"

    _, done, events = await heard(FakeReplicas(fault))
    assert done == list(range(len(planned())))
    assert [event.kind for event in events] == [*["fault"] * 6, "split"]
    assert [event.code for event in events[-2:]] == ["engine_out_of_memory"] * 2


@pytest.mark.parametrize("kind", ["crash", "silent"])
async def test_after_the_last_retry_the_error_names_the_segment_and_no_text(kind: str) -> None:
    replicas = FakeReplicas(lambda task, _take: kind if task.tag == 5 else None)
    with pytest.raises(SegmentFailedError, match=r"Segment 5 .*\d+ characters, SHA-256"):
        await heard(replicas)
    assert replicas.running == 0


async def test_a_late_bad_verdict_on_the_first_segment_is_an_error_not_a_clean_end() -> None:
    with pytest.raises(SegmentFailedError, match="after part of it had been sent"):
        await heard(FakeReplicas(fault_on(0, "length")))


@pytest.mark.parametrize("known", range(1, 8))
@pytest.mark.parametrize("turns", [0, 3, 2000])
async def test_a_plan_that_comes_late_changes_no_byte(known: int, turns: int) -> None:
    undisturbed, *_ = await heard(FakeReplicas())
    segments = planned()
    replicas = FakeReplicas()
    loop = asyncio.get_running_loop()
    rest: asyncio.Future[tuple[PlannedSegment, ...]] = loop.create_future()

    async def arrive() -> None:
        for _ in range(turns):  # of the loop: before, while and after the beginning is spoken
            await asyncio.sleep(0)
        rest.set_result(segments[known:])

    arriving = asyncio.create_task(arrive())
    fan_out = FanOut(segments[:known], replicas.speak, FairPool(4), RULES, voices=VOICES, rest=rest)
    pieces = [piece async for piece in pieces_of(fan_out)]
    await arriving
    audio = b"".join(piece.chunk.pcm for piece in pieces if isinstance(piece, PartAudio))
    assert audio == undisturbed
    assert [tag for tag, _ in replicas.taken] == list(range(len(segments)))


async def test_a_plan_that_fails_ends_the_stream_behind_what_was_planned() -> None:
    segments = planned()
    rest: asyncio.Future[tuple[PlannedSegment, ...]] = asyncio.get_running_loop().create_future()
    rest.set_exception(RuntimeError("no plan"))
    fan_out = FanOut(
        segments[:2], FakeReplicas().speak, FairPool(4), RULES, voices=VOICES, rest=rest
    )
    done = []
    with pytest.raises(RuntimeError, match="no plan"):
        async for piece in pieces_of(fan_out):
            done += [piece.part.index] if isinstance(piece, PartEnd) else []
    assert done == [0, 1]


async def test_leaving_does_not_wait_for_the_plan() -> None:
    replicas = FakeReplicas()
    rest: asyncio.Future[tuple[PlannedSegment, ...]] = asyncio.get_running_loop().create_future()
    fan_out = FanOut(planned()[:1], replicas.speak, FairPool(4), RULES, voices=VOICES, rest=rest)
    pieces = pieces_of(fan_out)
    async with asyncio.timeout(5):
        assert isinstance(await anext(pieces), PartAudio)
        await pieces.aclose()
    assert rest.cancelled()
    assert replicas.running == 0


async def test_leaving_cancels_every_child_at_once() -> None:
    replicas = FakeReplicas(gate=asyncio.Event())
    pool = FairPool(4)
    fan_out = FanOut(planned(), replicas.speak, pool, RULES, voices=VOICES)

    async def listen() -> None:
        async for _ in pieces_of(fan_out):
            pass

    listener = asyncio.create_task(listen())
    async with asyncio.timeout(5):
        while replicas.running < 4:
            await asyncio.sleep(0)
    listener.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listener
    assert (replicas.running, pool.used, pool.waiting) == (0, 0, 0)


async def test_no_further_ahead_than_the_bounds() -> None:
    segments = planned()
    replicas = FakeReplicas()
    room = int(2.5 * max(RULES.bytes_of(item.segment.est_s) for item in segments))
    for rules, most in (
        (replace(RULES, look_ahead=3), 3),
        (replace(RULES, buffer_bytes=room), len(segments) - 1),
    ):
        replicas = FakeReplicas()
        fan_out = FanOut(segments, replicas.speak, FairPool(64), rules, voices=VOICES)
        pieces = pieces_of(fan_out)
        await anext(pieces)  # the listener takes one piece and then reads no further
        for _ in range(5000):
            await asyncio.sleep(0)
        assert len({tag for tag, _ in replicas.taken}) <= most
        await pieces.aclose()


async def test_a_small_buffer_never_stops_the_segment_the_listener_waits_for() -> None:
    audio, done, _ = await heard(FakeReplicas(), replace(RULES, buffer_bytes=1))
    undisturbed, *_ = await heard(FakeReplicas())
    assert audio == undisturbed
    assert done == list(range(len(planned())))


async def test_only_the_segment_waited_for_is_asked_for_in_small_chunks() -> None:
    asked: dict[int, float] = {}

    def note(task: SpeakTask, _take: int) -> None:
        asked[task.tag] = task.chunk_s

    await heard(FakeReplicas(note))
    assert asked[0] == RULES.head_chunk_s
    assert asked[1] == RULES.behind_chunk_s


async def test_ends_carry_the_report_of_the_take_that_counted() -> None:
    fan_out = FanOut(
        planned(), FakeReplicas(fault_on(1, "crash")).speak, FairPool(2), RULES, voices=VOICES
    )
    ends = [piece async for piece in pieces_of(fan_out) if isinstance(piece, PartEnd)]
    assert all(end.verdict.ok and end.report.record.audio_s > 0 for end in ends)
    assert [end.part.index for end in ends] == list(range(len(planned())))
