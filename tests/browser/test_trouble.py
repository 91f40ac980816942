"""The page at / where something is in the way: a limit, a link past its time, closed storage."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Route

from shared.tenants import Scope
from tests.browser.conftest import MakeView, View, new_key
from tests.caller import fresh_text
from tests.e2e.conftest import Farm

pytestmark = pytest.mark.e2e

# Longer on the fake voice than what a test does in the meantime.
LIVE = "document.getElementById('audio').src.includes('stream=1')"
NO_STORAGE = """
for (const name of ['localStorage', 'sessionStorage']) {
  Object.defineProperty(window, name, {get() { throw new DOMException('', 'SecurityError'); }});
}
"""
DRAG = """[3, 6, 9].forEach((at) => {
  const seek = document.getElementById('seek');
  seek.value = at;
  seek.dispatchEvent(new Event('input'));
})"""


def sampled(view: View) -> None:
    """Return when the button for a sample can be pressed again."""
    view.until("!document.getElementById('sample').disabled")


def test_markup_may_begin_with_a_declaration(farm: Farm, make_view: MakeView) -> None:
    view = make_view(farm)
    view.open()
    view.speak('<?xml version="1.0" encoding="UTF-8"?>\n<speak>你好。</speak>')
    view.wait_for_state("succeeded")
    view.page.wait_for_selector("#captions .sentence")
    assert view.text("#captions").strip() == "你好。"
    view.page.evaluate("document.getElementById('text').setSelectionRange(0, 0)")
    view.page.select_option("#mark-pause", "1000")
    assert view.page.input_value("#text").endswith('<speak><break time="1000ms"/>你好。</speak>')


def test_a_sample_whose_link_has_expired_is_made_anew(farm: Farm, make_view: MakeView) -> None:
    view = make_view(farm)
    view.open()
    view.choose_voice("espeak-zh")
    view.page.click("#sample")
    sampled(view)
    view.page.route("**/v1/listen/**", lambda route: route.fulfill(status=403), times=1)
    with view.page.expect_response("**/v1/jobs"):
        view.page.click("#sample")
    sampled(view)
    assert not view.page.is_visible("#form-fault")


def test_a_sample_that_is_cut_off_is_no_fault(farm: Farm, make_view: MakeView) -> None:
    view = make_view(farm)
    view.open()
    view.choose_voice("espeak-zh")
    with view.page.expect_request("**/v1/listen/**"):
        view.page.route("**/v1/listen/**", lambda route: None, times=1)  # it never comes
        view.page.click("#sample")
    view.speak("你好。")
    view.wait_for_state("succeeded")
    sampled(view)
    assert not view.page.is_visible("#form-fault")


def test_a_limit_is_waited_for_and_the_job_followed_on(farm: Farm, make_view: MakeView) -> None:
    view = make_view(farm)
    view.open()
    refusal = {"status": 429, "headers": {"Retry-After": "1"}, "body": "{}"}
    view.page.route("**/events", lambda route: route.fulfill(**refusal), times=1)
    view.speak("你好。")
    view.wait_for_state("succeeded")


def test_the_list_asks_nobody_for_a_key(farm: Farm, make_view: MakeView) -> None:
    view = make_view(farm)
    view.open()
    view.speak(fresh_text(400), voice="fake")
    view.wait_for_state("running")
    first = view.job_id()
    view.page.route(f"**/v1/jobs/{first}", lambda route: route.fulfill(status=401, body="{}"))
    with view.page.expect_response(f"**/v1/jobs/{first}"):
        view.speak("你好。")
    view.wait_for_state("succeeded")
    assert not view.page.is_visible("#key-dialog")
    farm.call("DELETE", f"/v1/jobs/{first}")


def test_dragging_ends_where_it_was_dragged_to(farm: Farm, make_view: MakeView) -> None:
    view = make_view(farm)
    view.open()
    view.speak(fresh_text(80), voice="fake")
    view.wait_for_state("running")
    view.until(LIVE)
    view.wait_for_state("succeeded")
    view.until("!document.getElementById('seek').disabled")
    view.page.click("#play")
    view.until("document.getElementById('audio').paused")
    view.page.evaluate(DRAG)
    view.until("document.getElementById('audio').readyState > 0")
    view.until("document.getElementById('audio').currentTime === 9")


def test_it_works_where_a_browser_keeps_nothing(farm: Farm, make_view: MakeView) -> None:
    view = make_view(farm)
    view.page.add_init_script(NO_STORAGE)
    view.open()
    assert view.text("h1") == "Turn text into speech"
    view.speak("你好。")
    view.wait_for_state("succeeded")


def speak_two(view: View) -> None:
    for text in ("一。", "二。"):
        view.speak(text)
        view.page.wait_for_selector(f"#result-title:has-text('{text}')")
        view.wait_for_state("succeeded")


def test_the_focus_stays_in_the_list_when_an_entry_goes(farm: Farm, make_view: MakeView) -> None:
    view = make_view(farm)
    view.open()
    speak_two(view)
    first = view.page.locator("#history li").last
    first.locator("[data-act=remove]").focus()
    for left in (1, 0):
        view.page.keyboard.press("Enter")
        view.page.keyboard.press("Enter")
        view.until(f"document.querySelectorAll('#history li').length === {left}")
        view.until("document.activeElement.closest('.history') !== null")


def away(route: Route) -> None:
    route.abort()


def without_voices(route: Route) -> None:
    route.fulfill(json={"voices": []})


@pytest.mark.parametrize(
    ("answer", "told"), [(away, "can not be reached"), (without_voices, "No voice is ready")]
)
def test_a_page_that_is_open_before_its_farm_needs_no_reload(
    farm: Farm, make_view: MakeView, answer: Callable[[Route], None], told: str
) -> None:
    view = make_view(farm)
    view.page.route("**/v1/voices", answer)
    view.open()
    view.page.wait_for_selector(f"#form-fault:has-text('{told}')")
    view.page.unroute("**/v1/voices")
    view.choose_voice("espeak-zh")
    assert not view.page.is_visible("#form-fault")
    view.speak("你好。")
    view.wait_for_state("succeeded")


def test_a_job_whose_answer_was_lost_is_not_made_twice(farm: Farm, make_view: MakeView) -> None:
    def lose_the_answer(route: Route) -> None:
        made.append(route.fetch().json()["id"])
        route.abort()

    made: list[str] = []
    view = make_view(farm)
    view.open()
    view.page.route("**/v1/jobs", lose_the_answer, times=1)
    view.speak("这句话只说一遍。")
    view.page.wait_for_selector("#form-fault:has-text('can not be reached')")
    view.page.click("#go")
    view.wait_for_state("succeeded")
    assert [view.job_id()] == made
    with view.page.expect_response("**/v1/jobs") as again:
        view.page.click("#go")
    assert again.value.json()["id"] != made[0], "what was answered is another wish"


def test_a_job_that_is_removed_while_it_is_shown_is_told_to_be_gone(
    farm: Farm, make_view: MakeView
) -> None:
    view = make_view(farm)
    view.open()
    view.speak(fresh_text(400), voice="fake")
    view.wait_for_state("running")
    farm.call("DELETE", f"/v1/jobs/{view.job_id()}")
    view.page.wait_for_selector("#result-fault:has-text('not there any more')")
    view.page.wait_for_selector("#history .state.gone")
    view.wait_for_state("gone")
    assert not view.page.is_visible("#progress")
    assert not view.page.is_visible("#cancel")


def give_key(view: View, key: str) -> None:
    view.page.wait_for_selector("#key-dialog[open]")
    view.page.fill("#key", key)
    view.page.press("#key", "Enter")


def test_a_text_outlives_a_change_of_the_key(guarded: Farm, make_view: MakeView) -> None:
    view = make_view(guarded)
    view.open()
    give_key(view, new_key(guarded, Scope.SUBMIT, Scope.READ))
    view.choose_voice("fake")
    view.page.fill("#text", "写了很久的一篇文章。")
    view.page.click("#change-key")
    give_key(view, new_key(guarded, Scope.SUBMIT, Scope.READ))
    view.page.wait_for_load_state("networkidle")
    assert view.page.input_value("#text") == "写了很久的一篇文章。"
    view.page.click("#go")
    view.wait_for_state("succeeded")


def test_a_job_that_can_not_be_heard_while_it_is_made_is_asked_for_once(
    farm: Farm, make_view: MakeView
) -> None:
    view = make_view(farm)
    view.page.route("**/v1/listen/**stream=1", lambda route: route.fulfill(status=503))
    view.open()
    with view.page.expect_request("**/v1/listen/**stream=1"):
        view.speak(fresh_text(80), voice="fake")
    view.wait_for_state("succeeded")
    view.until("document.getElementById('audio').currentTime > 0.3")
    assert sum("stream=1" in url for url in view.asked) == 1


def test_a_job_that_failed_is_not_gone_for_who_gives_another_key(
    guarded: Farm, make_view: MakeView
) -> None:
    view = make_view(guarded)
    view.open()
    give_key(view, new_key(guarded, Scope.SUBMIT, Scope.READ))
    view.speak("[[refuse]]。", voice="fake")
    view.wait_for_state("failed")
    view.page.click("#change-key")
    give_key(view, new_key(guarded, Scope.SUBMIT, Scope.READ, tenant="another"))
    view.speak("你好。", voice="fake")
    view.wait_for_state("succeeded")
    assert view.page.locator("#history .state.failed").count() == 1


def test_a_job_that_is_made_is_shown_though_an_older_one_was_asked_for(
    farm: Farm, make_view: MakeView
) -> None:
    view = make_view(farm)
    view.open()
    view.speak("旧的。")
    view.wait_for_state("succeeded")
    late: list[Route] = []
    address = f"**/v1/jobs/{view.job_id()}"
    view.page.route(address, lambda route: late.append(route), times=1)
    view.page.click("#history .open")
    view.speak("新的。")
    view.page.wait_for_selector("#result-title:has-text('新')")
    view.wait_for_state("succeeded")
    with view.page.expect_response(address):
        late[0].continue_()
    view.page.wait_for_load_state("networkidle")
    assert view.text("#result-title") == "新的。"


def test_the_job_that_was_chosen_last_is_shown(farm: Farm, make_view: MakeView) -> None:
    view = make_view(farm)
    view.open()
    speak_two(view)
    late: list[Route] = []
    address = f"**/v1/jobs/{view.job_id()}"
    view.page.route(address, lambda route: late.append(route), times=1)
    view.page.locator("#history .open").first.click()
    view.page.locator("#history .open").last.click()
    view.page.wait_for_selector("#result-title:has-text('一')")
    with view.page.expect_response(address):
        late[0].continue_()
    view.page.wait_for_load_state("networkidle")
    assert view.text("#result-title") == "一。"


HIDE = """hidden => {
  Object.defineProperty(document, 'hidden', {get: () => hidden, configurable: true});
  document.dispatchEvent(new Event('visibilitychange'));
}"""


def test_tabs_that_nobody_sees_leave_the_browsers_connections_to_the_others(
    farm: Farm, make_view: MakeView
) -> None:
    first = make_view(farm)
    tabs = [first.page, *(first.page.context.new_page() for _ in range(6))]
    jobs = []
    for page in tabs:
        view = View(page, first.base)
        view.open()
        page.select_option("#format", "pcm")  # it is not played while it is made
        view.speak(fresh_text(400), voice="fake")
        page.wait_for_selector("#state.queued, #state.running")
        jobs.append(view.job_id())
        page.evaluate(HIDE, True)
    for job in jobs[1:]:
        farm.call("DELETE", f"/v1/jobs/{job}")
    with first.page.expect_response(f"**/v1/jobs/{jobs[0]}"):  # it asks now and then
        pass
    with first.page.expect_request("**/events"):
        first.page.evaluate(HIDE, False)
    farm.call("POST", f"/v1/jobs/{jobs[0]}/cancel")
    first.wait_for_state("canceled")


def test_markup_that_is_too_long_to_be_read_is_told_before_it_is_sent(
    farm: Farm, make_view: MakeView
) -> None:
    view = make_view(farm)
    view.open()
    view.speak(f"<speak>{'字' * 22_000}</speak>")
    view.page.wait_for_selector("#form-fault:has-text('bytes; 65536 are read')")
