"""Redis URLs: what they mean, and what is said of those that mean nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kombu.utils.url import parse_url
from pydantic import ValidationError
from redis.exceptions import ConnectionError

from shared.bells import celery_app
from shared.redis_address import parse_redis_url
from shared.sentinels import Sentinels
from shared.settings import Settings

SENTINELS = "sentinel://worker:p%40ss%2Fw%3Ard%3B@one,two:26380,[::1]:26381/2?master=farm"


@pytest.mark.parametrize(
    ("url", "hosts", "db", "password"),
    [
        ("redis://", (("localhost", 6379),), 0, None),
        ("redis://:s3cret@redis:6380/4", (("redis", 6380),), 4, "s3cret"),
        ("redis://redis?db=5", (("redis", 6379),), 5, None),
        ("rediss://:p%2Fq@[::1]/1", (("::1", 6379),), 1, "p/q"),
        ("unix://:s3cret@/run/redis.sock?db=3", (), 3, "s3cret"),
        (SENTINELS, (("one", 26379), ("two", 26380), ("::1", 26381)), 2, "p@ss/w:rd;"),
    ],
)
def test_a_url_says_where_redis_is(
    url: str, hosts: tuple[Any, ...], db: int, password: str | None
) -> None:
    address = parse_redis_url(url)
    assert (address.hosts, address.db, address.login.password) == (hosts, db, password)


def test_celery_is_told_of_every_sentinel_and_how_to_log_in() -> None:
    with celery_app(Settings(redis_url=SENTINELS)).connection_for_write() as broker:
        assert broker.transport_options["master_name"] == "farm"
        told = [parse_url(one) for one in broker.alt]
    assert [(one["hostname"], one["port"]) for one in told] == [
        ("one", 26379),
        ("two", 26380),
        ("::1", 26381),
    ]
    assert {(one["userid"], one["password"], one["virtual_host"]) for one in told} == {
        ("worker", "p@ss/w:rd;", "2")
    }


@pytest.mark.parametrize("url", ["rediss://redis", "sentinel://one/0?master=farm&tls=yes"])
def test_certificates_are_verified_unless_the_url_says_otherwise(url: str, tmp_path: Path) -> None:
    assert parse_redis_url(url).tls == {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    ca = tmp_path / "ca.pem"
    ca.touch()
    more = f"{'&' if '?' in url else '?'}ssl_ca_certs={ca}&ssl_cert_reqs=CERT_NONE"
    loose = {"ssl_ca_certs": str(ca), "ssl_cert_reqs": "none", "ssl_check_hostname": False}
    assert parse_redis_url(url + more).tls == loose
    with celery_app(Settings(redis_url=url + more)).connection_for_write() as broker:
        assert broker.ssl == loose


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://:s3cret@redis", "should begin with one of redis://, rediss://, unix://, sent"),
        ("redis://:s3cret/x@redis", "has a port that is no number; write '/'"),
        ("redis://redis/zero", "should end with the database's number"),
        ("redis://one,two", "takes one host"),
        ("redis://redis?ssl_ca_certs=ca.pem", "does not know ssl_ca_certs; redis:// takes db"),
        ("rediss://redis?ssl_ca_certs=none.pem", "ssl_ca_certs: there is no file none.pem"),
        ("rediss://redis?ssl_cert_reqs=maybe", "ssl_cert_reqs should be one of required, optional"),
        ("rediss://redis?ssl_check_hostname=maybe", "ssl_check_hostname should be yes or no"),
        ("sentinel://:s3cret@one", "needs ?master=NAME"),
        ("sentinel://one?master=farm&ssl_cert_reqs=none", "has ssl_cert_reqs without TLS"),
    ],
)
def test_a_url_that_does_not_fit_is_refused_by_its_fault(url: str, said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(redis_url=url)
    (fault,) = refused.value.errors()
    assert said in fault["msg"]
    assert "s3cret" not in fault["msg"]


class Answering:
    """A sentinel that names a master, after it has let another thread ask the same."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self.meanwhile: Callable[[], object] | None = meanwhile

    def sentinel_masters(self) -> dict[str, dict[str, Any]]:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        state = {"is_master": True, "is_sdown": False, "is_odown": False, "ip": "10.0.0.1"}
        return {"farm": {**state, "port": 6379, "num-other-sentinels": 2}}


class Silent:
    def sentinel_masters(self) -> dict[str, dict[str, Any]]:
        raise ConnectionError("away")


def test_threads_that_ask_at_once_forget_no_sentinel() -> None:
    sentinels: Any = Sentinels([])
    silent, other = Silent(), Silent()
    answering = Answering(lambda: sentinels.discover_master("farm"))
    sentinels.sentinels = [silent, answering, other]
    assert sentinels.discover_master("farm") == ("10.0.0.1", 6379)
    assert sentinels.sentinels[0] is answering
    assert {id(one) for one in sentinels.sentinels} == {id(silent), id(answering), id(other)}
