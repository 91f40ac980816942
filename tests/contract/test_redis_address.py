"""Redis over TLS, through a socket and behind sentinels: the same client, bells and messages."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
from redis.exceptions import ConnectionError

from shared.batches import BatchHead, BatchInput, BatchStore
from shared.bells import DELIVER_QUEUE, Bells, celery_app
from shared.checks import check_redis
from shared.connection import PREFIX, Scripts, connect
from shared.errors import NotReplicated, StateStoreUnavailable
from shared.jobs import JobStore, Submission
from shared.schemas import JobRequest
from shared.settings import Settings
from shared.watch import Watcher
from tests.certificates import Certificates
from tests.conftest import RedisServer, free_port, wait_until
from tests.replicated import PASSWORD, Node, Replicated

pytestmark = pytest.mark.redis

SUBMISSION = Submission(
    id="a", tenant="school", request=JobRequest(voice="fake"), text="你好。", fingerprint="1"
)


@contextmanager
def running(*servers: RedisServer | Replicated) -> Iterator[None]:
    try:
        for server in servers:
            server.start()
        yield
    finally:
        for server in servers:
            server.kill()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def guarded(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A Redis that speaks TLS alone, and only with who has a certificate."""
    directory = tmp_path_factory.mktemp("tls")
    node = Node(directory, certificates, None, "--bind", "127.0.0.1", "127.0.0.2")
    with running(node):
        yield node


def bells_arrive(url: str) -> bool:
    """Whether a bell rung there is heard there."""
    Bells(celery_app(Settings(redis_url=url))).ring_courier()
    with connect(url, retries=1) as client:
        return bool(client.llen(DELIVER_QUEUE))


def test_state_and_bells_go_over_tls(guarded: Node) -> None:
    with connect(guarded.url) as client:
        assert JobStore(Scripts(client)).submit(SUBMISSION).created
    assert bells_arrive(guarded.url)


def test_doctor_is_content_over_tls(guarded: Node) -> None:
    assert all(check.ok for check in check_redis(guarded.url))


def complaint(url: str) -> str:
    """What the doctor finds wrong with Redis, and how to mend it."""
    (check,) = (check for check in check_redis(url) if not check.ok)
    assert PASSWORD not in check.found + check.mend
    return f"{check.found} -> {check.mend}"


def test_doctor_names_a_certificate_of_a_stranger(guarded: Node, tmp_path: Path) -> None:
    assert guarded.tls
    other = Certificates(tmp_path, "another authority")
    said = complaint(guarded.url.replace(guarded.tls.query(), other.query()))
    assert "its certificate is refused: " in said
    assert "ssl_ca_certs=" in said


def test_doctor_names_a_name_the_certificate_is_not_for(guarded: Node) -> None:
    said = complaint(guarded.url.replace("@127.0.0.1:", "@127.0.0.2:"))
    assert "its certificate is refused: " in said
    assert "127.0.0.2" in said


def test_doctor_names_a_certificate_that_is_missing(guarded: Node, tmp_path: Path) -> None:
    assert guarded.tls
    bare = urlencode({"ssl_ca_certs": guarded.tls.ca})
    said = complaint(guarded.url.replace(guarded.tls.query(), bare))
    assert "no TLS with it" in said
    assert "ssl_certfile=" in said


def test_doctor_names_a_wrong_password(guarded: Node) -> None:
    said = complaint(guarded.url.replace("rediss://:", "rediss://:not"))
    assert said.startswith("refuses the password")


def test_state_and_bells_go_through_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    node = Node(tmp_path / "node", None, None, "--unixsocket", str(path))
    _, _, login = node.url.rpartition("@")[0].partition("://")
    url = f"unix://{login}@{path}?db=3"
    with running(node):
        with connect(url) as client:
            assert JobStore(Scripts(client)).submit(SUBMISSION).created
        assert bells_arrive(url)


def test_a_job_that_no_replica_has_yet_is_not_accepted_however_often_it_is_sent(
    tmp_path: Path,
) -> None:
    master = Node(tmp_path / "master")
    replica = Node(tmp_path / "replica", None, master)
    with running(master, replica):
        wait_until(lambda: replica.says(master_link_status="up"), 60)
        assert replica.process
        replica.process.send_signal(signal.SIGSTOP)
        for _ in range(2):  # the second time it is there already, and still on one machine only
            with connect(master.url) as client, pytest.raises(NotReplicated, match="0 of 1"):
                JobStore(Scripts(client), wait_replicas=1).submit(SUBMISSION)
        replica.process.send_signal(signal.SIGCONT)
        with connect(master.url) as client:
            jobs = JobStore(Scripts(client), wait_replicas=1)

            def accepted() -> bool:
                try:
                    return not jobs.submit(SUBMISSION).created
                except NotReplicated:
                    return False

            wait_until(accepted, 60)
            assert client.get(PREFIX + "replicated")
        with connect(replica.url) as client:
            assert client.hget(PREFIX + "job:a", "tenant") == "school"


def test_what_replicas_have_is_answered_though_redis_is_full(scripts: Scripts) -> None:
    JobStore(scripts).submit(SUBMISSION)
    scripts.client.config_set("maxmemory", 1)
    try:
        assert scripts.replicated(0, "show", "a", "school")
    finally:
        scripts.client.config_set("maxmemory", 0)


def test_a_batch_that_no_replica_has_is_not_accepted_either(scripts: Scripts) -> None:
    batches = BatchStore(scripts, wait_replicas=1)
    head = BatchHead(id="b", tenant="school", fingerprint="1")
    batch_id = batches.open(head, "b").id
    one = BatchInput(
        number=1, name="1", text="你好。", request=JobRequest(voice="fake"), fingerprint="1"
    )
    batches.add("school", batch_id, [one])
    with pytest.raises(NotReplicated):
        batches.commit("school", batch_id)
    assert not batches.open(head, "b").pending
    with pytest.raises(NotReplicated):  # it is there, and still on one machine only
        batches.kept("school", batch_id)
    assert BatchStore(scripts).kept("school", batch_id).id == batch_id


def test_a_replica_takes_no_job(tmp_path: Path) -> None:
    master = Node(tmp_path / "master")
    replica = Node(tmp_path / "replica", None, master)
    with running(master, replica):
        wait_until(lambda: replica.says(master_link_status="up"), 60)
        with connect(replica.url) as client, pytest.raises(StateStoreUnavailable):
            JobStore(Scripts(client)).submit(SUBMISSION)


def test_everything_follows_the_master_when_another_one_takes_over(tmp_path: Path) -> None:
    farm = Replicated(tmp_path)
    with running(farm), connect(farm.url) as client:
        jobs, bells = JobStore(Scripts(client)), Bells(celery_app(Settings(redis_url=farm.url)))
        watcher = Watcher(client)
        watcher.start()
        assert jobs.submit(SUBMISSION).created
        bells.ring_courier()
        farm.move()

        def followed() -> bool:
            bells.ring_courier()
            with connect(farm.master().url, retries=0) as direct:
                (_, listeners), *_ = direct.pubsub_numsub(PREFIX + "events")
                return listeners == 1 and direct.llen(DELIVER_QUEUE) > 1

        def accepted() -> bool:
            try:
                return not jobs.submit(SUBMISSION).created
            except StateStoreUnavailable:
                return False

        wait_until(accepted, 60)
        wait_until(followed, 60)
        watcher.close()
        assert all(check.ok for check in check_redis(farm.url))
        complaints = [check.found for check in check_redis(farm.url.replace("=farm", "=barn"))]
        assert complaints == ["3 of 3 answer; master none", "no sentinel names a master"]
        farm.sentinels[0].kill()
        farm.sentinels[1].kill()
        (sentinels, *_) = check_redis(farm.url)
        assert not sentinels.ok
        assert sentinels.found.startswith("1 of 3 answer")


@pytest.mark.parametrize("tls", [False, True])
def test_a_master_without_replicas_is_left_since_another_may_be_master(
    tmp_path: Path, certificates: Certificates, tls: bool
) -> None:
    farm = Replicated(tmp_path, replicas=0, tls=certificates if tls else None)
    app = celery_app(Settings(redis_url=farm.url))
    with running(farm), connect(farm.url, retries=1) as client:
        with pytest.raises(ConnectionError, match="no replica"):
            client.set("a", 1)
        with pytest.raises(StateStoreUnavailable):
            JobStore(Scripts(client)).submit(SUBMISSION)
        with app.connection_for_write() as broker:
            acknowledging = broker.default_channel.client.pipeline()
            # Any other error would end a worker that acknowledges a bell.
            with pytest.raises(broker.connection_errors, match="no replica"):
                acknowledging.zrem("unacked_index", "a").execute()


def test_sentinels_that_are_away_are_no_answer() -> None:
    url = f"sentinel://127.0.0.1:{free_port()},127.0.0.1:{free_port()}/0?master=farm"
    with connect(url, timeout_s=0.6, retries=1) as client, pytest.raises(StateStoreUnavailable):
        Scripts(client).now_ms()
