"""The monitor in a real browser, over real telemetry of simulated cards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from serve_app.ingress.http import create_app
from serve_app.ingress.routes_monitor import PlotlyScript, monitor_routes, own_assets
from telemetry.core.thermal import HeatLimits, ThermalRules
from tests.browser.conftest import Watched
from tests.browser.fleet import Fleet
from tests.browser.serving import Served, serving
from tests.browser.stage import make_service
from tests.unit.fake_replicas import FakeReplicas

pytestmark = pytest.mark.browser

# Expressions to wait for are functions: the page's policy forbids to evaluate a text.
FIRST_CHART = "document.querySelector('#panels .chart').data"


@contextmanager
def monitoring(fleet: Fleet, port: int = 0) -> Iterator[Served]:
    """The service with this fleet behind ``/get_metrics``."""
    with ExitStack() as stack:
        stack.callback(fleet.close)
        service = make_service(FakeReplicas(), fleet.metrics)
        yield stack.enter_context(serving(lambda _url: create_app(service), port))


def lived(cards: tuple[int, ...], **options: Any) -> Fleet:
    """A fleet with more than a minute behind it."""
    fleet = Fleet(cards, **options)
    fleet.advance(70)
    return fleet


def open_monitor(watched: Watched, served: Served) -> Page:
    watched.page.goto(f"{served.url}/monitor", wait_until="domcontentloaded")
    expect(watched.page.locator("#live")).to_have_text("● live")
    return watched.page


def test_the_lines_move_and_nothing_comes_from_elsewhere(watched: Watched) -> None:
    fleet = lived((2, 2))
    fleet.speak(25)
    with monitoring(fleet) as served:
        page = open_monitor(watched, served)
        expect(page.locator("#panels .panel")).to_have_count(4)
        page.wait_for_function(f"() => {FIRST_CHART}?.[0].y.length >= 55")
        before = page.evaluate(f"{FIRST_CHART}.map((line) => line.y.join())")
        page.wait_for_function(
            f"(before) => {FIRST_CHART}.some((line, at) => line.y.join() !== before[at])",
            arg=before,
        )
        names = page.evaluate(f"{FIRST_CHART}.map((line) => [line.name, line.yaxis ?? 'y'])")
        assert names == [["Utilisation", "y"], ["Memory", "y"], ["Temperature", "y2"]]
        expect(page.locator(".panel .badge:visible")).to_have_count(4)
        expect(page.locator("#syntheses-body tr")).to_have_count(20)
        page.locator("#syntheses-chart").scroll_into_view_if_needed()
        bars = "document.querySelector('#syntheses-chart').data?.[0].y"
        page.wait_for_function(f"() => {bars}?.length === 20")
        shown = page.evaluate(bars)
        body = httpx.get(f"{served.url}/get_metrics").json()
        assert shown == [record["throughput_rt"] for record in body["inference"]]
    assert watched.foreign(served.url) == []
    assert watched.said == []


def test_the_history_is_fetched_once_and_then_only_what_is_new(watched: Watched) -> None:
    fleet = lived((1,))
    with monitoring(fleet) as served:
        page = open_monitor(watched, served)
        page.wait_for_function(f"() => {FIRST_CHART}?.[0].y.length >= 55")
        with page.expect_response("**/get_metrics?since=*") as answer:
            pass
        assert len(answer.value.json()["gpu"]) < 10
        assert fleet.looks.count(None) == 1


def test_a_stale_card_is_greyed_and_a_lost_one_says_why(watched: Watched) -> None:
    fleet = lived((2, 1), lost=(0,))
    fleet.silent.add(1)
    fleet.advance(12)
    with monitoring(fleet) as served:
        page = open_monitor(watched, served)
        stale = page.locator("#panels .panel[data-state=stale]")
        expect(stale).to_have_count(1)
        expect(stale.locator(".state")).to_contain_text("old")
        expect(stale.locator("[data-part=place]")).to_contain_text("node-1")
        lost = page.locator("#panels .panel[data-state=error]")
        expect(lost.locator(".state")).to_contain_text("GPU is lost")
        expect(lost.locator("dd").first).to_have_text("–")
        well = page.locator("#panels .panel[data-state=''] dd").first
        grey = stale.locator("dd").first.evaluate("node => getComputedStyle(node).color")
        assert well.evaluate("node => getComputedStyle(node).color") != grey
        expect(page.locator("#totals")).to_contain_text("1 unreadable, 1 stale")


def test_guards_throttling_and_alerts_are_shown(watched: Watched) -> None:
    # Simulated cards hold 60 to 84 C under full load and are never cooler than 34 C.
    eager = ThermalRules(
        celsius=HeatLimits(ease=20.0, pause=25.0, resume=15.0, reopen=10.0, alert=30.0)
    )
    fleet = lived((2,), guard=eager)
    with monitoring(fleet) as served:
        page = open_monitor(watched, served)
        paused = page.locator("#panels .panel[data-state=paused]")
        expect(paused).to_have_count(2)
        expect(paused.first.locator(".state")).to_contain_text("Paused for")
        expect(paused.first.locator("dd").first).to_contain_text("%")
        expect(paused.first.locator("[data-part=foot]")).to_contain_text("to slowdown")
        expect(page.locator("#totals")).to_contain_text("2 paused")
        alerts = page.locator("#alerts li").filter(has_text="paused")
        expect(alerts).to_have_count(2)
        expect(alerts.first).to_contain_text("node-0 card")
        expect(alerts.first).to_contain_text("(simulated)")
    assert watched.said == []


def test_without_cards_the_syntheses_are_still_shown(watched: Watched) -> None:
    fleet = lived((0,))
    fleet.speak(3)
    with monitoring(fleet) as served:
        page = open_monitor(watched, served)
        expect(page.locator("#no-cards")).to_be_visible()
        expect(page.locator("#panels .panel")).to_have_count(0)
        expect(page.locator("#syntheses-body tr")).to_have_count(3)
        expect(page.locator("#syntheses-body tr").first).to_contain_text("CPU")
        expect(page.locator("#nodes")).to_contain_text("no cards")
    assert watched.said == []


def test_three_hundred_cards_are_tiles_that_can_be_sorted_found_and_opened(
    watched: Watched,
) -> None:
    fleet = lived((8,) * 37 + (4,))
    with monitoring(fleet) as served:
        page = open_monitor(watched, served)
        expect(page.locator("#range")).to_contain_text("of 300 cards")
        tiles = page.locator("#tiles .tile")
        assert 0 < tiles.count() <= 60, "only a page of tiles is built"
        expect(page.locator("#panels .panel")).to_have_count(3)
        temps = [
            int(text.split("\u202f")[0])
            for text in tiles.locator(".values .temp").all_inner_texts()
        ]
        first = temps[: len(temps) // 2]
        assert min(first) >= max(temps[len(temps) // 2 :]) - 5, "hottest first"
        page.get_by_label("Sort by").select_option("place")
        expect(tiles.first).to_contain_text("node-0")
        page.get_by_label("Find").fill("node-17 SIM")
        expect(tiles).to_have_count(8)
        tiles.nth(2).focus()
        page.keyboard.press("Enter")
        expect(page.locator("#watched")).to_have_text("Chosen cards")
        expect(page.locator("#panels .panel")).to_have_count(1)
        expect(page.locator("#panels [data-part=place]")).to_contain_text("node-17")
        page.locator("#panels [data-part=unpin]").click()
        expect(page.locator("#panels .panel")).to_have_count(3)
        page.locator("#fleet-chart").scroll_into_view_if_needed()
        page.wait_for_function("() => document.querySelector('#fleet-chart').data?.length === 5")
        assert None not in fleet.looks, "the whole history of a large fleet is never asked for"
    assert watched.said == []
    assert watched.foreign(served.url) == []


def test_a_service_that_is_gone_is_said_and_found_again(watched: Watched) -> None:
    fleet = lived((1,))
    with monitoring(fleet) as served:
        page = open_monitor(watched, served)
        expect(page.locator("#panels .panel")).to_have_count(1)
    banner = page.locator("#banner")
    expect(banner).to_be_visible()
    expect(page.locator("#live")).to_have_text("○ not live")
    expect(page.locator("#banner-age")).to_contain_text("Last answer")
    expect(page.locator("#panels .panel")).to_have_count(1)
    with monitoring(lived((1,)), port=served.port):
        page.get_by_role("button", name="Try now").click()
        expect(banner).to_be_hidden()
        expect(page.locator("#live")).to_have_text("● live")
    refused = [said for said in watched.said if "ERR_CONNECTION_REFUSED" not in said]
    assert [said for said in refused if "ERR_EMPTY_RESPONSE" not in said] == []


def test_without_plotly_the_page_says_what_to_install(watched: Watched) -> None:
    from fastapi import FastAPI

    fleet = lived((1,))
    app = FastAPI()
    app.include_router(monitor_routes(own_assets(), PlotlyScript(None)))
    app.add_api_route("/get_metrics", fleet.metrics)
    with ExitStack() as stack:
        stack.callback(fleet.close)
        served = stack.enter_context(serving(lambda _url: app))
        page = open_monitor(watched, served)
        expect(page.locator("#no-charts")).to_contain_text("pip install 'vibevoice-serve[ui]'")
        expect(page.locator("#panels [data-part=temp]")).to_contain_text("°C")
        expect(page.locator("#panels .chart")).to_be_hidden()


@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_the_screen_in_both_themes(watched: Watched, width: int) -> None:
    fleet = lived((3,))
    fleet.speak(20)
    with monitoring(fleet) as served:
        watched.page.set_viewport_size({"width": width, "height": 800})
        page = open_monitor(watched, served)
        expect(page.locator("#panels .panel")).to_have_count(3)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        seen = set()
        for theme in ("light", "dark"):
            page.locator("#theme").click()
            expect(page.locator("#theme")).to_have_text(f"Theme: {theme}")
            seen.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert len(seen) == 2
    assert watched.said == []


def test_the_files_are_compressed_cached_and_fenced_in() -> None:
    fleet = lived((1,))
    with monitoring(fleet) as served, httpx.Client(base_url=served.url) as client:
        page = client.get("/monitor")
        assert "default-src 'self'" in page.headers["content-security-policy"]
        assert "http" not in page.headers["content-security-policy"]
        plotly = client.get("/monitor/assets/plotly.min.js")
        assert plotly.headers["content-encoding"] == "gzip"
        assert "max-age" in plotly.headers["cache-control"]
        plain = client.get("/monitor/assets/plotly.min.js", headers={"accept-encoding": "identity"})
        assert plain.content == plotly.content
        again = client.get(
            "/monitor/assets/plotly.min.js", headers={"if-none-match": plotly.headers["etag"]}
        )
        assert (again.status_code, again.content) == (304, b"")
        missing = client.get("/monitor/assets/other.js")
        assert missing.status_code == 404
        assert missing.json()["error"]["code"] == "not_found"
