"""Debian's chromium through Playwright, and a page that remembers what it asked for and said."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


_PATIENCE_MS = 30_000
expect.set_options(timeout=_PATIENCE_MS)


@dataclass
class Watched:
    """A page, the addresses it asked for, and what it put on its console."""

    page: Page
    requests: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def foreign(self, own: str) -> list[str]:
        """Requests to any host but our own."""
        kept = (own, "data:", "blob:", "about:")
        return [url for url in self.requests if not url.startswith(kept)]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser a module: as long as it is open, no asyncio test can run in this thread."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("chromium is not installed; .ci/run installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=_ARGS)
        yield browser
        browser.close()


@pytest.fixture
def watched(chromium: Browser) -> Iterator[Watched]:
    with chromium.new_context(
        viewport={"width": 1280, "height": 800}, accept_downloads=True
    ) as context:
        context.set_default_timeout(_PATIENCE_MS)
        page = context.new_page()
        made = Watched(page)
        context.on("request", lambda request: made.requests.append(request.url))
        page.on("console", lambda message: made.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: made.said.append(f"uncaught: {error}"))
        yield made
