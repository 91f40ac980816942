import json

import pytest
from click.testing import CliRunner

from worker.commands.explain import explain


def test_a_person_sees_every_stage() -> None:
    result = CliRunner().invoke(explain, ["会议8:05开始😀"])
    assert result.exit_code == 0
    for expected in ("八点零五分", "hui4 yi4", "#4", "{h_c$tone4", "'😀': emoji"):
        assert expected in result.output


def test_jsonl_is_an_object_a_line() -> None:
    result = CliRunner().invoke(explain, ["--jsonl"], input="你好，3个。走吧！\n\n？\n")
    first, empty, mark = (json.loads(line) for line in result.output.splitlines())
    assert first["spoken"] == "你好，三个。走吧！"
    assert [(s["start"], s["end"]) for s in first["segments"]] == [(0, 6), (6, 9)]
    assert first["pinyin"] == ["ni2", "hao3", None, None, "ge4", None, "zou3", "ba5", None]
    assert first["words"] == ["你好", "，", "三", "个", "。", "走", "吧", "！"]
    assert first["segments"][0]["symbols"].startswith("{n_c$tone2")
    assert empty == {"spoken": "", "segments": [], "words": [], "pinyin": [], "substitutions": []}
    assert mark["substitutions"][0]["reason"] == "nothing to speak"


def test_broken_markup_is_told_with_its_place() -> None:
    result = CliRunner().invoke(explain, ["<speak><foo/></speak>"])
    assert result.exit_code == 1
    assert "line 1, column 8" in result.output
    result = CliRunner().invoke(explain, ["--jsonl"], input="<speak>\n")
    assert json.loads(result.output)["error"] == "not_well_formed"


@pytest.mark.parametrize("options", [[], ["--jsonl"]])
def test_input_in_another_encoding_says_how_to_convert_it(options: list[str]) -> None:
    result = CliRunner().invoke(explain, options, input="你好".encode("gb18030"))
    assert result.exit_code == 2
    assert "not UTF-8" in result.output
    assert "iconv -f GB18030" in result.output
