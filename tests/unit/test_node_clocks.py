"""Clocks that are wrong, and by how much their nodes' readings are moved."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from telemetry.core.node_clocks import TOLERANCE_S, NodeClocks


def test_small_differences_are_the_time_that_an_answer_takes() -> None:
    clocks = NodeClocks()
    clocks.heard("n", 102.0, 100.0)
    assert clocks.ahead_s("n") == clocks.ahead_s("other") == 0.0


def test_a_difference_holds_while_it_trembles_and_ends_when_the_clock_is_put_right() -> None:
    clocks, seen = NodeClocks(), []
    for ahead_s in (3600.4, 3603.0, 3598.0, 0.4, -900.0, 1.0):
        clocks.heard("n", 1e6 + ahead_s, 1e6)
        seen.append(clocks.ahead_s("n"))
    assert seen == [3600.0, 3600.0, 3600.0, 0.0, -900.0, 0.0]
    clocks.heard("n", 2e6, 1e6)
    clocks.keep({"m"})
    assert clocks.ahead_s("n") == 0.0


@given(st.lists(st.floats(-1e8, 1e8), min_size=1, max_size=30))
def test_what_is_told_comes_to_lie_near_the_truth(differences: list[float]) -> None:
    clocks = NodeClocks()
    for ahead_s in differences:
        clocks.heard("n", 1e9 + ahead_s, 1e9)
        assert abs(ahead_s - clocks.ahead_s("n")) <= TOLERANCE_S + 1e-3
