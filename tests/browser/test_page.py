"""The page at / as a person uses it."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from shared.tenants import Scope
from tests.browser.conftest import MakeView, new_key
from tests.caller import fresh_text
from tests.e2e.conftest import Farm

pytestmark = pytest.mark.e2e

POEM = "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。"
LIMIT = 200_000
PLAYED = "document.getElementById('audio').currentTime > 0.3"
# How many columns of the waveform's middle are painted at a quarter of its height.
TALL = """(() => {
  const canvas = document.getElementById('wave');
  const row = canvas.getContext('2d').getImageData(0, canvas.height / 4, canvas.width, 1).data;
  return row.filter((value, i) => i % 4 === 3 && value > 0).length;
})()"""


def test_a_person_types_and_hears_with_captions_that_follow(
    farm: Farm, make_view: MakeView, tmp_path: Path
) -> None:
    view = make_view(farm)
    view.open()
    view.speak(POEM)
    view.wait_for_state("succeeded")
    view.until(PLAYED)
    view.until("document.querySelector('#captions [aria-current]') !== null")
    view.until(f"{TALL} > 5")
    job = farm.job(view.job_id())
    assert view.text("#captions") == POEM
    with view.page.expect_download() as caught:
        view.page.click("#download")
    caught.value.save_as(tmp_path / "speech.wav")
    assert caught.value.suggested_filename == f"{job['id']}.wav"
    data = (tmp_path / "speech.wav").read_bytes()
    assert hashlib.sha256(data).hexdigest() == job["audio"]["sha256"]
    with view.page.expect_download() as caught:
        view.page.click("#subtitles")
    caught.value.save_as(tmp_path / "speech.srt")
    assert "-->" in (tmp_path / "speech.srt").read_text("utf-8")


def test_seeking_moves_the_sound_and_the_captions(farm: Farm, make_view: MakeView) -> None:
    view = make_view(farm)
    view.open()
    view.speak(POEM)
    view.wait_for_state("succeeded")
    view.page.wait_for_selector("#captions .sentence")
    view.page.click("#play")
    view.until("document.getElementById('audio').paused")
    view.page.press("#seek", "Home")
    view.until("document.getElementById('audio').currentTime === 0")
    view.page.press("#seek", "ArrowRight")
    view.until("Math.abs(document.getElementById('audio').currentTime - 5) < 0.05")
    last = view.page.locator(".sentence").last
    last.click()
    view.until("document.querySelector('.sentence:last-child').classList.contains('spoken')")
    view.page.click("#play")
    view.until("document.getElementById('audio').ended")
    length_s = farm.job(view.job_id())["audio"]["duration_s"]
    assert view.page.evaluate("Number(document.getElementById('seek').max)") == length_s


def test_it_plays_while_it_renders_and_can_be_canceled_retried_and_deleted(
    farm: Farm, make_view: MakeView
) -> None:
    view = make_view(farm)
    view.open()
    # Over a minute of work: the fake voice takes its time.
    view.speak(fresh_text(400), voice="fake")
    view.until(f"document.getElementById('state').className === 'state running' && {PLAYED}")
    assert "playing while it is made" in view.text("#status")
    view.until("document.getElementById('status').textContent.includes('done in about')")
    assert view.page.evaluate("document.getElementById('progress').value") < 1
    view.page.click("#cancel")
    view.wait_for_state("canceled")
    view.page.click("#history [data-act=retry]")
    view.until("document.getElementById('state').className === 'state running'")
    job = view.job_id()
    with view.page.expect_response("**/cancel"):
        view.page.click("#history [data-act=cancel]")
    view.wait_for_state("canceled")
    view.page.click("#history [data-act=remove]")
    view.page.click("#history [data-sure]")
    view.page.wait_for_selector("#history-empty", state="visible")
    assert not view.page.is_visible("#result")
    assert farm.call("GET", f"/v1/jobs/{job}").status == 404


@pytest.mark.parametrize("audio_format", ["mp3", "opus", "pcm"])
def test_every_kind_of_format_plays(farm: Farm, make_view: MakeView, audio_format: str) -> None:
    view = make_view(farm)
    view.open()
    view.page.select_option("#format", audio_format)
    view.speak(POEM)
    view.wait_for_state("succeeded")
    view.until(PLAYED)
    assert farm.job(view.job_id())["audio"]["format"] == audio_format
    assert not view.page.is_visible("#result-fault")


def test_the_list_stays_and_plays_again(farm: Farm, make_view: MakeView) -> None:
    view = make_view(farm)
    view.open()
    view.speak("今天天气真好。")
    view.wait_for_state("succeeded")
    view.open()
    assert "今天天气真好。" in view.text("#history")
    assert not view.page.is_visible("#result")
    view.page.click("#history [data-act=play]")
    view.until(PLAYED)
    farm.call("DELETE", f"/v1/jobs/{view.job_id()}")
    view.page.click("#history [data-act=play]")
    view.page.wait_for_selector("#history .state.gone")


def test_settings_reach_the_job_and_a_sample_is_heard(farm: Farm, make_view: MakeView) -> None:
    view = make_view(farm)
    view.open()
    view.choose_voice("espeak-zh")
    view.page.check("input[name=emotion][value=happy]", force=True)
    for slider, presses in (("#speed", 4), ("#pitch", 3), ("#volume", 2)):
        for _ in range(presses):
            view.page.press(slider, "ArrowRight")
    with view.page.expect_response("**/v1/listen/**") as answer:
        view.page.click("#sample")
    assert answer.value.status in (200, 206)
    view.speak("你好。")
    view.wait_for_state("succeeded")
    spoken: dict[str, Any] = farm.job(view.job_id())["request"]
    assert (spoken["voice"], spoken["emotion"]) == ("espeak-zh", "happy")
    assert (spoken["speed"], spoken["pitch"], spoken["volume"]) == (1.2, 3.0, 1.1)


def select_words(view: Any, words: str) -> None:
    view.page.evaluate(
        """words => {
          const box = document.getElementById('text');
          const at = box.value.indexOf(words);
          box.focus();
          box.setSelectionRange(at, at + words.length);
        }""",
        words,
    )


def test_markup_is_made_by_choosing(farm: Farm, make_view: MakeView) -> None:
    view = make_view(farm)
    view.open()
    view.choose_voice("espeak-zh")
    view.page.fill("#text", "你好，A&B 公司。今天真高兴。")
    view.page.evaluate("document.getElementById('text').setSelectionRange(0, 0)")
    view.page.select_option("#mark-emotion", "happy")
    assert "Select the words first" in view.text("#form-fault")
    select_words(view, "今天真高兴")
    view.page.select_option("#mark-emotion", "happy")
    select_words(view, "公司。")
    view.page.select_option("#mark-pause", "1000")
    made = view.page.input_value("#text")
    assert made == (
        '<speak>你好，A&amp;B 公司。<break time="1000ms"/>'
        '<emotion category="happy">今天真高兴</emotion>。</speak>'
    )
    assert view.page.is_visible("#is-ssml")
    select_words(view, "真高兴</emotion>。")
    view.page.select_option("#mark-emotion", "sad")
    assert "crosses other markup" in view.text("#form-fault")
    assert view.page.input_value("#text") == made
    view.page.click("#go")
    view.wait_for_state("succeeded")
    view.page.wait_for_selector("#captions .sentence")
    assert view.text("#captions") == "你好，A&B 公司。今天真高兴。"
    view.page.click("#unmark")
    assert view.page.input_value("#text") == "你好，A&B 公司。今天真高兴。"
    assert not view.page.is_visible("#is-ssml")


def drop(view: Any, name: str, data: bytes) -> None:
    view.page.evaluate(
        """([name, bytes]) => {
          const carried = new DataTransfer();
          carried.items.add(new File([new Uint8Array(bytes)], name));
          const init = {dataTransfer: carried, bubbles: true, cancelable: true};
          document.getElementById('text').dispatchEvent(new DragEvent('dragover', init));
          document.getElementById('text').dispatchEvent(new DragEvent('drop', init));
        }""",
        [name, list(data)],
    )


def test_long_texts_come_from_files(farm: Farm, make_view: MakeView) -> None:
    view = make_view(farm)
    view.open()
    chapter = "第一章\n" + "很久以前，有一个故事。" * 500
    drop(view, "book.txt", chapter.encode("gb18030"))
    view.until(f"document.getElementById('text').value.length === {len(chapter)}")
    assert view.page.input_value("#text") == chapter
    assert f"{len(chapter):,} / {LIMIT:,}" in view.text("#count")
    view.page.set_input_files(
        "#file", {"name": "b.txt", "mimeType": "text/plain", "buffer": "你好\r\n世界".encode()}
    )
    view.until("document.getElementById('text').value === '你好\\n世界'")
    drop(view, "x.bin", b"\x00\x01\x02")
    view.page.wait_for_selector("#form-fault:has-text('Only text files')")
    view.page.evaluate(f"document.getElementById('text').value = '好'.repeat({LIMIT + 1})")
    view.page.click("#go")
    assert "Split it into parts" in view.text("#form-fault")


def test_faults_come_in_plain_words_with_what_to_do(farm: Farm, make_view: MakeView) -> None:
    view = make_view(farm)
    view.open()
    view.speak("   ")
    assert "Type what is to be spoken" in view.text("#form-fault")
    view.speak("前面。[[refuse]]。", voice="fake")
    view.wait_for_state("failed")
    assert "can not speak this text. Change the text or the voice" in view.text("#result-fault")
    assert not view.page.is_visible("#retry")
    assert view.page.locator("#history [data-act=retry]").count() == 0
    view.speak("😀😀")
    view.page.wait_for_selector("#result-fault:has-text('Use words or numbers')")
    view.page.click("#language")
    assert "没有能朗读的内容" in view.text("#result-fault")
    view.page.click("#language")
    view.page.route("**/v1/jobs", lambda route: route.abort())
    view.speak("你好。")
    view.page.wait_for_selector("#form-fault:has-text('can not be reached')")
    view.page.unroute("**/v1/jobs")


def test_the_language_is_the_browsers_until_it_is_switched(farm: Farm, make_view: MakeView) -> None:
    view = make_view(farm, locale="zh-CN")
    view.open()
    assert (view.text("h1"), view.text("#go")) == ("把文字变成语音", "开始合成")
    assert view.page.get_attribute("html", "lang") == "zh-CN"
    view.page.click("#language")
    assert (view.text("h1"), view.text("#go")) == ("Turn text into speech", "Speak")
    view.open()
    assert view.page.get_attribute("html", "lang") == "en"
    assert view.page.title() == "ttsfarm · Speech synthesis"


def test_day_and_night_follow_the_system_until_switched(farm: Farm, make_view: MakeView) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    view = make_view(farm, color_scheme="light")
    view.open()
    light = view.page.evaluate(ground)
    view.page.emulate_media(color_scheme="dark")
    dark = view.page.evaluate(ground)
    assert light != dark
    view.page.click("#theme")
    assert view.page.evaluate(ground) == light
    view.open()
    assert view.page.evaluate(ground) == light


def test_a_farm_with_keys_asks_once_and_then_speaks(guarded: Farm, make_view: MakeView) -> None:
    key = new_key(guarded, Scope.SUBMIT, Scope.READ)
    view = make_view(guarded)
    view.open()
    view.page.wait_for_selector("#key-dialog[open]")
    view.page.fill("#key", "ttsfarm_wrong")
    view.page.press("#key", "Enter")
    view.page.wait_for_selector("#key-why.wrong")
    view.page.fill("#key", key)
    view.page.press("#key", "Enter")
    view.speak(POEM, voice="fake")
    view.wait_for_state("succeeded")
    view.until(PLAYED)
    view.page.wait_for_selector("#captions .sentence")
    with view.page.expect_download() as caught:  # the farm knows itself by another name
        view.page.click("#download")
    assert Path(caught.value.path()).stat().st_size > 44
    assert not any(key in url for url in view.asked)
    view.open()
    view.page.click("#change-key")
    view.page.click("#key-cancel")
    view.page.click("#history [data-act=play]")
    view.until(PLAYED)
    assert not view.page.is_visible("#key-dialog")


def test_all_can_be_done_from_the_keyboard(farm: Farm, make_view: MakeView) -> None:
    view = make_view(farm)
    view.open()
    view.choose_voice("espeak-zh")
    view.page.focus("body")
    reached = []
    for _ in range(24):
        view.page.keyboard.press("Tab")
        reached.append(
            view.page.evaluate("document.activeElement.id || document.activeElement.name")
        )
    wanted = ["language", "theme", "mark-emotion", "open-file", "text", "voice", "sample", "format"]
    wanted += ["emotion", "speed", "pitch", "volume", "go"]
    assert [name for name in reached if name in wanted] == wanted
    view.page.fill("#text", "你好。")
    view.page.press("#text", "Control+Enter")
    view.wait_for_state("succeeded")


def test_a_menu_opens_at_an_arrow_key_and_every_entry_can_be_chosen(
    farm: Farm, make_view: MakeView
) -> None:
    view = make_view(farm)
    view.open()
    view.page.fill("#text", "你好。")
    view.page.focus("#mark-pause")
    view.page.keyboard.press("ArrowDown")
    assert view.page.input_value("#text") == "你好。"
    for _ in range(3):
        view.page.keyboard.press("ArrowDown")
    view.page.keyboard.press("Enter")
    view.until("document.getElementById('text').value.includes('1000ms')")


def test_a_caption_is_reached_by_keyboard_and_states_alone_are_said(
    farm: Farm, make_view: MakeView
) -> None:
    view = make_view(farm)
    view.open()
    view.speak(POEM)
    view.wait_for_state("succeeded")
    assert view.page.inner_text("#result [role=status]") == "Done"
    view.page.wait_for_selector("#captions .sentence")
    view.page.click("#play")
    view.until("document.getElementById('audio').paused")
    view.page.focus("#captions")
    view.page.keyboard.press("Tab")
    view.page.keyboard.press("ArrowRight")
    view.page.keyboard.press("Enter")
    view.until("document.querySelector('.sentence:last-child').classList.contains('spoken')")
    assert view.page.evaluate(
        "document.activeElement === document.querySelector('.sentence.spoken')"
    )


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_nothing_stands_in_the_way_of_anybody(
    farm: Farm, make_view: MakeView, axe: str, width: int, scheme: str
) -> None:
    view = make_view(
        farm, viewport={"width": width, "height": 844}, color_scheme=scheme, locale="zh-CN"
    )
    view.open()
    view.speak(POEM)
    view.wait_for_state("succeeded")
    view.page.wait_for_selector("#captions .sentence")
    view.until("document.querySelector('#captions [aria-current]') !== null")
    view.page.evaluate("document.getElementById('audio').pause()")
    assert view.violations(axe) == []
    assert view.page.evaluate("document.documentElement.scrollWidth") == width
    view.speak("[[refuse]]。", voice="fake")
    view.wait_for_state("failed")
    view.page.fill("#text", "")
    view.page.click("#go")
    assert view.violations(axe) == []


@pytest.mark.parametrize("width", [1280, 390])
def test_the_description_of_every_call_fits_the_page(
    farm: Farm, make_view: MakeView, width: int
) -> None:
    view = make_view(farm, viewport={"width": width, "height": 844})
    view.open("docs")
    view.until("document.querySelectorAll('#calls details').length > 50")
    view.page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    assert view.page.evaluate("document.documentElement.scrollWidth") == width
