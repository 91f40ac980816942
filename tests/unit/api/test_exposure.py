"""A farm without keys listens for nobody but its own machine, unless somebody said so."""

from pathlib import Path

import pytest
from click.testing import CliRunner

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
