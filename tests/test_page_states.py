"""The page in each of its states, in Chromium: everyone can use it, on screens of all sizes."""

import threading
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Literal

import pytest
from flask import Flask
from playwright.sync_api import Browser, FloatRect, Page
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import make_server

from tests import ROOT
from tests.page_states import State, app_of, states
from tests.test_browser import browser

__all__ = ["browser"]  # the fixture

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text()
SCREENS = ROOT / ".local/screens"
TALLEST = 4000  # pixels of a picture: those of 300 models would take a second each
type Scheme = Literal["light", "dark"]
VIEWS: list[tuple[int, Scheme]] = [(w, s) for w in (1280, 360) for s in ("light", "dark")]
# axe looks at some rows of a long list: the others are like them, and would take seconds.
SHORTEN = """
document.querySelectorAll("tbody tr:nth-child(n+7), .version:nth-of-type(n+6)")
  .forEach(element => element.remove())
"""
STATES = list(states())

# What has the focus, and whether it can be seen: on the screen with its outline, nothing above it.
FOCUSED = """
() => {
  const element = document.activeElement;
  if (element === document.body) return null;
  const box = [...element.getClientRects()].find(box => box.width && box.height) ?? new DOMRect();
  const x = box.left + Math.min(box.width, 20) / 2, y = box.top + Math.min(box.height, 20) / 2;
  const top = document.elementFromPoint(x, y);
  const style = getComputedStyle(element);
  return {
    html: element.outerHTML.slice(0, 200),
    name: element.className,
    seen: Boolean(top && (element.contains(top) || top.contains(element))) && box.top >= 5,
    outlined: style.outlineStyle === "solid" && parseFloat(style.outlineWidth) >= 2,
  };
}
"""


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """The page in each state, below the state's name."""
    apps = DispatcherMiddleware(Flask("none"), {f"/{one.name}": app_of(one.rows) for one in STATES})
    server = make_server("127.0.0.1", 0, apps, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/"
    server.shutdown()
    thread.join()


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Page]:
    """A tab in which axe may run; the page's own policy allows no scripts."""
    context = browser.new_context(bypass_csp=True)
    yield context.new_page()
    context.close()


@pytest.fixture
def show(tab: Page, served: str) -> Callable[[State], Page]:
    """Open a state of the page."""

    def show(state: State) -> Page:
        tab.goto(f"{served}{state.name}/{state.path}")
        return tab

    return show


def look(page: Page, width: int, scheme: Scheme) -> None:
    """Look at a page on a screen, without opening it again."""
    page.set_viewport_size({"width": width, "height": 740})
    page.emulate_media(color_scheme=scheme)


def take(page: Page, path: Path, width: int) -> None:
    """Take a picture of the whole page."""
    height = min(page.evaluate("document.documentElement.scrollHeight"), TALLEST)
    clip: FloatRect = {"x": 0, "y": 0, "width": width, "height": height}
    page.screenshot(path=path, full_page=True, clip=clip)


def violations(page: Page, **options: object) -> list[tuple[str, str]]:
    """Return the rules that a page breaks, each with the first place."""
    axe_options = {"resultTypes": ["violations"], **options}
    found = page.evaluate("options => axe.run(options)", axe_options)["violations"]
    return [(each["id"], each["nodes"][0]["html"][:200]) for each in found]


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_each_state_fits_and_can_be_used_by_everyone(
    show: Callable[[State], Page], state: State, request: pytest.FixtureRequest
) -> None:
    """With --pictures it takes some of each, in .local/screens/, for people to look at."""
    page = show(state)
    wrong = []
    for width, scheme in VIEWS:
        look(page, width, scheme)
        if (found := page.evaluate("document.documentElement.scrollWidth")) > width:
            wrong.append((f"expected {width} px", f"found {found}"))
        if request.config.getoption("--pictures"):
            take(page, SCREENS / f"{state.name}-{width}-{scheme}.png", width)

    page.evaluate(SHORTEN)
    page.evaluate(AXE)
    look(page, 360, "light")
    wrong += violations(page, rules={"color-contrast": {"enabled": False}})
    look(page, 1280, "light")
    wrong += violations(page)
    look(page, 1280, "dark")
    wrong += violations(page, runOnly={"type": "rule", "values": ["color-contrast"]})

    assert wrong == []
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED)["name"] == "skip"


@pytest.mark.parametrize(("width", "key"), [(1280, "Tab"), (360, "Shift+Tab")])
@pytest.mark.parametrize(
    "state", [state for state in STATES if state.is_usual], ids=lambda state: state.name
)
def test_what_has_the_focus_can_be_seen(
    show: Callable[[State], Page], state: State, width: int, key: str
) -> None:
    page = show(state)
    page.set_viewport_size({"width": width, "height": 740})

    wrong, stops = [], 0
    page.keyboard.press(key)
    while focused := page.evaluate(FOCUSED):
        stops += 1
        if not (focused["seen"] and focused["outlined"]):
            wrong.append(focused)
        page.keyboard.press(key)

    assert wrong == []
    assert stops > 20
