"""The studio in a real browser, over the real routes and replicas that the test holds back."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Watched
from tests.browser.fleet import Fleet
from tests.browser.serving import Served, serving
from tests.browser.stage import HeldReplicas, make_service, studio_beside

pytestmark = pytest.mark.browser

SCENE = Path(__file__).parents[2] / "configs" / "examples" / "scene.txt"
SCRIPT = """Ann: Good evening, I would like to hear how this sounds while the rest is being made.
Bob: Then listen. The second part is held back until the first one has been heard by someone.
Ann: And here is a third part, which nobody has asked for, but which makes the script longer.
"""
PLAYING = "(() => { const a = document.querySelector('audio'); return a && !a.paused && %s; })()"


@pytest.fixture
def replicas() -> HeldReplicas:
    return HeldReplicas()


@contextmanager
def studio(replicas: HeldReplicas, **settings: object) -> Iterator[Served]:
    fleet = Fleet((1,))
    fleet.advance(5)
    service = make_service(replicas, fleet.metrics)
    with serving(lambda url: studio_beside(service, {"service_url": url, **settings})) as served:
        yield served
    fleet.close()


def open_studio(watched: Watched, served: Served) -> Page:
    watched.page.goto(f"{served.url}/studio/")
    expect(watched.page.locator("#cast")).to_contain_text("speakers")
    return watched.page


def write(page: Page, script: str) -> None:
    page.get_by_label("Script").fill(script)


def download(page: Page) -> bytes:
    with page.expect_download() as started:
        page.locator("a.download").click()
    return Path(started.value.path()).read_bytes()


def test_audio_plays_while_the_rest_is_being_made(watched: Watched, replicas: HeldReplicas) -> None:
    with studio(replicas) as served:
        page = open_studio(watched, served)
        write(page, SCRIPT)
        expect(page.locator("#cast")).to_contain_text("2 speakers: Ann, Bob")
        expect(page.get_by_label("Voice of Ann")).to_be_visible()
        page.get_by_label("Voice of Bob").click()
        page.get_by_role("option", name="Soprano (en)").click()
        page.locator("#speak").click()
        page.wait_for_function(PLAYING % "a.currentTime > 0.5")
        cells = page.get_by_role("progressbar", name="Segments spoken")
        expect(cells).to_have_attribute("aria-valuenow", "1")
        segments = int(cells.get_attribute("aria-valuemax") or 0)
        assert segments > 1, "the rest is still to be made"
        assert page.locator("a.download").count() == 0
        replicas.release()
        expect(page.locator("#progress")).to_contain_text("Done.")
        expect(cells).to_have_attribute("aria-valuenow", str(segments))
        expect(page.locator(".cells .done")).to_have_count(segments)
        with av.open(io.BytesIO(download(page)), "r") as file:
            heard = sum(frame.samples for frame in file.decode(audio=0))
        assert heard > 24_000 * 5
        page.wait_for_function(PLAYING % "a.currentTime > 4", timeout=60_000)
    assert {line.voice for line in replicas.lines} == {"alto", "soprano"}
    assert watched.foreign(served.url) == []
    assert watched.said == []


def test_a_wav_has_its_true_length(watched: Watched, replicas: HeldReplicas) -> None:
    replicas.release()
    with studio(replicas) as served:
        page = open_studio(watched, served)
        write(page, SCRIPT)
        page.locator("#format").get_by_label("wav").check()
        page.locator("#speak").click()
        expect(page.locator("#progress")).to_contain_text("Done.")
        content = download(page)
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert len(samples) * 2 == len(content) - content.index(b"data") - 8
    assert len(samples) > 24_000 * 5
    assert int(np.abs(samples).max()) > 1000


def test_stop_cancels_what_is_being_spoken(watched: Watched, replicas: HeldReplicas) -> None:
    with studio(replicas) as served:
        page = open_studio(watched, served)
        write(page, SCRIPT)
        page.locator("#speak").click()
        expect(page.locator("#progress")).to_contain_text("segment 1 of")
        page.locator("#stop").click()
        expect(page.locator("#progress")).to_contain_text("Stopped.")
        expect(page.locator("#speak")).to_be_enabled()
        assert replicas.cancelled.wait(20.0), "the service went on speaking"
        assert page.locator("audio").count() == 1, "what was spoken can still be heard"


def test_a_page_that_is_left_stops_its_speech(watched: Watched, replicas: HeldReplicas) -> None:
    with studio(replicas) as served:
        page = open_studio(watched, served)
        write(page, SCRIPT)
        page.locator("#speak").click()
        expect(page.locator("#progress")).to_contain_text("segment 1 of")
        page.goto("about:blank")
        assert replicas.cancelled.wait(30.0), "the service went on speaking"


def test_too_many_speakers_are_named_and_nothing_starts(
    watched: Watched, replicas: HeldReplicas
) -> None:
    with studio(replicas) as served:
        page = open_studio(watched, served)
        write(page, "".join(f"{name}: Hello there.\n" for name in ("Ann", "Bob", "Cy", "Di", "Ed")))
        expect(page.locator("#cast [role=alert]")).to_contain_text("The limit is 4")
        expect(page.locator(".voice:visible")).to_have_count(0)
        page.locator("#speak").click()
        expect(page.locator("#progress [role=alert]")).to_contain_text("5 speakers: Ann")
        expect(page.locator("#speak")).to_be_enabled()
        write(page, "x" * 21_000)
        page.locator("#speak").click()
        expect(page.locator("#progress [role=alert]")).to_contain_text("one request may carry")
    assert replicas.taken == []
    assert watched.said == []


def test_a_service_that_is_not_there_is_said(watched: Watched, replicas: HeldReplicas) -> None:
    with studio(replicas, service_url="http://127.0.0.1:9") as served:
        page = open_studio(watched, served)
        expect(page.locator("#progress [role=alert]")).to_contain_text("http://127.0.0.1:9")
        page.locator("#speak").click()
        expect(page.locator(".take[data-state=failed]")).to_contain_text("does not answer")


def test_examples_and_the_monitor_are_at_hand(watched: Watched, replicas: HeldReplicas) -> None:
    with studio(replicas, example_files=(str(SCENE),)) as served:
        page = open_studio(watched, served)
        page.get_by_label("Example").click()
        page.get_by_role("option", name="Scene").click()
        expect(page.locator("#cast")).to_contain_text("4 speakers: Farncombe, Jeyes, Lily")
        expect(page.locator(".voice:visible")).to_have_count(4)
        expect(page.locator(".ai-note")).to_contain_text("AI-generated")
        assert not [url for url in watched.requests if "/monitor" in url], "loaded when opened"
        page.get_by_role("tab", name="Monitor").click()
        frame = page.frame_locator("iframe.monitor")
        expect(frame.locator("#live")).to_have_text("● live")
        expect(frame.locator("#panels .panel")).to_have_count(1)
    assert watched.foreign(served.url) == []
    assert watched.said == []
