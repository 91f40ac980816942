"""Keys on a real Redis: made, found by their secret alone, listed, revoked, past their time."""

import pytest
from click.testing import CliRunner, Result

from api.cli import main
from shared.connection import Scripts
from shared.limits import Limits
from shared.tenants import KeyStore, NewKey, Scope

pytestmark = pytest.mark.redis

ASKED = NewKey(tenant="a", scopes=frozenset({Scope.READ}), name="读", limits=Limits(jobs=3))


def test_a_key_is_found_as_it_was_made(scripts: Scripts) -> None:
    store = KeyStore(scripts)
    made, key = store.create(ASKED)
    assert store.find(key) == made
    assert (made.tenant, made.scopes, made.name) == ("a", {Scope.READ}, "读")
    assert made.limits == Limits(jobs=3)


def test_redis_holds_no_key(scripts: Scripts) -> None:
    _, key = KeyStore(scripts).create(ASKED)
    secret = key.rpartition("_")[2]
    for name in scripts.client.scan_iter("*"):
        kind = scripts.client.type(name)
        read = scripts.client.hgetall if kind == "hash" else scripts.client.zrange
        held = read(name) if kind == "hash" else read(name, 0, -1)
        assert secret not in f"{name}{held}"


def test_only_the_whole_key_is_known(scripts: Scripts) -> None:
    store = KeyStore(scripts)
    made, key = store.create(ASKED)
    _, other = store.create(ASKED)
    swapped = f"ttsfarm_{made.id}_{other.rpartition('_')[2]}"
    for wrong in (key.upper(), key[:-1], f"{key} ", f"{key}\n", swapped, made.id, ""):
        assert store.find(wrong) is None


def test_a_revoked_key_is_told_in_the_list_and_never_found(scripts: Scripts) -> None:
    store = KeyStore(scripts)
    made, key = store.create(ASKED)
    assert [store.revoke(made.id) for _ in range(2)] == [True, True]
    assert store.find(key) is None
    (listed,) = store.all()
    assert listed.revoked_ms is not None
    assert scripts.client.ttl(scripts.key("key", made.id)) > 0
    assert not store.revoke("nobody")


def test_a_key_past_its_time_is_not_found(scripts: Scripts) -> None:
    store = KeyStore(scripts)
    for expires_ms, works in ((scripts.now_ms() - 1, False), (scripts.now_ms() + 60_000, True)):
        made, key = store.create(NewKey(tenant="a", scopes=frozenset(Scope), expires_ms=expires_ms))
        assert (store.find(key) is not None) == works
        assert next(one for one in store.all() if one.id == made.id).expired == (not works)
        told_s = scripts.client.ttl(scripts.key("key", made.id))
        assert 29 * 86_400 < told_s <= 31 * 86_400


def test_a_record_that_has_gone_leaves_the_list(scripts: Scripts) -> None:
    store = KeyStore(scripts)
    made, _ = store.create(ASKED)
    scripts.client.delete(scripts.key("key", made.id))
    assert store.all() == []
    assert scripts.client.zcard(scripts.key("keys")) == 0


def run(redis_url: str, *args: str) -> Result:
    return CliRunner().invoke(main, ["keys", *args], env={"TTSFARM_REDIS_URL": redis_url})


@pytest.mark.usefixtures("fresh_settings")
def test_the_command_makes_lists_and_revokes(redis_url: str, scripts: Scripts) -> None:
    made = run(redis_url, "create", "--tenant", "school", "--scope", "read", "--name", "客户端",
               "--expires", "90d", "--daily-chars", "1000")  # fmt: skip
    assert made.exit_code == 0, made.output
    key = made.stdout.strip()
    found = KeyStore(scripts).find(key)
    assert found
    assert (found.tenant, found.scopes, found.limits.daily_chars) == ("school", {Scope.READ}, 1000)
    assert key not in made.stderr
    listed = run(redis_url, "list")
    assert f"{found.id}  works" in listed.stdout
    assert "客户端" in listed.stdout
    assert key.rpartition("_")[2] not in listed.output
    assert run(redis_url, "revoke", found.id).exit_code == 0
    assert KeyStore(scripts).find(key) is None
    assert run(redis_url, "revoke", "nobody").exit_code == 1
    assert "revoked" in run(redis_url, "list").stdout


@pytest.mark.usefixtures("fresh_settings")
@pytest.mark.parametrize(
    "args",
    [("--tenant", "a:b"), ("--tenant", ""), ("--expires", "soon"), ("--expires", "0d"),
     ("--scope", "root"), ("--name", "x\ny"), ("--jobs", "-1")],
    ids=str,
)  # fmt: skip
def test_what_does_not_fit_makes_no_key(
    redis_url: str, scripts: Scripts, args: tuple[str, str]
) -> None:
    assert run(redis_url, "create", *args).exit_code == 2
    assert KeyStore(scripts).all() == []


@pytest.mark.usefixtures("fresh_settings")
def test_without_redis_the_command_says_what_to_do() -> None:
    ended = run("redis://127.0.0.1:1", "list")
    assert ended.exit_code == 1
    assert "TTSFARM_REDIS_URL" in ended.stderr
