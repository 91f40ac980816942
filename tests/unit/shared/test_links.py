"""Links: what was signed is accepted until its time, nothing else is."""

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import LinkExpired
from shared.links import FILES_PATH, Links, public_url
from shared.settings import Settings

SECRET = b"s" * 32
NOW_S = 1_800_000_000.0
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)


def links(now_s: float = NOW_S, secret: bytes = SECRET) -> Links:
    settings = Settings(public_url="https://farm.example/", link_lifetime_s=3600)
    return Links(settings, secret, now_s=lambda: now_s)


def read(url: str) -> dict[str, str]:
    """The link's values as a server gets them."""
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return {"key": unquote(parts.path.removeprefix(FILES_PATH)), **query}


def test_a_job_has_an_address() -> None:
    assert links().job("job_1") == "https://farm.example/v1/jobs/job_1"


@given(key=NAMES.filter(lambda text: text[0] != "/"), filename=NAMES)
def test_a_link_is_accepted_until_its_time(key: str, filename: str) -> None:
    url = links().download(key, filename)
    assert url.isascii()
    values = read(url)
    assert (values["key"], values["filename"]) == (key, filename)
    links().verify(**values)
    links(NOW_S + 3599).verify(**values)
    with pytest.raises(LinkExpired, match="expired"):
        links(NOW_S + 3600).verify(**values)


@pytest.mark.parametrize(
    "change",
    [
        {"key": "jobs/2/audio.wav"},
        {"key": "jobs/1/audio.wav "},
        {"expires": "1900000000"},
        {"expires": "never"},
        {"expires": ""},
        {"filename": "b.exe"},
        {"signature": ""},
        {"signature": "ä\ud800"},
        {"signature": "A" * 43},
    ],
)
def test_a_changed_link_is_refused(change: dict[str, str]) -> None:
    values = read(links().download("jobs/1/audio.wav", "a.wav"))
    with pytest.raises(LinkExpired, match="changed"):
        links().verify(**{**values, **change})


def test_values_can_not_move_from_one_part_to_another() -> None:
    values = read(links().download("a/b", "c"))
    for key, filename in (("a/bc", ""), ("a", "/bc"), ("a/b\x00", "c")):
        with pytest.raises(LinkExpired):
            links().verify(key, values["expires"], values["signature"], filename)
    values = read(links().download("a/b", "9.wav"))
    with pytest.raises(LinkExpired, match="changed"):  # else it would never expire
        links().verify("a/b", values["expires"] + "9", values["signature"], ".wav")


def test_a_link_of_another_farm_is_refused() -> None:
    with pytest.raises(LinkExpired):
        links().verify(**read(links(secret=b"t" * 32).download("a", "a.wav")))


@pytest.mark.parametrize(
    ("given_settings", "url"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"api_host": "0.0.0.0"}, "http://127.0.0.1:8080"),
        ({"api_host": "::"}, "http://127.0.0.1:8080"),
        ({"api_host": "::1", "api_port": 81}, "http://[::1]:81"),
        ({"api_host": "farm.lan"}, "http://farm.lan:8080"),
        ({"public_url": "https://a.example/farm/"}, "https://a.example/farm"),
    ],
)
def test_the_farms_address_is_the_public_one_or_what_it_listens_on(
    given_settings: dict[str, object], url: str
) -> None:
    assert public_url(Settings(**given_settings)) == url
