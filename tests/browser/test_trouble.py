"""The page at / where something is in the way: a limit, a link past its time, closed storage."""

import pytest

from tests.browser.conftest import MakeView, View
from tests.e2e.conftest import Farm

pytestmark = pytest.mark.e2e


def test_markup_may_begin_with_a_declaration(farm: Farm, make_view: MakeView) -> None:
    view = make_view(farm)
    view.open()
    view.speak('<?xml version="1.0" encoding="UTF-8"?>\n<speak>你好。</speak>')
    view.wait_for_state("succeeded")
    view.page.wait_for_selector("#captions .sentence")
    assert view.text("#captions") == "你好。"
    view.page.evaluate("document.getElementById('text').setSelectionRange(0, 0)")
    view.page.select_option("#mark-pause", "1000")
    assert view.page.input_value("#text").endswith('<speak><break time="1000ms"/>你好。</speak>')
