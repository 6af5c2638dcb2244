"""The page in a real browser: it asks for nothing, can be read by everyone, on a phone, in the dark and on paper."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright
from tests.devices.publish.reports import full, gated, skipped

from edgetl.devices.catalogue import host_profile
from edgetl.export.verdict_page import write_page

CHROMIUM = shutil.which("chromium")
PHONE = (390, 844)
TIMEOUT_MS = 60_000

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Closed with this module: while it is open, playwright's event loop runs in this thread."""
    if CHROMIUM is None:
        pytest.skip("there is no `chromium` on the PATH")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=TIMEOUT_MS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "v.html"
    write_page(gated(full(), full("onnxruntime-int8", "undecided"), skipped()), [], path, profile=host_profile())
    return path


def opened(browser: Browser, path: Path, **options: object) -> Page:
    width, height = PHONE
    context = browser.new_context(viewport={"width": width, "height": height}, **options)  # type: ignore[arg-type]
    context.set_default_timeout(TIMEOUT_MS)
    return context.new_page()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everyone_can_read_it(browser: Browser, written: Path, scheme: Literal["light", "dark"]) -> None:
    page = opened(browser, written, color_scheme=scheme, bypass_csp=True)
    page.goto(written.as_uri())
    found = Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 20, 20)"
    assert dark == (scheme == "dark")
    page.context.close()


def test_it_asks_for_nothing_and_fits_a_phone(browser: Browser, written: Path) -> None:
    page = opened(browser, written)
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(written.as_uri())
    assert asked == [written.as_uri()] and complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
    page.context.close()


def test_paper_has_what_is_folded(browser: Browser, written: Path) -> None:
    page = opened(browser, written)
    page.goto(written.as_uri())
    cell = page.get_by_role("cell", name="36 encoded images decode exactly", include_hidden=True).first
    shown = "cell => cell.checkVisibility({contentVisibilityAuto: true})"
    assert not cell.evaluate(shown)
    page.emulate_media(media="print")
    assert cell.evaluate(shown)
    page.context.close()
