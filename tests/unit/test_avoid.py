"""Who has refused or failed is left alone for a while, and forgiven."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.avoid import FAULT_MOST_S, FAULT_S, FORGET_S, REFUSED_S, AvoidedReplicas


class Book(AvoidedReplicas):
    """A book with a clock to set."""

    def __init__(self) -> None:
        self.now_s = 0.0
        super().__init__(lambda: self.now_s)

    def fail_at(self, now_s: float) -> float:
        """For how long one replica is avoided behind a fault."""
        self.now_s = now_s
        self.failed("r")
        return self.until_s()["r"] - now_s


def test_a_replica_that_fails_again_and_again_is_avoided_for_longer_and_longer() -> None:
    book, now_s, waits = Book(), 0.0, []
    for _ in range(8):
        waits.append(book.fail_at(now_s))
        now_s += waits[-1]
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


def test_what_fails_together_is_one_fault() -> None:
    book = Book()
    book.fail_at(0.0)
    assert book.fail_at(1.0) == FAULT_S - 1.0
    assert book.fail_at(FAULT_S) == 2 * FAULT_S


def test_a_good_take_forgives_but_not_one_that_was_begun_before() -> None:
    book = Book()
    book.fail_at(0.0)
    book.spoke("r")
    assert book.until_s() == {"r": FAULT_S}
    book.now_s = FAULT_S
    book.spoke("r")
    assert book.fail_at(FAULT_S) == FAULT_S


def test_a_refusal_is_soon_forgotten_and_shortens_nothing() -> None:
    book = Book()
    book.refused("r")
    assert book.until_s() == {"r": REFUSED_S}
    assert book.fail_at(0.5) == FAULT_S
    book.refused("r")
    assert book.until_s() == {"r": 0.5 + FAULT_S}
    book.now_s = 0.5 + FAULT_S
    assert book.until_s() == {}


@given(st.lists(st.tuples(st.sampled_from("rfs"), st.sampled_from("ab"), st.floats(0, 400))))
def test_nothing_is_avoided_for_long_or_kept_for_ever(events: list[tuple[str, str, float]]) -> None:
    book = Book()
    for kind, replica, wait_s in events:
        book.now_s += wait_s
        {"r": book.refused, "f": book.failed, "s": book.spoke}[kind](replica)
        assert all(
            book.now_s < end_s <= book.now_s + FAULT_MOST_S for end_s in book.until_s().values()
        )
    book.now_s += FAULT_MOST_S + FORGET_S
    assert book.until_s() == {}
    assert book._penalties == {}
