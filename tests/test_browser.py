"""The page in a real browser, Chromium, on the local system with its sample data."""

import fcntl
import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client as StorageClient
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests import ROOT
from tests.processes import wait_until
from tests.servers.local import Local

HOSTILE = "<img src=x onerror=alert(1)>"
NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
INSTALL = [
    ["apt-get", "update", "--quiet"],
    ["apt-get", "install", "--yes", "--no-install-recommends", "chromium", "fonts-dejavu-core"],
]
READMES = [ROOT / "README.md", ROOT / "registry/README.md"]


def chromium() -> str | None:
    """Find the browser."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, from Debian's packages where there is none."""
    with (ROOT / ".local/chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two processes of tests/run.sh may install it
        if chromium() is None and shutil.which("apt-get") and os.geteuid() == 0:
            environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            for command in INSTALL:
                subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, check=False)
    executable = chromium()
    if executable is None:
        pytest.skip("there is no Chromium, and apt-get could not install it")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=executable,
            args=["--no-sandbox"] if os.geteuid() == 0 else [],
        )
        yield started
        started.close()


class Visit:
    """A tab of the browser, and what went wrong in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("console", lambda message: self.problems.append(message.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("dialog", lambda dialog: self.problems.append(dialog.message))
        page.on("requestfailed", lambda request: self.problems.append(request.url))

    @property
    def models(self) -> Locator:
        """The models of the overview, from above. A click returns before the next page is there."""
        return self.page.locator(".models tbody th")


@pytest.fixture
def visit(browser: Browser, system: Local, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A tab with the overview; `indirect` parameters are those of the tab."""
    context = browser.new_context(base_url=system.inventory, **getattr(request, "param", {}))
    visit = Visit(context.new_page())
    visit.page.goto("")
    yield visit
    context.close()
    assert visit.problems == []


def test_searching_leaves_the_models_that_fit(visit: Visit) -> None:
    search = visit.page.get_by_label("Model or uploader")

    search.fill("FRAUD")
    search.press("Enter")

    expect(visit.page.get_by_text(re.compile("1 of [0-9]+ models for"))).to_be_visible()
    expect(visit.models).to_have_text(["fraud-detection"])
    expect(visit.page.get_by_label("Model or uploader")).to_have_value("FRAUD")
    visit.page.get_by_role("link", name="all", exact=True).click()
    expect(visit.models.nth(10)).to_be_visible()


def test_a_click_on_a_column_sorts_by_it_and_another_one_the_other_way(visit: Visit) -> None:
    by_name = sorted(visit.models.all_inner_texts(), key=str.casefold)

    visit.page.get_by_role("link", name="Model", exact=True).click()
    expect(visit.models).to_have_text(by_name)
    visit.page.get_by_role("link", name="Model", exact=True).click()
    expect(visit.models).to_have_text(by_name[::-1])
    visit.page.get_by_role("link", name="prod by upload").click()
    latest = visit.models.filter(has_text=re.compile("fraud-detection|recommender"))
    expect(latest).to_have_text(["fraud-detection", "recommender"])
    expect(visit.page.locator("th[aria-sort=descending]")).to_have_text("prod by upload")


def test_the_odd_ones_are_one_click_away(visit: Visit) -> None:
    link = visit.page.get_by_role("link", name=re.compile("[34] need attention"))
    expect(link).to_be_in_viewport()
    expect(visit.models.first).to_be_in_viewport()
    link.click()

    expect(visit.page.get_by_role("link", name="Show all models")).to_be_visible()
    # The last two skipped staging; so did a model of another test.
    odd = {*visit.models.all_inner_texts()}
    assert odd - {"python"} == {"fraud-detection", "price-elasticity", "sentiment"}


def test_a_model_has_its_picture_its_versions_and_their_files(visit: Visit) -> None:
    visit.page.get_by_role("link", name="image-tagger").click()

    expect(visit.page.get_by_role("heading", name="image-tagger")).to_be_visible()
    picture = visit.page.get_by_role("img", name=re.compile("highest version in each environment"))
    expect(picture).to_be_in_viewport()
    expect(visit.page.get_by_text("model-registry get -e prod image-tagger v1")).to_be_in_viewport()
    file = visit.page.get_by_role("link", name="variables/variables.index").first
    expect(file).to_be_visible()
    href = file.get_attribute("href") or ""
    assert href.startswith("https://console.cloud.google.com/storage/browser/_details/ml-models-")
    visit.page.get_by_text("The timeline as a table").click()
    expect(visit.page.get_by_role("cell", name="now").first).to_be_visible()
    visit.page.get_by_role("link", name="Models", exact=True).click()
    expect(visit.page.get_by_role("heading", name="Models")).to_be_visible()


# How many lines a cell's text has.
LINES = """
element => {
  const range = document.createRange();
  range.selectNodeContents(element);
  return range.getClientRects().length;
}
"""

# The boxes of the labels of a picture, and of the line of now.
BOXES = """
() => [...document.querySelectorAll(".timeline text, .timeline path.now")].map(element => {
  const box = element.getBoundingClientRect();
  return [element.textContent, box.left, box.right, box.top, box.bottom];
})
"""


def test_the_labels_of_a_picture_are_apart(visit: Visit) -> None:
    for model in ("recommender", "fraud-detection", "vehicle-damage", "support-triage"):
        visit.page.goto(f"models/{model}")

        boxes = visit.page.evaluate(BOXES)
        assert len(boxes) > 3
        for (one, *a), (other, *b) in itertools.combinations(boxes, 2):
            apart = a[1] <= b[0] or b[1] <= a[0] or a[3] <= b[2] or b[3] <= a[2]
            assert apart, (model, one, other)


@pytest.mark.parametrize("visit", [{"viewport": {"width": 360, "height": 740}}], indirect=True)
def test_on_a_telephone_a_picture_opens_at_its_newest_end(visit: Visit) -> None:
    visit.page.goto("models/fraud-detection")

    group = visit.page.get_by_role("group", name="Timeline")
    shown, now = group.bounding_box(), group.get_by_text("now", exact=True).bounding_box()
    assert shown
    assert now
    assert shown["x"] <= now["x"]
    assert now["x"] + now["width"] <= shown["x"] + shown["width"] <= 360
    assert group.evaluate("element => element.scrollWidth > 2 * element.clientWidth")
    group.focus()
    visit.page.keyboard.press("ArrowLeft")
    wait_until(lambda: bool(group.evaluate("element => element.scrollLeft < 0")))
    visit.page.get_by_text("The timeline as a table").click()
    assert visit.page.get_by_role("cell", name="overwritten", exact=True).evaluate(LINES) == 1


@pytest.mark.parametrize("visit", [{"viewport": {"width": 718, "height": 1000}}], indirect=True)
def test_on_paper_a_picture_has_its_oldest_end_too(visit: Visit) -> None:
    visit.page.goto("models/fraud-detection")
    group = visit.page.get_by_role("group", name="Timeline")
    assert group.evaluate("element => element.scrollWidth > element.clientWidth")
    visit.page.emulate_media(media="print")

    assert group.evaluate("element => element.scrollWidth <= element.clientWidth")
    first = visit.page.locator(".timeline .tick").first.bounding_box()
    assert first
    assert 16 < first["x"] < 200


def test_a_file_that_differs_is_shown_without_a_click(visit: Visit) -> None:
    fraud = visit.page.locator(".models tr", has_text="fraud").locator("td[data-label=prod]")
    fraud.get_by_role("link", name="v3").click()

    expect(visit.page.get_by_role("heading", name="fraud-detection v3")).to_be_visible()
    expect(visit.page.locator("tr.odd")).to_contain_text("model.pkl")
    expect(visit.page.locator("tr.odd")).to_contain_text("changed")


def test_what_happened_leads_to_how_it_was(visit: Visit) -> None:
    visit.page.get_by_role("link", name="Changes").click()
    visit.page.get_by_label("Environment").select_option("prod")
    visit.page.get_by_label("Since").fill("30d")
    visit.page.get_by_role("button", name="Show").click()
    overwritten = visit.page.locator(".changes tr", has_text="overwritten")
    expect(overwritten).to_have_count(1)
    overwritten.get_by_role("link").first.click()

    expect(visit.page.get_by_text("This is how it was at")).to_be_visible()
    expect(visit.page.get_by_role("heading", name="fraud-detection")).to_be_visible()
    visit.page.get_by_role("link", name="Show it now").click()
    expect(visit.page.get_by_text("This is how it was at")).to_be_hidden()


def test_all_can_be_done_with_the_keyboard(visit: Visit) -> None:
    keyboard = visit.page.keyboard

    def focused() -> str:
        return str(visit.page.evaluate("document.activeElement.textContent.trim()"))

    def tab_to(text: str) -> None:
        for _ in range(60):
            keyboard.press("Tab")
            if text in focused():
                return
        raise AssertionError(text)

    tab_to("Search")
    keyboard.press("Shift+Tab")
    keyboard.type("tagger")
    keyboard.press("Enter")
    visit.page.wait_for_url("**q=tagger**")
    tab_to("image-tagger")
    outline = visit.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    keyboard.press("Enter")
    visit.page.wait_for_url("**/models/image-tagger")
    tab_to("The timeline as a table")
    keyboard.press("Enter")
    expect(visit.page.locator("details.words[open]")).to_have_count(1)


def test_a_model_whose_name_is_markup_is_text(visit: Visit, system: Local) -> None:
    exports = system.exports
    bucket = StorageClient(
        exports["GCP_PROJECT_ID"],
        AnonymousCredentials(),  # type: ignore[no-untyped-call] # google-auth types it in part
        client_options={"api_endpoint": exports["STORAGE_EMULATOR_HOST"]},
    ).bucket("ml-models-dev")
    artifact = bucket.blob(f"{HOSTILE}/v1/{HOSTILE}.pkl")
    artifact.metadata = {"uploader": HOSTILE, HOSTILE: HOSTILE}
    artifact.upload_from_string("x")

    def is_there() -> bool:
        return HOSTILE in requests.get(f"{system.inventory}?format=json", timeout=60).text

    wait_until(is_there)  # the page keeps an answer for a second
    visit.page.goto("?q=onerror")
    expect(visit.models).to_have_text([HOSTILE])
    visit.page.get_by_role("link", name=HOSTILE).click()

    expect(visit.page.get_by_role("heading", name=HOSTILE)).to_be_visible()
    expect(visit.page.get_by_role("link", name=f"{HOSTILE}.pkl")).to_be_visible()
    assert visit.page.locator("img").count() == 0


# The lightness of a colour, and the contrast of two, as WCAG 2 defines them.
CONTRASTS = """
() => {
  const light = colour => {
    const [r, g, b] = colour.match(/[0-9.]+/g).map(Number)
      .map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!colour.startsWith("rgba(0, 0, 0, 0")) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("body *")]
    .filter(element => [...element.childNodes].some(node => node.nodeType == 3 && node.data.trim()))
    .filter(element => !element.closest("svg, style"))
    .map(element => {
      const [a, b] = [light(getComputedStyle(element).color), light(behind(element))];
      return [element.outerHTML, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
    });
}
"""


@pytest.mark.parametrize(
    ("visit", "dark"),
    [({"color_scheme": "light"}, False), ({"color_scheme": "dark"}, True)],
    indirect=["visit"],
)
def test_it_can_be_read_in_light_and_dark(visit: Visit, *, dark: bool) -> None:
    for path in (
        "",
        "models/fraud-detection",
        "models/fraud-detection/v3",
        "models/sentiment",
        "changes?at=1d",
    ):
        visit.page.goto(path)

        [red, *_] = re.findall(
            "[0-9]+", visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        )
        assert (int(red) < 128) == dark
        contrasts = visit.page.evaluate(CONTRASTS)
        assert len(contrasts) > 20
        assert [(text, ratio) for text, ratio in contrasts if ratio < 4.5] == []


@pytest.mark.parametrize("visit", [{"viewport": {"width": 360, "height": 740}}], indirect=True)
def test_it_fits_on_a_telephone(visit: Visit) -> None:
    for path in (
        "",
        "models/fraud-detection",
        "models/image-tagger",
        "models/image-tagger/v1",
        "changes",
    ):
        visit.page.goto(path)

        assert visit.page.evaluate("document.documentElement.scrollWidth") == 360
    visit.page.goto("")
    expect(visit.models.first).to_be_in_viewport()
    cell = visit.page.locator(".models tr", has_text="fraud").locator("td[data-label=prod]")
    box = cell.bounding_box()
    assert box is not None
    assert box["width"] < 360
    expect(cell).to_contain_text("differs from staging")


@pytest.mark.parametrize("visit", [{"viewport": {"width": 800, "height": 740}}], indirect=True)
def test_it_fits_in_half_a_window(visit: Visit) -> None:
    for path in ("", "changes"):
        visit.page.goto(path)

        assert visit.page.evaluate("document.documentElement.scrollWidth") == 800
    person = visit.page.locator("td[data-label=By] bdi").first.bounding_box()
    assert person
    assert person["height"] < 30  # one line


def test_nothing_comes_from_elsewhere(browser: Browser, system: Local) -> None:
    context = browser.new_context()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for path in ("", "models/fraud-detection"):
        page.goto(f"{system.inventory}{path}")
    context.close()

    assert asked == [system.inventory, f"{system.inventory}models/fraud-detection"]


def test_the_pictures_of_the_readme_are_taken(
    browser: Browser, system: Local, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """With --pictures they replace those that are there: on a fresh system, by this test alone."""
    folder = ROOT / "tests/pictures" if request.config.getoption("--pictures") else tmp_path
    context = browser.new_context(
        base_url=system.inventory, viewport={"width": 1120, "height": 700}, color_scheme="light"
    )
    page = context.new_page()

    page.goto("")
    page.screenshot(path=folder / "overview.png")
    page.locator(".models tr", has_text="fraud").screenshot(path=folder / "odd.png")
    page.goto("?q=demand")
    page.locator(".models tbody tr").screenshot(path=folder / "behind.png")
    page.goto("?sort=-prod")
    box = page.locator(".models").bounding_box()
    assert box is not None
    page.screenshot(path=folder / "recent.png", clip={**box, "height": 270}, full_page=True)
    page.goto("models/fraud-detection")
    page.locator(".history").screenshot(path=folder / "timeline.png")
    page.locator(".version", has=page.locator(".odd")).screenshot(path=folder / "files.png")
    context.close()

    for name in {
        n for path in READMES for n in re.findall(r"tests/pictures/([\w.-]+)", path.read_text())
    }:
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
