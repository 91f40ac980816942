"""Rules for frequent polyphones that stand alone as a word, where the neighbours decide surely.

Each rule sees the words around and answers with a reading, or None to leave it to the model.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from worker.text import tables
from worker.text.sides import NUMBERED, Sides, neighbour
from worker.text.words import Word

_Rule = Callable[[Sides], str | None]


def rules(char: str) -> bool:
    """Whether `char` has a rule that looks at its neighbours."""
    return callable(_RULES.get(char))


def reading(words: Sequence[Word], i: int) -> str | None:
    """The reading of the one-character word `words[i]` by rule, None where no rule is sure."""
    rule = _RULES.get(words[i].text)
    if rule is None or isinstance(rule, str):
        return rule
    before, after = neighbour(words, i - 1), neighbour(words, i + 1)
    later = neighbour(words, i + 2)
    return rule(
        Sides(
            before=before.text if before else "",
            before_tag=before.tag if before else "",
            after=after.text if after else "",
            after_tag=after.tag if after else "",
            later_tag=later.tag if after and later else "",
            words=words,
            at=i,
        )
    )


def row(words: Sequence[Word], i: int) -> str:
    """The reading of 行 at the end of a number: 两行 are rows, 一行 are often people."""
    if words[i].text != "一行":
        return "hang2"
    before, after = neighbour(words, i - 1), neighbour(words, i + 1)
    written = before is not None and before.text.endswith(tables.words("g2p.tsv", "before_row"))
    in_row = after is not None and after.text.startswith(tables.words("g2p.tsv", "after_row"))
    return "hang2" if written or in_row else "xing2"


def _di(sides: Sides) -> str | None:
    """地 after a doubled word or an adverb makes an adverb, else it is the ground."""
    before, tag = sides.before, sides.before_tag[:1]
    doubled = len(before) > 1 and (before[0] == before[1] or before[-1] == before[-2])
    if doubled or (len(before) > 1 and tag in ("a", "d", "z", "i", "l")):
        return "de5"
    if not before or not sides.after:
        return "di4"
    if len(before) > 1 and tag == "b":
        return "de5"
    if re.search(r"一(.)又?一\1$", sides.behind):
        return "de5"
    moves = sides.after_tag[:1] in ("v", "p", "d")
    return "de5" if len(before) > 1 and tag in ("v", "n", "m", "r", "o") and moves else None


def _de(sides: Sides) -> str | None:
    """得 after a verb or adjective opens a complement; before a verb it is must."""
    if not sides.before:
        return "dei3" if sides.verb_after else None
    tag = sides.before_tag[:1]
    if sides.before_is("pronoun") or sides.before_is("before_must") or tag in ("r", "t"):
        return "dei3" if sides.after and not sides.after_is("after_gain") else None
    return "de5" if tag in ("v", "a", "z", "b", "u") else None


def _zhe(sides: Sides) -> str | None:
    if sides.before_tag == "n" and sides.after == "了" and sides.later_tag[:1] in ("", "y"):
        # 炉子着了: it burns.
        return "zhao2"
    return "zhe5" if sides.verb_before and sides.after != "了" else None


def _le(sides: Sides) -> str | None:
    """了 after 不 or 得 is to be able to finish."""
    if sides.before == "得":
        return "liao3" if sides.earlier_tag[:1] in ("v", "u") else "le5"
    # 取得 and 获得 are verbs of their own, 办得 is not.
    able = sides.before.endswith("得") and sides.before_tag[:1] == "u"
    return "liao3" if able or sides.before.endswith("不") else "le5"


def _hai(sides: Sides) -> str | None:
    """还 before what is owed, or as the last word, is to give back."""
    owed = re.match("..?(?:钱|书|东西|公道|清白|自由|人情)", sides.ahead)
    asked = sides.after_is("pronoun") and (
        sides.before in ("快", "要", "请", "来") or sides.later_tag[:1] in ("", "m", "y") or owed
    )
    paid = sides.before in ("没", "不", "再", "先", "要", "能", "快", "得", "已") and (
        sides.after in ("", "了", "呢", "吗", "吧", "完", "清")
    )
    if paid or (sides.after == "了" and sides.later_tag[:1] == "m"):
        return "huan2"
    if sides.after_is("returned") or asked:
        return "huan2"
    return "huan2" if sides.before and not sides.after else "hai2"


def _heavy(sides: Sides) -> str | None:
    """重 after a degree is heavy, before a verb of one syllable again."""
    if sides.before_is("degree"):
        return "zhong4"
    if sides.number_before:
        return None
    if not sides.after or sides.after_tag[:1] == "n":
        return "zhong4"
    return "chong2" if sides.verb_after and len(sides.after) == 1 else None


def _only(sides: Sides) -> str | None:
    counted = sides.number_before or sides.before in ("这", "那", "每", "哪", "几", "多少", "数")
    return "zhi1" if counted else "zhi3"


def _long(sides: Sides) -> str | None:
    measured = sides.before_tag[:1] in ("q", "m") and sides.after not in ("到", "成", "大")
    if sides.before_is("degree") or measured:
        return "chang2"
    return "zhang3" if sides.after_is("after_grow") else None


def _kind(sides: Sides) -> str | None:
    if sides.number_before or sides.before_tag[:1] in ("m", "r") or sides.before == "各":
        return "zhong3"
    return "zhong4" if sides.after_is("after_plant") else None


def _count(sides: Sides) -> str | None:
    return "shu3" if sides.after_is("after_count") else None


def _for(sides: Sides) -> str | None:
    if sides.after in ("了", "什么", "何", "此") or sides.after_tag == "r" or not sides.before:
        return "wei4"
    if sides.after_tag[:1] == "m" or sides.before_is("before_become"):
        return "wei2"
    served = sides.after_tag[:1] == "n" and sides.later_tag[:1] == "v"
    return "wei4" if served and sides.before_tag[:1] in ("f", "s", "d", "t", "v", "") else None


def _carry(sides: Sides) -> str | None:
    """背 with something on the back is bei1."""
    return "bei1" if sides.after_is("after_carry") or sides.after == "着" else None


def _measure(sides: Sides) -> str | None:
    """量 as a verb: what is measured follows, or 了, 着, 一."""
    return "liang2" if sides.after_is("after_measure") else None


def _turn(sides: Sides) -> str | None:
    """转 without an object goes round."""
    return "zhuan4" if not sides.after and sides.before else None


def _row(sides: Sides) -> str | None:
    """行 after a number is a row."""
    return "hang2" if sides.number_before and sides.before != "一" else None


def _roll(sides: Sides) -> str | None:
    return "juan3" if sides.after in ("起", "起来", "成", "进", "入", "走") else None


def _should(sides: Sides) -> str:
    """应 is should, unless it answers what somebody asked: 应朋友之邀."""
    asked = re.search("邀|请求|要求|号召|约请|之请|之约|委托|征召", sides.ahead)
    return "ying4" if asked and sides.after_tag[:1] in ("n", "r", "j") else "ying1"


def _worse(sides: Sides) -> str:
    """差 is bad or lacking; after 之 it is a difference."""
    return "cha1" if sides.before.endswith("之") and sides.after_tag[:1] != "n" else "cha4"


def _dry(sides: Sides) -> str:
    """干 is dry after a degree or after what dries, else to do."""
    if sides.before_is("before_dry") or sides.after in ("衣服", "毛巾", "树枝", "草", "冰", "红"):
        return "gan1"
    weighed = sides.before_is("degree") and sides.before not in ("不", "多", "这么", "那么")
    return "gan1" if weighed and sides.after in ("", "了", "的", "啊") else "gan4"


def _fall(sides: Sides) -> str | None:
    """倒 before an adverb or a preposition is but, before what is poured or backed dao4."""
    poured = re.match("了?(?:[出进回]|[一两半几]?[杯碗盆壶瓶])", sides.ahead)
    if poured or sides.after_is("after_pour") or sides.after_tag[:1] in ("d", "p", "a", "r"):
        return "dao4"
    return "dao3" if sides.after in ("了", "下", "在", "地", "") and sides.before else None


def _crack(sides: Sides) -> str:
    """缝 that is counted, or closed by 里, is a crack."""
    counted = sides.before_tag[:1] in ("q", "m") or sides.after in ("里", "中", "隙")
    if sides.after_tag[:1] in ("m", "v"):
        return "feng2"
    return "feng4" if counted or sides.before in ("条", "道") else "feng2"


def _place(sides: Sides) -> str:
    """处 is to be at before 于 and 在, and after 所; else a place or an office."""
    return "chu3" if sides.after in ("于", "在") or sides.before in ("所", "正", "身") else "chu4"


def _hide(sides: Sides) -> str | None:
    return "cang2" if sides.after_is("after_hide") or sides.before_tag[:1] in ("d", "c") else None


def _rate(sides: Sides) -> str:
    """率 before those who are led is to lead; behind a noun it is a rate."""
    leads = sides.after_tag[:1] in ("n", "r", "m", "j", "s") and sides.after not in ("左右", "方面")
    led = sides.before_is("pronoun") or sides.before_tag[:1] in ("n", "r", "t", "d", "")
    return "shuai4" if leads and led else "lv4"


def _fight(sides: Sides) -> str:
    return "dou3" if sides.number_before or sides.before in ("大", "小", "每") else "dou4"


def _hit(sides: Sides) -> str | None:
    """中 before a prize, a shot or a trick is to be hit by it."""
    if sides.after_is("after_hit"):
        return "zhong4"
    shot = sides.ahead[1:2] in tuple("枪弹刀箭镖") and sides.ahead[:1] in NUMBERED
    return "zhong4" if shot else None


def _teach(sides: Sides) -> str:
    """教 alone is to teach, unless it is a religion that somebody has."""
    return "jiao4" if sides.before in ("信", "传", "佛", "道", "入", "邪", "此", "该") else "jiao1"


def _sleep(sides: Sides) -> str:
    """觉 that is counted, or slept, is a sleep."""
    slept = sides.number_before or re.search("睡(?:了|过|个|好)?.{0,3}$", sides.behind)
    return "jiao4" if slept else "jue2"


def _leave(sides: Sides) -> str | None:
    """落 of a thing that was forgotten somewhere is la4."""
    left = re.search("(?:把|钥匙|手机|钱包|雨?伞|书包|东西|作业|课本|身份证)", sides.behind)
    where = re.match("在?(?:家|车|教室|办公室|宾馆|酒店|店|学校|宿舍|公司|那|这|哪)", sides.ahead)
    return "la4" if left and where else None


def _as(sides: Sides) -> str | None:
    """把他当朋友 takes for, 当老师 is to be."""
    return "dang4" if re.search("[把拿][^把拿]{1,8}$", sides.behind) else None


def _stuck(sides: Sides) -> str | None:
    return "qia3" if sides.after in ("在", "住", "着", "脖子") else None


def _broken(sides: Sides) -> str | None:
    limb = re.search(
        "(?:腿|胳膊|骨头|树枝|棍子?|扁担|筷子|铅笔|桌腿|桅杆|绳子?|手臂|肋骨|腰)[都也给就]?$",
        sides.behind,
    )
    return "she2" if limb and sides.after in ("", "了") else None


def _pungent(sides: Sides) -> str | None:
    strong = sides.before_is("degree") and sides.after in ("", "了", "的", "啊")
    return "chong4" if strong else None


def _tune(sides: Sides) -> str | None:
    """调 to a number, a degree or a place on a scale is to set, 调到北京 is to move."""
    if not sides.ahead.startswith(("到", "至", "往", "去", "回", "离", "任", "入")):
        return None
    scale = re.match(
        "[到至](?:[零一二三四五六七八九十百两]|[最更很静低高大小中合适振弱强暗亮快慢])", sides.ahead
    )
    return "tiao2" if scale else "diao4"


def _stay(sides: Sides) -> str:
    """待 for a time or in a place is to stay, else to wait or to treat."""
    stays = sides.after in ("在", "着", "了", "过", "会儿") or sides.after_tag[:1] == "m"
    return "dai1" if stays or sides.ahead.startswith(("一会", "多久", "几天")) else "dai4"


def _stone(sides: Sides) -> str | None:
    """石 of grain is a measure, dan4."""
    grain = re.match("[大小稻黄粳糙]?(?:米|粮|谷|麦|豆|粟|稻)", sides.ahead)
    return "dan4" if sides.number_before and grain else None


def _stroke(sides: Sides) -> str:
    return "luo1" if sides.after in ("袖子", "起", "下", "起袖子", "胳膊") else "lv3"


def _done(key: str, said: str) -> _Rule:
    """A rule: `said` where one of the list `key` follows, else no rule."""
    return lambda sides: said if sides.ahead.startswith(tables.words("g2p.tsv", key)) else None


def _choose(sides: Sides) -> str | None:
    """挑 is to choose or to shoulder, but with an eyebrow, a lamp or a quarrel to raise."""
    raised = sides.ahead.startswith(tables.words("g2p.tsv", "after_raise"))
    return None if raised or re.search("[眉嘴角帘].{0,3}$", sides.behind) else "tiao1"


# A rule, or the one reading a character has alone.
_RULES: Final[dict[str, _Rule | str]] = {
    "地": _di, "得": _de, "着": _zhe, "了": _le, "还": _hai, "重": _heavy, "只": _only,
    "长": _long, "种": _kind, "数": _count, "为": _for, "背": _carry, "量": _measure,
    "转": _turn, "卷": _roll, "行": _row, "应": _should, "差": _worse, "干": _dry, "倒": _fall,
    "缝": _crack, "处": _place, "藏": _hide, "率": _rate, "斗": _fight, "中": _hit,
    "挑": _choose, "教": _teach, "落": _leave, "当": _as, "卡": _stuck, "折": _broken,
    "冲": _pungent, "石": _stone, "捋": _stroke, "扇": _done("after_slap", "shan1"),
    "盛": _done("after_ladle", "cheng2"), "扎": _done("after_tie", "za1"),
    "调": _tune, "待": _stay, "觉": _sleep, "咽": "yan4", "铺": "pu1", "逮": "dai3",
    "脏": "zang1", "的": "de5",
    "都": "dou1", "好": "hao3", "个": "ge4", "吗": "ma5",
    "呢": "ne5", "吧": "ba5", "们": "men5", "过": "guo4",
    "给": "gei3", "一": "yi1",
}  # fmt: skip
