"""The web page in a real browser: every way to give it an image, both answers of a comparison, and what goes wrong."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Route, expect, sync_playwright
from tests.runtime.serve.conftest import RunningServer, StartServer
from tests.task_bundles import COLOURS, png

from edgetl.runtime import load

CHROMIUM = shutil.which("chromium")
TIMEOUT_MS = 20_000
expect.set_options(timeout=TIMEOUT_MS)

FIRST, SECOND = "onnxruntime-fp32", "openvino-int8"

FILES = """(files) => {
  const data = new DataTransfer();
  for (const [name, bytes] of files) data.items.add(new File([Uint8Array.from(bytes)], name, { type: "image/png" }));
  const send = (event) => document.body.dispatchEvent(event);
  %s
}"""
DROP = FILES % 'send(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));'
PASTE = FILES % 'send(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Closed with this module: while it is open, playwright's event loop runs in this thread."""
    if CHROMIUM is None:
        pytest.skip("there is no `chromium` on the PATH")
    switches = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=switches, timeout=3 * TIMEOUT_MS)
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that must not fail on its own; `opened` brings it to a server."""
    failures: list[str] = []
    with browser.new_context() as context:
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: failures.append(str(error)))
        yield page
    assert not failures


@pytest.fixture
def photo(dataset: Path) -> Path:
    return min((dataset / "val" / "moss").iterdir())


def opened(page: Page, server: RunningServer) -> Page:
    page.goto(server.url)
    expect(page.get_by_text("3 labels · 4 variants")).to_be_visible()
    return page


def choose(page: Page, file: Path) -> None:
    page.get_by_label("Choose a file").set_input_files(file)


def expect_answer(page: Page, bundle: Path, photo: Path, variant: str = FIRST) -> None:
    """The headline and every row are what a session says."""
    with load(bundle, variant=variant) as model:
        found = [(each.label, f"{100 * each.probability:.2f} %") for each in model.predict(photo, top=3).top]
    expect(page.get_by_role("status")).to_contain_text(", ".join(found[0]))
    expect(page.get_by_role("columnheader", name=variant)).to_be_visible()
    for label, share in found:
        row = page.get_by_role("row", name=label, exact=False).first
        expect(row).to_contain_text("< 0.01 %" if share == "0.00 %" else share)


def focus_is_visible(element: Locator) -> None:
    expect(element).to_have_css("outline-style", "solid")
    expect(element).to_have_css("outline-width", "3px")


def axe_finds_nothing(page: Page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_a_chosen_file_is_answered_as_a_session_answers(
    page: Page, server: RunningServer, bundle: Path, photo: Path
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    choose(opened(page, server), photo)
    expect_answer(page, bundle, photo)
    expect(page.get_by_role("img", name=photo.name)).to_be_visible()
    for step in ("Preprocessing", "Queue", "Inference", "Server, total", "Round trip"):
        assert float(page.get_by_role("row", name=step).get_by_role("cell").inner_text()) >= 0
    expect(page.get_by_role("row", name="Provider")).to_contain_text("CPUExecutionProvider")
    assert all(url.startswith((server.url, "data:", "blob:")) for url in asked)


@pytest.mark.slow
def test_drop_and_paste_give_an_image_too(page: Page, server: RunningServer, bundle: Path, dataset: Path) -> None:
    opened(page, server)
    images = [(f"{kind}.png", min((dataset / "val" / kind).iterdir())) for kind in ("amber", "slate")]
    files = [[name, list(image.read_bytes())] for name, image in images]
    for gesture, (name, image), file in zip((DROP, PASTE), images, files, strict=True):
        page.evaluate(gesture, [file])
        expect(page.get_by_role("img", name=name)).to_be_visible()
        expect_answer(page, bundle, image)
    page.evaluate(DROP, files)
    expect(page.get_by_role("alert")).to_contain_text("One image at a time")
    expect_answer(page, bundle, image)


@pytest.mark.slow
def test_what_a_browser_cannot_show_is_answered_all_the_same(
    page: Page, server: RunningServer, bundle: Path, photo: Path, tmp_path: Path
) -> None:
    with Image.open(photo) as image:
        image.save(tmp_path / "photo.tiff")
    choose(opened(page, server), tmp_path / "photo.tiff")
    expect_answer(page, bundle, photo)
    expect(page.get_by_text("photo.tiff")).to_contain_text("this browser cannot show it")


@pytest.mark.slow
def test_the_camera_gives_one_still_frame(page: Page, server: RunningServer) -> None:
    opened(page, server).get_by_role("button", name="Use the camera").click()
    expect(page.get_by_role("button", name="Take the picture")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Use the camera")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Take the picture")).to_be_focused()
    expect(page.locator("video")).not_to_have_js_property("videoWidth", 0)
    axe_finds_nothing(page)
    page.keyboard.press("Enter")
    expect(page.get_by_role("img", name="camera")).to_be_visible()
    expect(page.get_by_role("columnheader", name=FIRST)).to_be_visible()
    assert page.evaluate("document.querySelector('video').srcObject") is None


@pytest.mark.slow
def test_without_a_camera_the_page_says_why(page: Page, server: RunningServer) -> None:
    page.add_init_script("Object.defineProperty(Navigator.prototype, 'mediaDevices', { value: undefined })")
    opened(page, server)
    expect(page.get_by_role("button", name="Use the camera")).to_be_disabled()
    expect(page.get_by_text("only to pages from https or localhost")).to_be_visible()


@pytest.mark.slow
def test_everything_works_by_keyboard(page: Page, server: RunningServer, bundle: Path, photo: Path) -> None:
    # listening only once the key is pressed may be too late
    page.on("filechooser", lambda chooser: chooser.set_files(photo))
    opened(page, server).keyboard.press("Tab")
    expect(page.get_by_label("Choose a file")).to_be_focused()
    focus_is_visible(page.get_by_text("Choose a file", exact=True))
    page.keyboard.press("Enter")
    expect_answer(page, bundle, photo)
    for name in ("Use the camera", "Variant", "Compare with", "Ask again", "The same from a command line"):
        page.keyboard.press("Tab")
        focused = page.evaluate("(document.activeElement.labels?.[0] ?? document.activeElement).textContent")
        assert focused.startswith(name)
        focus_is_visible(page.locator(":focus"))
        if name == "Variant":
            page.keyboard.type(SECOND)
            expect_answer(page, bundle, photo, SECOND)


@pytest.mark.slow
def test_two_variants_stand_side_by_side(page: Page, server: RunningServer, bundle: Path, photo: Path) -> None:
    choose(opened(page, server), photo)
    page.get_by_label("Compare with").select_option(SECOND)
    expect(page.get_by_role("columnheader")).to_have_text([FIRST, SECOND, "Difference"])
    shares = []
    for variant in (FIRST, SECOND):
        with load(bundle, variant=variant) as model:
            shares.append({each.label: each.probability for each in model.predict(photo, top=3).top})
    expect(page.get_by_role("status")).to_contain_text("Both say moss")
    cells = page.get_by_role("row", name="moss").get_by_role("cell").all_inner_texts()
    assert [cell.strip() for cell in cells[:2]] == [f"{100 * each['moss']:.2f} %" for each in shares]
    gap = 100 * (shares[1]["moss"] - shares[0]["moss"])
    assert float(cells[2].replace("−", "-")) == pytest.approx(gap, abs=0.006)
    expect(page.get_by_role("row", name="Precision")).to_contain_text("differs")


@pytest.mark.slow
def test_only_the_last_question_is_answered(page: Page, server: RunningServer, bundle: Path, photo: Path) -> None:
    held: list[Route] = []
    page.route(f"**/predict*variant={FIRST}*", lambda route: held.append(route))
    choose(opened(page, server), photo)
    expect(page.get_by_role("status")).to_contain_text(f"Asking {FIRST}")
    page.get_by_label("Variant").select_option(SECOND)
    expect_answer(page, bundle, photo, SECOND)
    assert len(held) == 1 and held[0].request.failure == "net::ERR_ABORTED"


@pytest.mark.slow
def test_what_is_no_image_is_explained_and_the_next_one_answered(
    page: Page, server: RunningServer, bundle: Path, photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "large.png").write_bytes(bytes(17 * 2**20))
    choose(opened(page, server), tmp_path / "notes.txt")
    expect(page.get_by_role("alert")).to_contain_text("not an image the server can read")
    expect(page.get_by_role("table")).to_be_hidden()
    axe_finds_nothing(page)
    choose(page, tmp_path / "large.png")
    expect(page.get_by_role("alert")).to_contain_text("large")
    choose(page, photo)
    expect_answer(page, bundle, photo)
    expect(page.get_by_role("alert")).to_be_empty()


@pytest.mark.slow
def test_a_token_is_asked_for_and_kept_in_memory_only(
    page: Page, start_server: StartServer, bundle: Path, photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("schlüssel\n")
    server = start_server(bundle, "--variant", FIRST, "--token-file", tmp_path / "token")
    page.goto(server.url)
    for token in ("wrong", "schlüssel"):
        expect(page.get_by_role("alert")).to_contain_text("wants a token")
        page.get_by_label("Token").fill(token)
        page.keyboard.press("Enter")
    expect(page.get_by_label("Token")).to_be_hidden()
    expect(page.get_by_label("Choose a file")).to_be_focused()
    choose(page, photo)
    expect_answer(page, bundle, photo)
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    page.reload()
    expect(page.get_by_label("Token")).to_be_visible()


@pytest.mark.slow
def test_a_variant_that_cannot_open_is_named_and_disabled(
    page: Page, start_server: StartServer, bundle: Path, own_bundle: Path, photo: Path
) -> None:
    (own_bundle / SECOND / "model.bin").write_bytes(b"damaged")
    server = start_server(own_bundle)
    choose(opened(page, server), photo)
    page.get_by_label("Compare with").select_option(SECOND)
    expect(page.get_by_role("alert")).to_contain_text("differs from the manifest")
    expect(page.get_by_role("columnheader", name=FIRST)).to_be_visible()
    for field in ("Variant", "Compare with"):
        expect(page.get_by_label(field).locator(f"option[value={SECOND}]")).to_be_disabled()
    expect(page.get_by_role("listitem")).to_contain_text(SECOND)
    page.get_by_label("Compare with").select_option("")
    expect_answer(page, bundle, photo)
    server.stop()
    page.get_by_role("button", name="Ask again").click()
    expect(page.get_by_role("alert")).to_contain_text("The server has stopped")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


@pytest.mark.slow
def test_several_models_are_chosen_by_name(
    page: Page, start_server: StartServer, bundle: Path, own_bundle: Path, photo: Path
) -> None:
    server = start_server(bundle, own_bundle, "--variant", FIRST)
    page.goto(server.url)
    page.get_by_label("Model").select_option("own-bundle")
    choose(page, photo)
    expect(page.get_by_role("status")).to_contain_text("own-bundle")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_axe_finds_nothing_and_nothing_overflows(
    browser: Browser, server: RunningServer, photo: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    with browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800}) as context:
        page = opened(context.new_page(), server)
        axe_finds_nothing(page)
        choose(page, photo)
        page.get_by_label("Compare with").select_option(SECOND)
        expect(page.get_by_role("columnheader", name=SECOND)).to_be_visible()
        axe_finds_nothing(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_a_label_is_text_and_never_markup(page: Page, start_server: StartServer, own_bundle: Path, photo: Path) -> None:
    server = start_server(own_bundle.rename(own_bundle.with_name("<img src=x onerror=alert(1)>")))
    choose(opened(page, server), photo)
    expect(page.get_by_role("status")).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator("img").count() == 1


@pytest.fixture(scope="module")
def others(reviews: Path, squares: Path) -> Iterator[RunningServer]:
    """A server of a model that takes texts, which stands first, and of one that finds objects."""
    running = RunningServer(reviews, squares)
    yield running
    running.stop()


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A photo of 480 × 360 pixels with a red and a blue square of 120."""
    made = Image.new("RGB", (480, 360), "grey")
    made.paste(COLOURS["red"], (30, 30, 150, 150))
    made.paste(COLOURS["blue"], (270, 150, 390, 270))
    (tmp_path / "scene.png").write_bytes(png(made))
    return tmp_path / "scene.png"


@pytest.mark.slow
def test_a_text_is_answered_as_a_session_answers(page: Page, others: RunningServer, reviews: Path) -> None:
    page.goto(others.url)
    expect(page.get_by_text("2 labels · 2 variants")).to_be_visible()
    for hidden in (page.get_by_label("Choose a file"), page.get_by_label("Least score")):
        expect(hidden).to_be_hidden()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Your text")).to_be_focused()
    page.keyboard.type("A GREAT film with <b>lovely</b> actors")
    page.keyboard.press("Control+Enter")
    with load(reviews, variant=FIRST) as model:
        found = model.predict("A GREAT film with <b>lovely</b> actors").top
    expect(page.get_by_role("status")).to_contain_text(f"positive, {100 * found[0].probability:.2f} %")
    page.get_by_label("Compare with").select_option("openvino-fp32")
    expect(page.get_by_role("status")).to_contain_text("Both say positive")
    page.get_by_label("Compare with").select_option("")
    page.get_by_label("Your text").fill("a dull plot")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("negative")
    page.get_by_label("Your text").fill("dull " * 300_000)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("not a text the server can read")
    expect(page.get_by_role("table")).to_be_hidden()


PAINTED = """() => {
  const canvas = document.getElementById("boxes"), image = document.getElementById("picture");
  const scale = canvas.width / image.naturalWidth, pen = canvas.getContext("2d");
  const at = (x, y) => pen.getImageData(Math.round(x * scale), Math.round(y * scale), 1, 1).data[3] > 0;
  const near = [...Array(21).keys()].map((i) => i - 10), beside = (x, y) => near.some((by) => at(x + by, y));
  const below = (x, y) => near.some((by) => at(x, y + by));
  return { size: [canvas.clientWidth, canvas.clientHeight], shown: [image.clientWidth, image.clientHeight],
           edges: [beside(30, 90), beside(150, 90), below(90, 150), below(330, 270)],
           inside: [at(90, 90), at(330, 210), at(10, 300)] };
}"""


@pytest.mark.slow
def test_boxes_lie_over_the_photo_and_are_listed_in_words(page: Page, others: RunningServer, scene: Path) -> None:
    page.goto(others.url)
    page.get_by_label("Model").select_option("squares")
    expect(page.get_by_label("Your text")).to_be_hidden()
    choose(page, scene)
    expect(page.get_by_role("status")).to_contain_text("Found: 2 objects")
    expect(page.get_by_role("status")).to_contain_text("1 × red, 1 × blue")
    row = page.get_by_role("row", name="red")
    left, right, top, bottom = map(int, re.findall(r"\d+", row.locator("small").inner_text()))
    assert (
        max(abs(found - true) for found, true in zip((left, top, right, bottom), (30, 30, 150, 150), strict=True)) < 4
    )
    for width in (1280, 400):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(
            "document.getElementById('boxes').width === document.getElementById('picture').clientWidth"
        )
        painted = page.evaluate(PAINTED)
        assert painted["size"] == painted["shown"]
        assert all(painted["edges"]) and not any(painted["inside"]), painted
    page.get_by_label("Least score").fill("0.9999")
    page.keyboard.press("Tab")
    expect(page.get_by_role("status")).to_contain_text("Found: nothing")
    expect(page.locator("#boxes")).to_have_js_property("hidden", False)
    page.get_by_label("Least score").fill("")
    page.get_by_label("Compare with").select_option("openvino-fp32")
    expect(page.get_by_role("status")).to_contain_text("Both find 2 objects")
    page.get_by_label("Model").select_option("reviews")
    expect(page.get_by_role("table")).to_be_hidden()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_axe_finds_nothing_for_texts_and_objects_either(
    browser: Browser, others: RunningServer, scene: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    with browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800}) as context:
        page = context.new_page()
        page.goto(others.url)
        axe_finds_nothing(page)
        page.get_by_label("Model").select_option("squares")
        choose(page, scene)
        page.get_by_label("Compare with").select_option("openvino-fp32")
        expect(page.get_by_role("status")).to_contain_text("Both find 2 objects")
        axe_finds_nothing(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
