"""What a card did meanwhile, how it is shared out, and listeners who have to wait."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.core.card_use import GuardLog, Occupancy, card_use, mean_power_w, share_of
from telemetry.core.request import Playback
from telemetry.core.sample import CardSample, SynthesisRecord
from telemetry.core.thermal import GuardState
from telemetry.core.unmeasured import Unmeasured
from telemetry.node import NodeTelemetry
from telemetry.simulated import SimulatedCards
from tests.records import record


def sample(at: float, **told: Any) -> CardSample:
    return CardSample(at, 0, "GPU-a", "card", simulated=False, **told)


def test_a_card_is_told_by_the_samples_of_the_interval_and_their_neighbours() -> None:
    samples = [
        sample(0.0, gpu_util=100.0, temp_c=90.0, throttle=("hw_thermal",)),
        sample(9.0, gpu_util=10.0, mem_used_bytes=5, temp_c=60.0, throttle=()),
        sample(10.5, error="GPU is lost"),
        sample(11.0, gpu_util=70.0, mem_used_bytes=9, temp_c=66.0, throttle=("idle",)),
        sample(12.5, gpu_util=40.0, mem_used_bytes=7, temp_c=65.0, throttle=("power_brake",)),
        sample(13.5, gpu_util=100.0, temp_c=90.0),
    ]
    use = card_use(samples, 10.0, 12.0)
    assert use is not None
    # The sample at 11.0 tells of the first half, the one at 12.5 of the second.
    assert (use.samples, use.gpu_util, use.mem_peak_bytes) == (1, 55.0, 9)
    assert (use.temp_peak_c, use.throttled, use.energy_j) == (66.0, False, None)


def test_a_synthesis_between_two_samples_has_both_of_them() -> None:
    idle = sample(10.0, gpu_util=0.0, mem_used_bytes=5, temp_c=70.0, power_w=60.0, throttle=())
    busy = sample(11.0, gpu_util=30.0, mem_used_bytes=9, temp_c=66.0, power_w=90.0, throttle=())
    use = card_use([idle, busy], 10.2, 10.8)
    assert use is not None
    assert (use.samples, use.gpu_util, use.mem_peak_bytes, use.temp_peak_c) == (2, 30.0, 9, 70.0)
    assert use.energy_j == pytest.approx(0.6 * 75.0)


@pytest.mark.parametrize("phase_s", [0.0, 0.3, 0.5, 0.9])
def test_the_sample_before_a_synthesis_does_not_count_as_part_of_it(phase_s: float) -> None:
    """A second at full load after idle, and idle again: told by power, by share and by counter."""

    def at(seconds: float, began: float = 10.0) -> CardSample:
        worked_s = min(max(seconds - began, 0.0), 1.0)
        share = worked_s - min(max(seconds - 1.0 - began, 0.0), 1.0)
        watts = 400.0 if began <= seconds <= began + 1 else 0.0
        joules = 400.0 * worked_s
        return sample(seconds, gpu_util=100.0 * share, power_w=watts, energy_j=joules)

    seen = [at(second + phase_s) for second in range(7, 14)]
    by_counter = card_use(seen, 10.0, 11.0)
    by_power = card_use([replace(one, energy_j=None) for one in seen], 10.0, 11.0)
    assert by_counter is not None
    assert by_power is not None
    # What lies in the second of a sample before or behind can't be told from idle time.
    assert 50.0 <= (by_counter.gpu_util or 0.0) <= 100.0
    assert 200.0 <= (by_counter.energy_j or 0.0) <= 400.0
    assert by_power.energy_j == pytest.approx(400.0)


@given(
    st.lists(st.floats(0, 100), min_size=2, max_size=9),
    st.floats(0.5, 6),
    st.floats(0.01, 6),
)
def test_utilisation_is_weighed_by_time(shares: list[float], since: float, length_s: float) -> None:
    samples = [sample(float(at), gpu_util=share) for at, share in enumerate(shares)]
    until = since + length_s
    use = card_use(samples, since, until)
    assert use is not None
    assert use.gpu_util is not None
    told = 0.0
    for second in range(14):  # the sample at its end tells of it, the last one of all behind it
        overlap_s = min(second, until) - max(second - 1, since)
        told += max(overlap_s, 0.0) * shares[min(second, len(shares) - 1)]
    assert use.gpu_util == pytest.approx(told / length_s, abs=1e-6)


def test_a_card_that_nobody_sampled_tells_nothing() -> None:
    assert card_use([], 10.0, 12.0) is None
    assert card_use([sample(1.0, gpu_util=5.0)], 10.0, 12.0) is None
    assert card_use([sample(11.0, error="lost")], 10.0, 12.0) is None
    use = card_use([sample(11.0)], 10.0, 12.0)
    assert use is not None
    assert (use.gpu_util, use.mem_peak_bytes, use.temp_peak_c) == (None, None, None)
    assert (use.energy_j, use.throttled) == (None, None)


def test_energy_is_the_counter_s_rise_over_the_interval() -> None:
    counted = [sample(at, energy_j=100.0 + 50.0 * at, power_w=1.0) for at in (9.0, 10.0, 11.0)]
    use = card_use(counted, 9.5, 10.5)
    assert use is not None
    assert use.energy_j == pytest.approx(50.0)


def test_a_counter_that_began_anew_is_not_trusted() -> None:
    reset = [sample(9.0, energy_j=1e6, power_w=200.0), sample(11.0, energy_j=5.0, power_w=200.0)]
    assert mean_power_w(reset, 9.0, 11.0) == pytest.approx(200.0)


@given(
    st.lists(st.floats(0, 1_000), min_size=1, max_size=8),
    st.floats(-5, 5),
    st.floats(0.001, 20),
)
def test_mean_power_lies_between_the_readings_and_adds_up(
    watts: list[float], since: float, length_s: float
) -> None:
    samples = [sample(float(at), power_w=power) for at, power in enumerate(watts)]
    until = since + length_s
    mean = mean_power_w(samples, since, until)
    assert mean is not None
    assert min(watts) - 1e-6 <= mean <= max(watts) + 1e-6
    if len(watts) > 1:
        middle = (since + until) / 2
        left, right = mean_power_w(samples, since, middle), mean_power_w(samples, middle, until)
        assert left is not None
        assert right is not None
        assert (left + right) / 2 == pytest.approx(mean, abs=1e-3)


def test_the_changes_of_a_guard_are_remembered_by_card() -> None:
    log = GuardLog(most=3)
    states: tuple[GuardState, ...] = ("open", "eased", "eased", "paused", "eased", "open")
    for at, state in enumerate(states):
        log.note(float(at), [("GPU-a", state, f"why {at}"), ("GPU-b", "open", "cool")])
    assert [(c.timestamp, c.state) for c in log.of("GPU-a")] == [
        (3.0, "paused"),
        (4.0, "eased"),
        (5.0, "open"),
    ]
    assert log.of("GPU-b") == ()
    use = card_use([sample(3.5)], 2.5, 4.5, log.of("GPU-a"))
    assert use is not None
    assert [change.why for change in use.changes] == ["why 3", "why 4"]


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.01, 50)), min_size=1, max_size=12))
def test_the_shares_of_segments_side_by_side_fill_the_card(
    segments: list[tuple[float, float]],
) -> None:
    occupancy = Occupancy(0.0)
    edges = [(begin, 1, number) for number, (begin, _) in enumerate(segments)]
    edges += [(begin + length, -1, number) for number, (begin, length) in enumerate(segments)]
    begun: dict[int, float] = {}
    for at, by, number in sorted(edges):
        if by > 0:
            begun[number] = occupancy.slot_s(at)
        else:
            length_s = segments[number][1]
            share = share_of(length_s, occupancy.slot_s(at) - begun[number])
            others = [s for n, s in enumerate(segments) if n != number]
            begin = segments[number][0]
            alone = all(b >= at or b + n <= begin for b, n in others)
            assert 0 < share <= 1
            assert (share == pytest.approx(1.0, abs=1e-6)) or not alone
        occupancy.change(at, by)
    assert occupancy.slot_s(200.0) == pytest.approx(sum(n for _, n in segments))


def test_a_node_tells_what_a_synthesis_used_and_when_its_card_was_paused() -> None:
    now = [1_000.0]
    cards = SimulatedCards(1, node="n", clock=lambda: now[0], wall=lambda: now[0])
    told: list[tuple[SynthesisRecord, float]] = []
    node = NodeTelemetry(
        "n",
        "host",
        cards,
        used=lambda *use: told.append(use),
        clock=lambda: now[0],
        wall=lambda: now[0],
    )
    (uuid,) = cards.uuids
    for _ in range(6):
        now[0] += 1.0
        node.load("r", uuid, 1, 1)
        node.tick()
    use = node.card_over(uuid, 1_002.0, 1_006.0)
    assert use is not None
    assert use.energy_j == pytest.approx(4 * 400.0)
    assert use.gpu_util is not None
    assert use.gpu_util > 90
    spoken = record(timestamp=1_006.0, wall_s=4.0, audio_s=30.0, card_uuid=uuid, card_share=0.5)
    for one in (spoken, record(card_uuid=None), record(card_uuid="GPU-unknown")):
        node.record(one)
    node.measure()
    assert told == []  # the sample behind it is still to come
    now[0] += 1.0
    node.tick()
    node.measure()
    node.measure()
    ((measured, energy_j),) = told
    assert measured == spoken
    assert energy_j == pytest.approx(1_600.0 * 0.5 / 0.5)
    (model,) = node.snapshot().models
    assert (model.spoken, model.energy_j_per_min.count, model.output_tokens) == (3, 1, 120)
    node.close()


def test_a_card_that_is_not_sampled_again_is_not_waited_for() -> None:
    waiting, lost, well = Unmeasured(), record(timestamp=100.0), record(card_uuid="GPU-b")
    for one in (lost, well, record(error="bad_audio"), record(audio_s=0.0), record(card_uuid=None)):
        waiting.add(one)
    assert waiting.due(100.5, {"GPU-a": 99.0, "GPU-b": 100.4}) == [well]
    assert waiting.due(104.9, {"GPU-a": 99.0}) == []
    assert waiting.due(105.0, {"GPU-a": 99.0}) == [lost]
    assert waiting.due(1e9, {}) == []


def test_a_stream_ahead_of_its_listener_has_no_underrun() -> None:
    playback = Playback()
    for at, audio_s in ((0.0, 0.2), (0.1, 2.0), (1.9, 4.0), (3.9, 5.0)):
        playback.left(at, audio_s)
        playback.taken(at)
    assert (playback.underruns, playback.underrun_s) == (0, 0.0)


def test_each_wait_of_the_listener_is_counted_once() -> None:
    playback = Playback()
    for at, audio_s in ((0.0, 1.0), (1.5, 2.0), (2.4, 3.0), (3.6, 4.0)):
        playback.left(at, audio_s)
        playback.taken(at)
    # It plays to 1.0, waits half a second, plays to 2.5 and 3.5, and waits a tenth.
    assert playback.underruns == 2
    assert playback.underrun_s == pytest.approx(0.6)


def test_a_listener_who_takes_late_waits_for_nobody() -> None:
    playback = Playback()
    playback.left(0.0, 1.0)
    playback.taken(60.0)
    playback.left(60.5, 2.0)
    assert playback.underruns == 0


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0.01, 5)), min_size=1, max_size=30))
def test_waits_add_up_to_what_real_time_is_behind(steps: list[tuple[float, float]]) -> None:
    playback = Playback(grace_s=0.0)
    now = audio_s = 0.0
    ends = waited_s = 0.0
    for number, (wait_s, length_s) in enumerate(steps):
        now += wait_s if number else 0.0
        audio_s += length_s
        playback.left(now, audio_s)
        waited_s += max(now - ends, 0.0) if number else 0.0
        ends = max(ends, now) + length_s
    assert playback.underrun_s == pytest.approx(waited_s, abs=1e-6)
