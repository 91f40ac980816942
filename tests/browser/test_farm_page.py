"""The operator's page at /farm."""

from collections.abc import Iterator
from typing import Any

import pytest

from shared.tenants import Scope
from tests.browser.conftest import MakeView, new_key
from tests.caller import fresh_text
from tests.conftest import wait_until
from tests.e2e.conftest import Farm
from tests.e2e.receiver import Receiver

pytestmark = pytest.mark.e2e


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver(refusals=1)
    yield receiver
    receiver.close()


def dead_delivery(farm: Farm, receiver: Receiver) -> str:
    """A delivery whose only try was refused."""
    farm.ended(farm.submit("你好。", webhook_url=receiver.url))
    found: list[dict[str, Any]] = []

    def check() -> bool:
        answer = farm.call("GET", "/v1/webhooks/deliveries?status=dead")
        found[:] = answer.json["deliveries"]
        return len(found) == 1

    wait_until(check, 60)
    return str(found[0]["id"])


def test_it_shows_how_the_farm_stands(farm: Farm, make_view: MakeView) -> None:
    view = make_view(farm)
    view.open("farm")
    view.page.wait_for_selector("#lanes tr[data-key=fake]")
    book = farm.submit(fresh_text(400), voice="fake")
    view.until(f"document.querySelector('#workers').textContent.includes('{book}:')")
    view.until("Number(document.querySelector('[data-tile=waiting] .value').textContent) > 100")
    view.until("Number(document.querySelector('[data-tile=rate] .value').textContent) > 0")
    view.until("Number(document.querySelector('[data-tile=rtf] .value').textContent) > 0")
    assert "1 at work" in view.text("[data-tile=workers]")
    farm.call("POST", f"/v1/jobs/{book}/cancel")
    view.until("document.querySelector('[data-tile=waiting] .value').textContent === '0'")


def test_failures_are_told_with_their_reasons(farm: Farm, make_view: MakeView) -> None:
    job = farm.submit("前面。[[refuse]]。", voice="fake")
    assert farm.ended(job)["status"] == "failed"
    view = make_view(farm)
    view.open("farm")
    row = f"#failures tr[data-key='{job}']"
    view.page.wait_for_selector(row)
    assert "text_refused" in view.text(row)
    assert "refuse" in view.text(row)
    view.page.click(f"{row} button")
    view.until("document.getElementById('said').textContent === 'The job waits again.'")
    farm.ended(job)
    farm.call("DELETE", f"/v1/jobs/{job}")
    view.page.wait_for_selector(row, state="detached")


def test_why_an_act_failed_stays_and_why_nothing_is_read_is_told_once(
    farm: Farm, make_view: MakeView
) -> None:
    job = farm.submit("前面。[[refuse]]。", voice="fake")
    assert farm.ended(job)["status"] == "failed"
    view = make_view(farm)
    view.open("farm")
    view.page.wait_for_selector(f"#failures tr[data-key='{job}']")
    view.page.route("**/retry", lambda route: route.abort())
    view.page.click(f"#failures tr[data-key='{job}'] button")
    view.page.wait_for_selector("#act-fault:has-text('can not be reached')")
    for _ in range(2):
        with view.page.expect_response("**/v1/queue"):
            pass
    assert view.page.is_visible("#act-fault")
    view.page.evaluate(
        """() => {
          window.said = 0;
          const fault = document.getElementById('fault');
          new MutationObserver(() => { window.said += 1; }).observe(fault, {childList: true});
        }"""
    )
    tries: list[str] = []
    view.page.route("**/v1/queue", lambda route: (tries.append("queue"), route.abort()))
    wait_until(lambda: view.page.evaluate("1") and len(tries) > 2, 60)
    assert view.page.is_visible("#fault")
    assert view.page.evaluate("window.said") == 1
    view.page.unroute("**/v1/queue")
    view.page.wait_for_selector("#fault", state="hidden")
    farm.call("DELETE", f"/v1/jobs/{job}")


def test_a_dead_delivery_is_sent_again(farm: Farm, make_view: MakeView, receiver: Receiver) -> None:
    delivery = dead_delivery(farm, receiver)
    view = make_view(farm)
    view.open("farm")
    row = f"#dead tr[data-key='{delivery}']"
    view.page.wait_for_selector(row)
    assert "The receiver answered HTTP 500" in view.text(row)
    view.page.click(f"{row} button")
    view.page.wait_for_selector(row, state="detached")
    assert farm.call("GET", "/v1/webhooks/deliveries?status=dead").json["deliveries"] == []
    view.until("document.getElementById('said').textContent === 'It will be sent again now.'")


def test_it_goes_on_after_a_pause(farm: Farm, make_view: MakeView) -> None:
    view = make_view(farm)
    view.open("farm")
    view.page.wait_for_selector("#lanes tr[data-key]")
    view.page.click("#pause")
    view.until("document.querySelector('#pause').getAttribute('aria-pressed') === 'true'")
    shown = view.text("#updated")
    view.page.click("#pause")
    view.until(f"document.getElementById('updated').textContent !== {shown!r}")


def test_it_needs_a_key_that_sees_the_whole_farm(guarded: Farm, make_view: MakeView) -> None:
    view = make_view(guarded)
    view.open("farm")
    view.page.fill("#key", new_key(guarded, Scope.READ))
    view.page.press("#key", "Enter")
    view.page.wait_for_selector("#fault:has-text('--scope admin')")
    assert view.text("#updated") == ""  # it does not try again
    view.page.click("#language")
    assert "此页需要" in view.text("#fault")
    view.page.click("#language")
    view.page.click("#change-key")
    view.page.fill("#key", new_key(guarded, *Scope))
    view.page.press("#key", "Enter")
    view.page.wait_for_selector("#workers tr[data-key]")
    assert not view.page.is_visible("#fault")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_nothing_stands_in_the_way_of_anybody(
    farm: Farm, make_view: MakeView, axe: str, width: int, scheme: str
) -> None:
    farm.ended(farm.submit("[[refuse]]。", voice="fake"))
    view = make_view(farm, viewport={"width": width, "height": 844}, color_scheme=scheme)
    view.open("farm")
    view.page.wait_for_selector("#failures tr[data-key]")
    assert view.violations(axe) == []
    assert view.page.evaluate("document.documentElement.scrollWidth") == width
