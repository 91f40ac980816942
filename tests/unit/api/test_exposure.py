"""A farm without keys listens for nobody but its own machine, unless somebody said so."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from werkzeug.test import EnvironBuilder, run_wsgi_app

from api.app import create_app
from api.cli import main
from api.exposure import require_guarded
from shared.problems import WrongSetting
from shared.settings import Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_without_keys_loopback_is_fine(host: str) -> None:
    require_guarded(Settings(api_host=host))


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.168.1.7", "203.0.113.7", "farm.example.com", "10.0.0.1"]
)  # fmt: skip
def test_without_keys_any_other_address_is_refused_with_what_to_do(host: str) -> None:
    with pytest.raises(WrongSetting, match=r"TTSFARM_AUTH=keys.*TTSFARM_OPEN_TO_NETWORK=true"):
        require_guarded(Settings(api_host=host))
    require_guarded(Settings(api_host=host, auth="keys"))
    token = {"jwt_algorithm": "HS256", "jwt_secret": "0123456789abcdef" * 2}
    require_guarded(Settings(api_host=host, auth="jwt", **token))
    require_guarded(Settings(api_host=host, open_to_network=True))


FORM = {"Origin": "https://evil.example.com", "Sec-Fetch-Site": "cross-site"}


def submit(headers: dict[str, str], **settings: object) -> int:
    """The status of a submit; 400 is one that was let in, for the form has an empty text."""
    client = create_app(Settings(**settings)).test_client()
    return int(client.post("/synthesize", data={"text": ""}, headers=headers).status_code)


def test_a_page_of_another_site_may_not_use_a_farm_without_keys() -> None:
    assert submit({}) == submit({"Sec-Fetch-Site": "same-origin"}) == 400
    assert submit(FORM) == submit({**FORM, "Sec-Fetch-Site": "same-site"}) == 403
    assert submit(FORM, cors_origins="https://evil.example.com") == 400
    assert submit(FORM, cors_origins="https://app.example.com") == 403
    assert submit(FORM, auth="keys") == 401, "who needs a key is asked for it"


@pytest.mark.parametrize("origin", ["http://evil.example.com", "null", "http://["])
def test_a_browser_that_does_not_say_which_site_a_page_is_of_names_its_origin(origin: str) -> None:
    """None says it to a farm on a network without TLS, and old ones never do."""
    lan = {"Host": "farm.lan:8080"}
    assert submit({**lan, "Origin": origin}, open_to_network=True) == 403
    assert submit({"Origin": origin}) == 403
    assert submit({"Origin": "http://localhost:8080"}) == 400
    assert submit({**lan, "Origin": "http://farm.lan:8080"}, open_to_network=True) == 400
    public = {"open_to_network": True, "public_url": "http://tts.example.com"}
    assert submit({**lan, "Origin": "http://tts.example.com"}, **public) == 400


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]:8080"])
def test_a_farm_without_keys_answers_under_names_of_its_machine(host: str) -> None:
    assert submit({"Host": host}) == 400


def test_a_name_that_was_made_to_point_here_opens_nothing() -> None:
    strange = {"Host": "evil.example.com:8080"}
    assert submit(strange) == 403
    assert submit(strange, public_url="https://evil.example.com") == 400
    assert submit(strange, trusted_proxies=1) == 400
    assert submit(strange, open_to_network=True) == 400
    assert submit({"Host": "a b<script>"}) in (400, 403)


@pytest.mark.parametrize("host", ["[a:b]", "[1:2:3]", "[::1", "[v1.a]"])
def test_a_host_header_that_names_no_host_is_refused(host: str) -> None:
    environ = EnvironBuilder(path="/synthesize", method="POST", data={"text": ""}).get_environ()
    environ["HTTP_HOST"] = host  # flask's own client takes none of these
    _, status, _ = run_wsgi_app(create_app(Settings()).wsgi_app, environ)
    assert status.startswith("403 ")


@pytest.mark.parametrize(
    ("args", "settings", "named"),
    [
        (["serve"], {"TTSFARM_API_HOST": "0.0.0.0"}, "TTSFARM_OPEN_TO_NETWORK"),
        (["serve"], {"TTSFARM_AUTH": "jwt"}, "TTSFARM_JWT_JWKS"),
        (["serve"], {"TTSFARM_CORS_ORIGINS": "example.com"}, "TTSFARM_CORS_ORIGINS"),
        (["up", "--host", "0.0.0.0", "--data-dir", "made"], {}, "TTSFARM_OPEN_TO_NETWORK"),
        (["up", "--data-dir", "made"], {"TTSFARM_AUTH": "jwt"}, "TTSFARM_JWT_JWKS"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_the_commands_end_with_one_line_before_anything_is_started(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fresh_settings: None,
    args: list[str],
    settings: dict[str, str],
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(main, args, env=settings)
    assert ended.exit_code == 1
    (line,) = ended.stderr.splitlines()
    assert named in line
    assert list(tmp_path.iterdir()) == []
