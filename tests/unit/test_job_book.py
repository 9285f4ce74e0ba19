"""A whole book as one job: each letter of it is planned, and each chapter begins where it does."""

from __future__ import annotations

from itertools import accumulate

from serve_app.core.chapters import headings
from serve_app.core.letter_clock import count_letters
from serve_app.engines.simulated import SimulatedEngine
from serve_app.jobs.order import JobOrder, plan_order
from serve_app.prepare import Ability
from tests.unit import texts
from tests.unit.job_scene import FAST


def test_a_whole_book_is_planned_with_all_its_letters_and_chapters() -> None:
    text = texts.read("alice.txt")
    titles = [line for line in text.split("\n") if line.startswith("CHAPTER ")]
    engine = SimulatedEngine(FAST)
    planned = plan_order(
        JobOrder(text, headings=headings(text), in_words=False),
        engine.info,
        job_id="job_" + "a" * 24,
        created=0.0,
        max_characters=2_000_000,
        ability=Ability(),
    )
    chapters = planned.record.chapters
    assert [chapter.title for chapter in chapters] == titles
    assert len(titles) == 12
    rows = planned.plan.segments
    letters = [sum(count_letters(said.text) for said in row.utterances) for row in rows]
    ends = list(accumulate(letters))
    assert ends[-1] == count_letters(text)
    places = [count_letters(text[: text.index(title)]) for title in titles]
    assert [chapter.letters for chapter in chapters] == places
    assert planned.record.est_s > 2 * 3_600
