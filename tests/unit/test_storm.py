"""A quarter of a minute of ``tests.bench.storm``: nothing leaks, and nobody good is harmed."""

from __future__ import annotations

import pytest

from tests.bench.storm import CLIENTS, MOST_GROWN_MIB, _answer, storm


@pytest.mark.timeout(120)
def test_rude_clients_leave_nothing_behind_and_harm_nobody() -> None:
    report = storm(CLIENTS, 15.0)
    assert report.rude > CLIENTS
    assert report.good > 0
    assert report.harmed == []
    left = {name: count - report.before[name] for name, count in report.after.items()}
    assert all(count <= 0 for count in left.values()), left
    assert report.grown_mib < MOST_GROWN_MIB


def test_an_answer_that_lost_its_tail_is_noticed() -> None:
    head = b"HTTP/1.1 200 OK\r\n"
    chunked = head + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"
    plain = head + b"content-length: 4\r\n\r\nabcd"
    assert _answer(chunked) == _answer(plain) == (200, b"abcd")
    torn = (chunked[:-5], chunked[:-8], plain[:-1], b"")
    assert [_answer(data)[0] for data in torn] == [0] * len(torn)
