"""Webhooks from a job's end to a receiver: real Redis, real HTTP, the reference verifier."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from standardwebhooks.webhooks import Webhook

from shared.batches import BatchStore
from shared.connection import Scripts
from shared.deliveries import DeliveryStore, Schedule
from shared.jobs import JobStore, Submission
from shared.keys import FarmKeys
from shared.links import Links
from shared.schemas import JobRequest
from shared.settings import Settings
from shared.states import DeliveryStatus
from worker.delivering import Subjects, deliver_due

pytestmark = pytest.mark.redis

Answer = tuple[int, dict[str, str]]


@dataclass
class Receiver:
    """What arrived, and what is answered to each request in turn; the last answer stays."""

    url: str = ""
    answers: list[Answer] = field(default_factory=lambda: [(200, {})])
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)

    def take(self, headers: dict[str, str], body: bytes) -> Answer:
        self.requests.append((headers, body))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, headers = state.take(dict(self.headers), body)
            if status == 0:
                state.release.wait(10)
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield state
    state.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


class Courier:
    """The parts the Celery task puts together."""

    def __init__(self, scripts: Scripts, **changes: object) -> None:
        given = {"webhook_allow": "127.0.0.0/8", "webhook_delays_s": "0,0.02,0.02,0.02"}
        self.settings = Settings(public_url="https://farm.example", **{**given, **changes})
        self.keys = FarmKeys(scripts)
        self.jobs = JobStore(scripts)
        self.batches = BatchStore(scripts)
        self.store = DeliveryStore(scripts, Schedule.of(self.settings))
        # Each try signs its links anew; at one time they are the same.
        now_s = time.time()
        self.links = Links(self.settings, self.keys.link_secret(), now_s=lambda: now_s)

    def end_job(self, url: str, name: str = "job1") -> str:
        """A job with a webhook ends; its delivery's id."""
        request = JobRequest(voice="v", webhook_url=url)
        job = Submission(id=name, tenant="default", request=request, text="你好", fingerprint="f")
        self.jobs.submit(job)
        self.jobs.cancel("default", name)
        (delivery,) = (d for d in self.store.page("default").deliveries if d.job == name)
        return delivery.id

    def run(self, stop: Callable[[], bool] = lambda: False) -> int:
        subjects = Subjects(jobs=self.jobs, batches=self.batches)
        return deliver_due(self.store, subjects, self.links, self.keys, self.settings, stop)

    def run_until_ended(self, delivery_id: str) -> DeliveryStatus:
        limit_s = time.monotonic() + 60
        ended = (DeliveryStatus.DELIVERED, DeliveryStatus.DEAD)
        while (status := self.store.show("default", delivery_id).status) not in ended:
            assert time.monotonic() < limit_s
            self.run()
        return status


def test_the_message_is_the_job_signed(scripts: Scripts, receiver: Receiver) -> None:
    courier = Courier(scripts)
    name = courier.end_job(receiver.url)
    assert courier.run() == 1
    ((headers, body),) = receiver.requests
    (secret,) = courier.keys.webhook_secrets("default")
    message = Webhook(secret).verify(body, headers)
    assert headers["webhook-id"] == name
    assert headers["Content-Type"] == "application/json"
    assert message["type"] == "job.completed"
    assert message["timestamp"].endswith("Z")
    assert message["data"]["id"] == "job1"
    assert message["data"]["status"] == "canceled"
    assert message["data"]["links"]["self"] == "https://farm.example/v1/jobs/job1"
    assert "你好" not in body.decode()
    assert courier.store.show("default", name).status is DeliveryStatus.DELIVERED
    assert courier.run() == 0


def test_three_failures_then_success_is_one_message(scripts: Scripts, receiver: Receiver) -> None:
    receiver.answers = [(500, {})] * 3 + [(200, {})]
    courier = Courier(scripts)
    name = courier.end_job(receiver.url)
    assert courier.run_until_ended(name) is DeliveryStatus.DELIVERED
    assert {headers["webhook-id"] for headers, _ in receiver.requests} == {name}
    assert len({body for _, body in receiver.requests}) == 1
    tries = courier.store.show("default", name).tries
    assert [t.status_code for t in tries] == [500, 500, 500, 200]


def test_a_receiver_that_always_fails_makes_it_dead(scripts: Scripts, receiver: Receiver) -> None:
    receiver.answers = [(503, {})]
    courier = Courier(scripts)
    name = courier.end_job(receiver.url)
    assert courier.run_until_ended(name) is DeliveryStatus.DEAD
    assert len(receiver.requests) == 4
    receiver.answers = [(200, {})]
    courier.store.replay("default", name)
    assert courier.run_until_ended(name) is DeliveryStatus.DELIVERED
    assert receiver.requests[-1][0]["webhook-id"] == name


def test_a_receiver_that_is_gone_is_not_asked_again(scripts: Scripts, receiver: Receiver) -> None:
    receiver.answers = [(410, {})]
    courier = Courier(scripts)
    assert courier.run_until_ended(courier.end_job(receiver.url)) is DeliveryStatus.DEAD
    assert len(receiver.requests) == 1


def test_a_redirect_is_a_failed_try(scripts: Scripts, receiver: Receiver) -> None:
    receiver.answers = [(302, {"Location": receiver.url}), (200, {})]
    courier = Courier(scripts)
    name = courier.end_job(receiver.url)
    assert courier.run_until_ended(name) is DeliveryStatus.DELIVERED
    first, second = courier.store.show("default", name).tries
    assert (first.status_code, first.error) == (302, "redirects are not followed")
    assert second.status_code == 200


def test_a_receiver_is_not_called_before_it_asked(scripts: Scripts, receiver: Receiver) -> None:
    receiver.answers = [(503, {"Retry-After": "60"})]
    courier = Courier(scripts)
    name = courier.end_job(receiver.url)
    courier.run()
    shown = courier.store.show("default", name)
    assert shown.next_ms is not None
    assert shown.next_ms - shown.tries[0].at_ms >= 60_000


def test_a_receiver_that_hangs_is_a_failed_try(scripts: Scripts, receiver: Receiver) -> None:
    receiver.answers = [(0, {})]
    hasty, patient = Courier(scripts, webhook_timeout_s=0.3), Courier(scripts)
    name, stops = hasty.end_job(receiver.url), iter((False, True))
    assert hasty.run(stop=lambda: next(stops)) == 1
    receiver.answers = [(200, {})]
    assert patient.run_until_ended(name) is DeliveryStatus.DELIVERED
    first, _ = patient.store.show("default", name).tries
    assert (first.status_code, first.error) == (None, "no answer within 0.3 s")
    assert first.duration_ms >= 300


def test_an_inner_address_is_not_called(scripts: Scripts, receiver: Receiver) -> None:
    courier = Courier(scripts, webhook_allow="")
    name = courier.end_job(receiver.url)
    assert courier.run_until_ended(name) is DeliveryStatus.DEAD
    assert receiver.requests == []
    assert "loopback" in str(courier.store.show("default", name).tries[0].error)


def test_a_deleted_jobs_message_still_says_how_it_ended(
    scripts: Scripts, receiver: Receiver
) -> None:
    courier = Courier(scripts)
    courier.end_job(receiver.url)
    courier.jobs.delete("default", "job1")
    assert courier.run() == 1
    message = json.loads(receiver.requests[0][1])
    assert message["data"] == {"id": "job1", "status": "canceled"}


def test_both_secrets_sign_while_one_is_replaced(scripts: Scripts, receiver: Receiver) -> None:
    courier = Courier(scripts)
    (old,) = courier.keys.webhook_secrets("default")
    new = courier.keys.rotate_webhook_secret("default")
    courier.end_job(receiver.url)
    courier.run()
    ((headers, body),) = receiver.requests
    assert Webhook(old).verify(body, headers) == Webhook(new).verify(body, headers)


def test_stopping_leaves_the_rest_due(scripts: Scripts, receiver: Receiver) -> None:
    courier = Courier(scripts)
    names = {courier.end_job(receiver.url, f"job{n}") for n in range(3)}
    assert courier.run(stop=lambda: len(receiver.requests) == 1) == 1
    assert courier.store.counts().by_status["due"] == 2
    assert courier.run() == 2
    assert {headers["webhook-id"] for headers, _ in receiver.requests} == names


def test_many_couriers_send_each_message_once(scripts: Scripts, receiver: Receiver) -> None:
    courier = Courier(scripts, webhook_host_limit=2)
    names = {courier.end_job(receiver.url, f"job{n}") for n in range(24)}
    threads = [threading.Thread(target=courier.run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    courier.run()
    sent = [headers["webhook-id"] for headers, _ in receiver.requests]
    assert sorted(sent) == sorted(names)
