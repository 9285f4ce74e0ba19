"""A service on eight cards: all speak, and when they grow too hot and cool nobody's request fails.

Ray finds the cards of a driver by itself and pins a replica to each. The driver is the stand-in
library, found through the environment at a process' start: the service runs as a process of its
own.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.contract.test_notify import web_server
from tests.heat_scene import HOT, LONG_SCENE, UUIDS, HotService, first, hot_service, kill

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

Scene = tuple[HotService, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A service that tells a local server of its alerts, and what that server has heard."""
    with web_server(b"") as (port, posts):
        telemetry = {
            "sample_period_s": 0.2,
            "thermal": {"hold_s": 1.0},
            "alerts": {
                "channels": [{"name": "hook", "url": f"json://127.0.0.1:{port}/alerts"}],
                "rules": {"card_paused": {"clear_for_s": 0.0}},
            },
        }
        folder = tmp_path_factory.mktemp("heat")
        with hot_service(folder, telemetry) as service:
            service.speak_until(lambda cards: cards == set(UUIDS))
            yield service, posts


def told(posts: list[dict[str, Any]], kind: str, uuid: str) -> bool:
    """Whether people were told so of a card's pause."""
    return any(
        kind in line and "paused by the thermal guard" in line and uuid in line
        for post in posts
        for line in post["message"].splitlines()
    )


def test_every_card_speaks_and_is_read(scene: Scene) -> None:
    service, _ = scene
    outcome = service.outcome(service.post(LONG_SCENE))
    assert set(outcome["cards"]) == set(UUIDS)
    body = service.http.get("/get_metrics").json()
    assert {card["uuid"] for card in body["cards"]} == set(UUIDS)
    assert not any(card["simulated"] for card in body["cards"])
    service.heat(0)
    seen = first(
        lambda: [
            card["temp"]
            for card in service.http.get("/get_metrics").json()["cards"]
            if card["uuid"] == UUIDS[0] and card["temp"] == HOT
        ]
    )
    assert seen == [HOT]
    service.heat()
    service.speak_until(lambda cards: cards == set(UUIDS))


def test_a_hot_card_gets_no_new_segment_until_it_is_cool(scene: Scene) -> None:
    service, posts = scene
    hot, others = UUIDS[0], set(UUIDS[1:])
    service.heat(0)
    service.speak_until(lambda cards: hot not in cards)
    for _ in range(5):
        assert service.cards_of_next() == others
    first(lambda: told(posts, "ALERT", hot))
    assert service.http.get("/readyz").status_code == 200
    service.heat()
    service.speak_until(lambda cards: hot in cards)
    first(lambda: told(posts, "OK again", hot))


def test_a_guard_that_dies_comes_back_and_lets_no_hot_card_speak_meanwhile(scene: Scene) -> None:
    service, _ = scene
    service.heat(0)
    service.speak_until(lambda cards: UUIDS[0] not in cards)
    (pid,) = service.telemetry_pids()
    kill(pid)

    def renewed() -> bool:
        assert UUIDS[0] not in service.cards_of_next()
        return service.telemetry_pids() not in ([], [pid])

    first(renewed)
    for _ in range(5):
        assert UUIDS[0] not in service.cards_of_next()
    service.heat(0, 1)
    service.speak_until(lambda cards: cards == set(UUIDS[2:]))
    service.heat()
    service.speak_until(lambda cards: cards == set(UUIDS))


def test_where_all_are_hot_new_requests_are_told_and_running_ones_are_kept(scene: Scene) -> None:
    service, _ = scene
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(service.post, LONG_SCENE)
        service.heat(*range(len(UUIDS)))
        refused = first(lambda: _refused(service))
        assert refused.json()["error"]["code"] == "all_cards_paused"
        assert int(refused.headers["retry-after"]) >= 1
        ready = service.http.get("/readyz")
        assert ready.status_code == 503
        assert any("paused" in reason for reason in ready.json()["reasons"])
        assert not running.done()
        service.heat()
        service.outcome(running.result())
    service.speak_until(lambda cards: cards == set(UUIDS))


def _refused(service: HotService) -> Any:
    answer = service.post("Ann: One word.")
    return answer if answer.status_code == 503 else None
