"""The health report: facts out of a day's history, findings, and both ways to write them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from telemetry.core.channels import ChannelCount
from telemetry.core.findings import findings
from telemetry.core.history import CardHistory, Place
from telemetry.core.messages import Language
from telemetry.core.model_book import ModelBook
from telemetry.core.report_facts import CardFacts, CardState, ReportFacts, card_facts
from telemetry.core.sample import CardSample, SynthesisRecord, XidEvent
from telemetry.core.thermal import HeatLimits, ThermalRules
from telemetry.report import to_html, to_markdown
from tests.records import record

START = 1_000_020.0 - 1_000_020.0 % 60
HOUR = 3600.0
PLACE = Place("n", "node-1")
CARD = CardSample(
    START,
    0,
    "GPU-a",
    "card",
    simulated=False,
    gpu_util=80.0,
    mem_used_bytes=90,
    mem_total_bytes=100,
    temp_c=65.0,
    temp_slowdown_c=90.0,
    power_w=300.0,
    power_limit_w=400.0,
    throttle=(),
)
RECORD = record(model="joe", audio_s=10.0, first_audio_s=0.25)


def facts_of(
    *, minutes: int = 60, xids: tuple[XidEvent, ...] = (), gap: int = 0, **signals: Any
) -> CardFacts:
    history = CardHistory(PLACE)
    for at in range(0, minutes * 60, 10):
        if at >= gap * 60 or at == 0:
            sample = replace(CARD, timestamp=START + at, **signals)
            history.add(sample)
    facts = card_facts(
        history,
        start=START,
        end=START + minutes * 60,
        limits=HeatLimits(),
        xids=xids,
    )
    assert facts is not None
    return facts


def report(
    *cards: CardFacts,
    records: tuple[SynthesisRecord, ...] = (RECORD,),
    energy_j_per_min: float | None = 400.0,
) -> ReportFacts:
    book = ModelBook()
    for one in records:
        book.add(one)
        if energy_j_per_min is not None:
            book.used(one, energy_j_per_min)
    return ReportFacts(START, START + HOUR, cards, book.stats, ("card hot",), ())


def advice(*args: Any, rules: ThermalRules | None = None, **kwargs: Any) -> list[str]:
    facts = report(*args, **kwargs)
    return [
        f"{f.gravity}: {f.english[0]} {f.english[1]}"
        for f in findings(facts, rules or ThermalRules())
    ]


def test_facts_are_those_of_the_hour() -> None:
    facts = facts_of()
    assert (facts.label, facts.available, facts.slowed, facts.warm) == (
        "node-1 card 0",
        1.0,
        0.0,
        0.0,
    )
    assert facts.energy_j == pytest.approx(300.0 * (HOUR - 10), rel=1e-6)
    assert facts.least_margin_c == pytest.approx(25.0, abs=0.1)
    whole = report(facts)
    assert whole.energy_per_audio_minute_j == pytest.approx(400.0, rel=0.025)
    both = report(facts, facts_of(minutes=30))
    headings: dict[Language, str] = {
        "en": "## Speech since the nodes' telemetry started",
        "zh": "## 合成（自节点遥测启动以来）",
    }
    for language, heading in headings.items():
        text = to_markdown(both, ThermalRules(), language)
        rows = [line for line in text.splitlines() if line.startswith("| node-1 card 0")]
        assert ["| 0.30 kWh |" in row for row in rows] == [True, False]
        assert "| 0.15 kWh |" in rows[1]
        assert "0.45 kWh" in text
        assert heading in text
    assert advice(facts) == []


def test_energy_of_a_minute_of_speech_does_not_depend_on_the_time_of_the_report() -> None:
    hour, minute = report(facts_of(minutes=60)), report(facts_of(minutes=1))
    assert hour.energy_j != minute.energy_j
    assert hour.energy_per_audio_minute_j == minute.energy_per_audio_minute_j


def test_a_card_that_was_not_seen_or_tells_nothing_has_no_made_up_facts() -> None:
    told: dict[str, Any] = {"start": START, "end": START + HOUR, "limits": HeatLimits()}
    assert card_facts(CardHistory(PLACE), **told) is None
    blank = facts_of(power_w=None, gpu_util=None, throttle=None, mem_used_bytes=None)
    assert (blank.energy_j, blank.util, blank.slowed, blank.mem_fill) == (None, None, None, None)
    assert report(blank, energy_j_per_min=None).energy_per_audio_minute_j is None


def test_time_without_readings_is_found() -> None:
    facts = facts_of(gap=15)
    assert facts.available == pytest.approx(46 / 60)
    (line,) = advice(facts)
    assert "No readings for 14 min of 1.0 h" in line


def test_a_report_that_begins_and_ends_within_a_minute_counts_what_it_covers() -> None:
    history = CardHistory(PLACE)
    for at in range(601):
        history.add(replace(CARD, timestamp=START + at))
    facts = card_facts(history, start=START + 30, end=START + 570.5, limits=HeatLimits())
    assert facts is not None
    assert facts.energy_j == pytest.approx(300.0 * 540.5, rel=1e-5)
    assert facts.seen_s == 540.5
    assert facts.available == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("state", "gravity", "words"),
    [
        ("lost", "critical", "Its driver can't read it; the last reading is of"),
        ("absent", "warning", "Nobody has told of it since 1970-01-12"),
    ],
)
def test_a_card_that_is_not_there_at_the_end_is_in_the_report(
    state: CardState, gravity: str, words: str
) -> None:
    history = CardHistory(PLACE)
    for at in range(0, 1800, 10):
        history.add(replace(CARD, timestamp=START + at))
    history.add(CardSample(START + 1800, 0, "GPU-a", "?", simulated=False, error="gone"))
    facts = card_facts(history, start=START, end=START + HOUR, limits=HeatLimits(), state=state)
    assert facts is not None
    assert (facts.available, facts.state, facts.sample.name) == (0.5, state, "card")
    assert facts.energy_j == pytest.approx(300.0 * 1790, rel=1e-3)
    (line,) = advice(facts)
    assert line.startswith(f"{gravity}: {words}")
    assert f"| 50.0%, {state} |" in to_markdown(report(facts), ThermalRules())
    before = card_facts(
        history, start=START - 2 * HOUR, end=START - HOUR, limits=HeatLimits(), state=state
    )
    assert (before is None) == (state == "absent")


def test_a_card_that_was_never_read_has_no_readings() -> None:
    history = CardHistory(PLACE)
    history.add(CardSample(START, 0, "GPU-x", "?", simulated=False, error="gone"))
    facts = card_facts(history, start=START, end=START + HOUR, limits=HeatLimits(), state="lost")
    assert facts is not None
    assert (facts.available, facts.energy_j, facts.read_at) == (0.0, None, None)


def test_channels_that_took_no_message_are_found() -> None:
    good, bad = ChannelCount("mail", sent=9), ChannelCount("wecom", sent=1, failed=2, dropped=1)
    facts = replace(report(), channels=(good, bad))
    (found,) = findings(facts, ThermalRules())
    assert (found.subject, found.english[0]) == ("wecom", "3 of 4 messages reached nobody.")
    assert "| wecom | 1 | 2 | 1 | 0 |" in to_markdown(facts, ThermalRules())
    assert "告警渠道" in to_html(facts, ThermalRules(), "zh")


def test_heat_is_answered_with_a_cap_or_with_the_other_scale() -> None:
    (slowed,) = advice(facts_of(throttle=("hw_thermal",)))
    assert "100.0% of the time" in slowed
    assert "nvidia-smi -pl 340" in slowed
    warm = facts_of(temp_c=78.0)
    (line,) = advice(warm)
    assert "scale to margin" in line
    assert advice(warm, rules=ThermalRules(scale="margin")) == []
    assert advice(facts_of(temp_c=84.0)) == []  # 6 C from its slowdown: the pause is right


def test_memory_and_faults_have_their_findings() -> None:
    assert "Lower engine.slots" in advice(facts_of(mem_used_bytes=99))[0]
    assert "more engine.slots" in advice(facts_of(mem_used_bytes=20))[0]
    assert advice(facts_of(mem_used_bytes=20, gpu_util=5.0)) == []
    faults = (
        XidEvent(START + 5, "GPU-a", 79, 2),
        XidEvent(START + 5, "GPU-a", 31),
        XidEvent(1.0, "GPU-a", 48),
    )
    assert "critical: The driver reported Xid 79 (2 x)." in advice(facts_of(xids=faults))[0]
    grave = advice(facts_of(ecc_uncorrected=3, rows_pending=True, rows_failed=True))
    assert [line.split(":")[0] for line in grave] == ["critical", "critical"]
    assert "waits to be replaced" in advice(facts_of(rows_pending=True))[0]


def test_models_that_fail_or_dawdle_are_found() -> None:
    failing = (RECORD, replace(RECORD, error="engine_out_of_memory"))
    assert (
        "1 of 2 segments failed, most of them (1) by engine_out_of_memory"
        in advice(records=failing)[0]
    )
    slow = (replace(RECORD, wall_s=25.0, first_audio_s=8.0),)
    lines = advice(records=slow)
    assert len(lines) == 2
    assert re.search(r"took 2\.\d x as long", lines[0])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_both_ways_to_write_it_hold_the_same(language: Language) -> None:
    facts = report(facts_of(temp_c=78.0), facts_of(mem_used_bytes=99))
    markdown = to_markdown(facts, ThermalRules(), language)
    page = to_html(facts, ThermalRules(), language)
    for text in ("GPU-a", "node-1 card 0", "joe (piper)", "78 / 78 C", "99%"):
        assert text in markdown
        assert text in page
    assert markdown.count("\n| ") >= 6


def test_the_page_is_whole_and_nothing_in_it_can_break_out() -> None:
    card = facts_of()
    evil = replace(card, host="</script><b>x", sample=replace(card.sample, simulated=True))
    page = to_html(report(evil), ThermalRules(), plotly_js="window.Plotly = {};")
    assert "<b>x" not in page
    assert not re.search(r"""(src|href)\s*=\s*["']""", page)
    found = re.search(r'id="figures">(.*?)</script>', page)
    assert found is not None
    figures = json.loads(found.group(1))
    assert len(figures["temperature"]["data"][0]["y"]) == 60
    assert "simulated" in page


def test_nothing_seen_is_said_in_words() -> None:
    nothing = ReportFacts(START, START + HOUR, (), (), (), ())
    assert "No card was seen" in to_markdown(nothing, ThermalRules())
    assert "Nothing stood out" in to_html(nothing, ThermalRules())
