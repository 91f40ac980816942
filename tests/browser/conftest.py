"""A headless Chromium over a real farm. The pages are seen as people see them, policy and all."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from shared.connection import Scripts, connect
from shared.tenants import KeyStore, NewKey, Scope
from tests.conftest import part, wait_until
from tests.e2e.conftest import Farm, farm_maker

TIMEOUT_S = 60.0
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
AXE = "node_modules/axe-core/axe.min.js"


@dataclass
class View:
    """A page of the farm in a browser of its own, and what went wrong in it."""

    page: Page
    base: str
    asked: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(TIMEOUT_S * 1000)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda line: self._hear(line.type, line.text))

    def _hear(self, kind: str, text: str) -> None:
        # The browser's own line for each 4xx and 5xx is no fault of the page's.
        if kind in ("error", "warning") and not text.startswith("Failed to load resource"):
            self.faults.append(text)

    def open(self, path: str = "") -> None:
        self.page.goto(self.base + path)

    def until(self, expression: str) -> None:
        """Return when a JavaScript expression holds. The page's policy forbids Playwright's way."""
        wait_until(lambda: bool(self.page.evaluate(expression)), TIMEOUT_S, every_s=0.1)

    def choose_voice(self, name: str) -> None:
        self.until(
            f"[...document.querySelectorAll('#voice option')].some(o => o.value === '{name}')"
        )
        self.page.select_option("#voice", name)

    def speak(self, text: str, voice: str = "espeak-zh") -> None:
        self.choose_voice(voice)
        self.page.fill("#text", text)
        self.page.click("#go")

    def wait_for_state(self, state: str) -> None:
        self.page.wait_for_selector(f"#state.{state}")

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def job_id(self) -> str:
        """The job that was submitted last."""
        return str(self.page.get_attribute("#history li", "data-job"))

    def violations(self, axe: str) -> list[str]:
        """What axe-core finds against WCAG 2.2 AA and its own good practice."""
        self.page.evaluate(axe)
        found: dict[str, Any] = self.page.evaluate(
            "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', "
            "'best-practice']})"
        )
        return [
            f"{one['id']}: {one['help']} {[node['target'] for node in one['nodes']]}"
            for one in found["violations"]
        ]


MakeView = Callable[..., View]


@contextmanager
def views(browser: Browser) -> Iterator[MakeView]:
    """Makes views, each in a context of its own: storage, language, colours, size."""
    contexts: list[BrowserContext] = []
    made: list[View] = []

    def make(farm: Farm, **options: Any) -> View:
        contexts.append(browser.new_context(**{"locale": "en-GB", **options}))
        base = f"http://127.0.0.1:{farm.api_port}/"
        made.append(View(contexts[-1].new_page(), base))
        return made[-1]

    yield make
    for context in contexts:
        context.close()
    assert [fault for view in made for fault in view.faults] == []
    others = [
        url for view in made for url in view.asked if not url.startswith((view.base, "blob:"))
    ]
    assert others == []  # no request leaves the farm


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    binary = part("Chromium", next(filter(None, map(shutil.which, names)), None))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def make_view(browser: Browser) -> Iterator[MakeView]:
    with views(browser) as make:
        yield make


@pytest.fixture(scope="module")
def axe() -> str:
    """axe-core's source; TTSFARM_TEST_AXE is where npm put the package."""
    place = os.environ.get("TTSFARM_TEST_AXE")
    return Path(part("npm package of axe-core", place), AXE).read_text("utf-8")


@pytest.fixture(scope="module")
def farm(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """An open farm that speaks; its fake voice takes its time, and webhooks get one try."""
    del browser  # where there is none, no farm is started
    with farm_maker(tmp_path_factory.mktemp("farms")) as make:
        farm = make(
            TTSFARM_VOICES="espeak,fake",
            TTSFARM_DEFAULT_VOICE="espeak-zh",
            TTSFARM_FAKE_COST_S_PER_CHAR="0.03",
            TTSFARM_WEBHOOK_DELAYS_S="0",
        )
        farm.start(courier=True)
        yield farm


def new_key(farm: Farm, *scopes: Scope, tenant: str = "school") -> str:
    store = KeyStore(Scripts(connect(farm.redis.url)))
    return store.create(NewKey(tenant=tenant, scopes=frozenset(scopes)))[1]


@pytest.fixture(scope="module")
def guarded(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """A farm that asks for keys."""
    del browser
    with farm_maker(tmp_path_factory.mktemp("guarded")) as make:
        farm = make(TTSFARM_AUTH="keys", TTSFARM_PUBLIC_URL="http://farm.invalid")
        farm.spawn("api", "ttsfarm", "serve")
        farm.add_worker("worker0")
        wait_until(lambda: _voices(farm) > 0, TIMEOUT_S)
        yield farm


def _voices(farm: Farm) -> int:
    try:
        return len(farm.call("GET", "/health").json.get("voices", ()))
    except OSError:
        return 0
