"""The fleet's watch: history, alerts that take several nodes, and reports."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from telemetry.card_watch import ActiveAlert
from telemetry.cluster import ANSWERS_S, ClusterView, NodeInfo
from telemetry.core.alert_rules import RULES
from telemetry.core.channels import ChannelCount
from telemetry.core.export_state import ExportState
from telemetry.core.ingress_reports import IngressReport
from telemetry.core.messages import Message
from telemetry.core.reader import CardSource
from telemetry.core.recent import RecentStats
from telemetry.core.sample import XidEvent
from telemetry.core.thermal import DEFAULT_RULES
from telemetry.fleet_report import ReportSchedule
from telemetry.fleet_watch import OVERLAP_S, FleetWatch
from tests.fleet_source import Fleet


class Scene:
    """A watch over a fleet, ticked every two seconds of the fleet's time."""

    def __init__(self, fleet: Fleet, schedule: ReportSchedule | None = None) -> None:
        self.fleet, self.posted = fleet, list[Message]()
        self.watch = FleetWatch(
            ClusterView(fleet, clock=fleet.clock, wall=fleet.clock),
            thermal=DEFAULT_RULES,
            alerts=RULES,
            post=self.posted.append,
            schedule=schedule,
            clock=fleet.clock,
            wall=fleet.clock,
        )

    async def go(self, seconds: int) -> None:
        for _ in range(0, seconds, 2):
            await self.watch.tick()
            self.fleet.now += 2.0

    @property
    def titles(self) -> str:
        return "\n".join(message.title for message in self.posted)


async def test_the_history_has_every_second_once() -> None:
    scene = Scene(Fleet())
    await scene.go(30)
    windows = scene.watch.windows(("SIM-n0-0", "SIM-n1-1", "SIM-x"), "temp_c", 1, 0.0)
    assert set(windows) == {"SIM-n0-0", "SIM-n1-1"}
    starts = [window.start for window in windows["SIM-n0-0"]]
    assert starts == list(range(starts[0], starts[0] + len(starts)))
    assert len(starts) == 88
    assert scene.fleet.since[2] == 1_000_000.0 - OVERLAP_S


@pytest.mark.parametrize(("track", "step_s"), [("heat", 1), ("temp_c", 7)])
async def test_a_history_that_is_not_kept_is_refused(track: str, step_s: int) -> None:
    with pytest.raises(ValueError, match="no history"):
        Scene(Fleet()).watch.windows((), track, step_s, 0.0)


async def test_a_node_that_falls_silent_is_told_once_and_its_return_too() -> None:
    scene = Scene(Fleet())
    await scene.go(10)
    scene.fleet.silent.add("n1")
    await scene.go(60)
    assert scene.titles == "vibevoice-serve: ALERT: no answer from a node's telemetry: host-1"
    assert [alert.subject for alert in scene.watch.alerts()] == ["n1"]
    scene.fleet.silent.clear()
    await scene.go(20)
    assert len(scene.posted) == 2
    assert "OK again" in scene.posted[1].title


class Changing(Fleet):
    """A node joins, and later one leaves, in the worst moment: just behind a look at the list.

    Every look takes as long as it may.
    """

    changed_at: float | None = None
    followed_s: tuple[float, ...] = ()

    async def nodes(self) -> tuple[NodeInfo, ...]:
        listed = await super().nodes()
        if self.changed_at is not None:
            self.followed_s += (self.now - self.changed_at,)
            self.changed_at = None
        elif len(self.since) % 5 == 4:
            self.nodes_number, self.changed_at = 5 - self.nodes_number, self.now
        self.now += ANSWERS_S
        return listed


async def test_a_node_that_joins_or_leaves_is_followed_within_five_seconds() -> None:
    fleet = Changing(2)
    enough = asyncio.Event()

    async def sleep(seconds: float) -> None:
        fleet.now += seconds
        if len(fleet.followed_s) >= 4:
            enough.set()
        await asyncio.sleep(0)

    watch = FleetWatch(
        ClusterView(fleet, clock=fleet.clock, wall=fleet.clock),
        thermal=DEFAULT_RULES,
        alerts=(),
        post=lambda _message: None,
        clock=fleet.clock,
        wall=fleet.clock,
        sleep=sleep,
    )
    watching = asyncio.create_task(watch.run())
    await asyncio.wait_for(enough.wait(), 10)
    watching.cancel()
    assert fleet.nodes_number in {2, 3}
    assert max(fleet.followed_s) <= 5.0


async def test_a_node_with_fewer_cards_than_before_is_told() -> None:
    scene = Scene(Fleet(cards=4, source="nvml"))
    await scene.go(10)
    scene.fleet.cards = 3
    await scene.go(70)
    assert "fewer cards than before: host-0" in scene.titles
    (message,) = scene.posted
    assert message.urgent


@pytest.mark.parametrize("before", ["simulated", "nvml"])
async def test_other_settings_of_the_cards_leave_none_missing(before: CardSource) -> None:
    scene = Scene(Fleet(cards=8, source=before))
    await scene.go(10)
    scene.fleet.cards, scene.fleet.source = 2, "simulated"
    await scene.go(130)
    assert scene.posted == []


async def test_a_node_that_was_taken_out_is_not_missed_and_one_that_died_is() -> None:
    scene = Scene(Fleet(3))
    await scene.go(10)
    scene.fleet.silent = {"n0", "n1"}
    await scene.go(40)
    assert {alert.subject for alert in scene.watch.alerts()} == {"n0", "n1"}
    scene.fleet.fates = {"n0": "died", "n1": "left", "n2": "left"}
    await scene.go(100)
    assert {alert.subject for alert in scene.watch.alerts()} == {"n0"}


async def test_speech_that_fails_over_the_fleet_is_told_and_a_window_that_empties_clears_it() -> (
    None
):
    scene = Scene(Fleet())
    scene.fleet.recent = (RecentStats("tts-1", attempts=40, failed=20, audio_s=9.0, wall_s=9.0),)
    await scene.go(70)
    assert "many segments fail" in scene.titles
    scene.fleet.recent = ()
    await scene.go(310)
    assert [alert.rule for alert in scene.watch.alerts()] == []
    assert "OK again: many segments fail" in scene.titles


async def test_a_queue_that_is_stuck_is_told_and_one_long_wait_that_is_over_is_not() -> None:
    scene = Scene(Fleet())
    scene.watch.heard(IngressReport("i-1", "tts", 400.0))
    await scene.go(4)
    for _ in range(40):
        scene.watch.heard(IngressReport("i-1", "tts", 0.0))
        scene.watch.heard(IngressReport("i-2", "tts", 1.0))
        await scene.go(2)
    assert scene.posted == []
    for second in range(0, 130, 2):
        scene.watch.heard(IngressReport("i-1", "tts", float(second)))
        scene.watch.heard(IngressReport("i-2", "tts", 0.0))
        await scene.go(2)
    assert scene.titles == "vibevoice-serve: ALERT: requests wait long for a card: tts"


async def test_a_single_failure_is_no_alert() -> None:
    scene = Scene(Fleet())
    scene.fleet.recent = (RecentStats("tts-1", attempts=1, failed=1),)
    await scene.go(300)
    assert scene.posted == []


async def test_what_a_node_last_said_of_its_speech_is_not_believed_for_ever() -> None:
    scene = Scene(Fleet())
    scene.fleet.recent = (RecentStats("tts-1", attempts=10, failed=10),)
    await scene.go(70)
    scene.fleet.silent.add("n0")
    await scene.go(700)
    assert [alert.rule for alert in scene.watch.alerts()] == ["node_silent"]


async def test_a_report_tells_the_hour_of_every_card() -> None:
    scene = Scene(Fleet())
    await scene.go(120)
    facts = scene.watch.facts(1.0)
    assert [card.label for card in facts.cards] == [
        f"host-{node} card {card}" for node in (0, 1) for card in (0, 1)
    ]
    assert facts.simulated
    assert "| host-1 card 1 (simulated) |" in scene.watch.report(1.0, "en", as_html=False)
    assert "模拟" in scene.watch.report(1.0, "zh", as_html=True)


async def test_alerts_of_a_node_that_left_are_not_on_in_a_report() -> None:
    hot = ActiveAlert("card_hot", "warning", "card hot", "SIM", "a card", 81.0, "C", simulated=True)
    scene = Scene(Fleet(alerts=(hot,)))
    await scene.go(2)
    assert scene.watch.facts(1.0).alerts == ("card hot: a card",) * 2
    scene.fleet.nodes_number = 1
    await scene.go(2)
    assert scene.watch.facts(1.0).alerts == ("card hot: a card",)


async def test_a_report_is_written_on_its_day_and_sent(tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    scene = Scene(Fleet(), ReportSchedule(folder, every_h=0.01))
    await scene.go(20)
    assert scene.posted == []
    await scene.go(40)
    assert [message.title for message in scene.posted] == ["vibevoice-serve: health report"]
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.md"]
    assert scene.posted[0].body == (folder / "report.md").read_text(encoding="utf-8")


async def test_a_report_that_cannot_be_written_hurts_nothing(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    scene = Scene(Fleet(), ReportSchedule(blocked / "below", every_h=0.001))
    await scene.go(20)
    assert scene.watch.windows(("SIM-n0-0",), "temp_c", 1, 0.0)


async def test_an_exporter_that_fails_for_long_is_told() -> None:
    scene = Scene(Fleet())
    scene.fleet.exports = (ExportState("traces", failing_s=30.0), ExportState("metrics"))
    scene.watch.heard(IngressReport("i-1", "tts", 0.0, (ExportState("traces", failing_s=30.0),)))
    await scene.go(10)
    assert scene.posted == []
    scene.fleet.exports = (ExportState("traces", failing_s=700.0), ExportState("metrics"))
    scene.watch.heard(IngressReport("i-1", "tts", 0.0, (ExportState("traces", failing_s=700.0),)))
    await scene.go(10)
    assert "telemetry can't be exported" in scene.titles
    subjects = {alert.subject for alert in scene.watch.alerts()}
    assert subjects == {"n0", "n1", "i-1"}


async def test_a_new_watch_may_go_on_with_the_history_of_the_last() -> None:
    scene = Scene(Fleet())
    await scene.go(30)
    scene.watch = FleetWatch(
        ClusterView(scene.fleet, clock=scene.fleet.clock, wall=scene.fleet.clock),
        thermal=DEFAULT_RULES,
        alerts=(),
        post=scene.posted.append,
        memory=scene.watch.memory,
    )
    assert len(scene.watch.windows(("SIM-n0-0",), "temp_c", 1, 0.0)["SIM-n0-0"]) == 88


async def test_nodes_whose_clock_is_behind_have_a_history_all_the_same() -> None:
    scene = Scene(Fleet(lag_s=40.0))
    await scene.go(30)
    starts = [w.start for w in scene.watch.windows(("SIM-n0-0",), "temp_c", 1, 0.0)["SIM-n0-0"]]
    assert starts[-1] == scene.fleet.now - 2
    assert starts == list(range(starts[0], starts[0] + len(starts)))


@pytest.mark.parametrize("ahead_s", [600.0, 3e7, -90_000.0])
async def test_a_node_whose_clock_is_far_off_has_its_history_in_the_fleet_s_time(
    ahead_s: float,
) -> None:
    scene = Scene(Fleet(lag_s=-ahead_s))
    await scene.go(30)
    scene.fleet.lag_s = 0.0  # it is put right
    await scene.go(30)
    windows = scene.watch.windows(("SIM-n0-0",), "temp_c", 1, 0.0)["SIM-n0-0"]
    starts = [window.start for window in windows]
    assert starts[-1] == scene.fleet.now - 2
    assert starts == list(range(starts[0], starts[0] + len(starts)))
    (card, *_) = scene.watch.facts(1.0).cards
    assert card.state == "here"
    assert card.available == pytest.approx(1.0)


async def test_a_report_has_the_cards_of_a_node_that_left_long_ago() -> None:
    scene = Scene(Fleet())
    scene.fleet.faults = (XidEvent(scene.fleet.now, "SIM-n0-0", 79, 2),)
    await scene.go(600)
    scene.fleet.nodes_number = 0
    await scene.go(600)
    facts = scene.watch.facts(1.0)
    assert [(card.label, card.state) for card in facts.cards] == [
        (f"host-{node} card {card}", "absent") for node in (0, 1) for card in (0, 1)
    ]
    card = facts.cards[0]
    # From the minute before the first look on; its node left when half of the time was over.
    assert card.available == pytest.approx(657 / 1260, abs=0.05)
    assert card.energy_j == pytest.approx(300.0 * 657, rel=1e-6)
    assert [(event.xid, event.count) for event in card.xids] == [(79, 2)]
    assert any("host-1: the node left" in problem for problem in facts.problems)
    assert scene.watch.facts(0.1).cards == ()


async def test_a_card_that_its_driver_lost_is_lost_even_if_it_was_never_read() -> None:
    scene = Scene(Fleet(lost={"SIM-n0-1"}))
    await scene.go(60)
    found = {
        card.sample.uuid: (card.state, card.available) for card in scene.watch.facts(1.0).cards
    }
    assert found["SIM-n0-1"] == ("lost", 0.0)
    assert found["SIM-n0-0"][0] == "here"


async def test_a_card_whose_node_does_not_answer_is_absent() -> None:
    scene = Scene(Fleet())
    await scene.go(30)
    scene.fleet.silent.add("n1")
    await scene.go(90)
    states = {card.node: card.state for card in scene.watch.facts(1.0).cards}
    assert states == {"n0": "here", "n1": "absent"}


async def test_a_new_watch_goes_on_with_alerts_and_the_day_of_the_report(tmp_path: Path) -> None:
    scene = Scene(Fleet(), ReportSchedule(tmp_path, every_h=0.05))
    scene.fleet.silent.add("n1")
    await scene.go(10)
    scene.fleet.silent.clear()
    await scene.go(10)
    scene.fleet.silent.add("n1")
    await scene.go(60)
    assert len(scene.posted) == 1
    scene.watch = FleetWatch(
        ClusterView(scene.fleet, clock=scene.fleet.clock, wall=scene.fleet.clock),
        thermal=DEFAULT_RULES,
        alerts=RULES,
        post=scene.posted.append,
        schedule=ReportSchedule(tmp_path, every_h=0.05),
        memory=scene.watch.memory,
        clock=scene.fleet.clock,
        wall=scene.fleet.clock,
    )
    assert [alert.rule for alert in scene.watch.alerts()] == ["node_silent"]
    await scene.go(90)
    assert len(scene.posted) == 1
    await scene.go(30)
    assert [message.title for message in scene.posted][1:] == ["vibevoice-serve: health report"]


async def test_a_report_tells_what_became_of_messages() -> None:
    scene = Scene(Fleet(channels=(ChannelCount("mail", sent=2, failed=1),)))
    await scene.go(2)
    assert scene.watch.facts(1.0).channels == (ChannelCount("mail", sent=4, failed=2),)
