"""A headless browser for pages that are files: the installed Chromium, or none."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@contextmanager
def chromium() -> Iterator[Any]:
    """Starts it. Without one the test is skipped, or fails where FAIL_WITHOUT_BROWSER=1."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        message = "no browser; install one, on Debian by `apt-get install chromium`"
        if os.environ.get("FAIL_WITHOUT_BROWSER") == "1":
            pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=list(_ARGUMENTS))
        yield started
        started.close()


class Opened:
    """A page in a context of its own, and everything that went wrong or was asked of a network."""

    def __init__(self, browser: Any, path: Any, **context: Any) -> None:
        self.page = browser.new_context(**context).new_page()
        self.faults: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.faults.append("dialog"), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(f"file://{path}")

    def _note(self, message: Any) -> None:
        if message.type == "error":  # also what the page's own policy forbids
            self.faults.append(message.text)

    def until(self, condition: str, seconds: float = 10) -> None:
        """Waits for something; playwright's own waiting is eval, which the page's policy forbids."""
        end = time.perf_counter() + seconds
        while not self.page.evaluate(condition):
            assert time.perf_counter() < end, condition
            self.page.wait_for_timeout(10)

    def settle(self) -> None:
        """Waits until what was pointed at is drawn."""
        self.page.evaluate(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
