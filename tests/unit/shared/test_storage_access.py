"""The farm's own user: what a MinIO server is asked to make, over its admin protocol."""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest
from minio.crypto import decrypt
from urllib3 import HTTPResponse

from shared.errors import ObjectStoreUnavailable
from shared.settings import Settings
from shared.storage_access import make_minio_user, policy

Call = tuple[str, dict[str, str], bytes]


class AdminServer(ThreadingHTTPServer):
    """Records what it is asked over HTTP and answers with `status`."""

    status = 200

    def __init__(self) -> None:
        self.calls: list[Call] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    def owner(self) -> Settings:
        address = f"127.0.0.1:{self.server_address[1]}"
        return Settings(
            storage="s3", s3_endpoint=address, s3_access_key="root", s3_secret_key="root-secret"
        )


class _Handler(BaseHTTPRequestHandler):
    server: AdminServer

    def do_PUT(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.calls.append((parts.path, dict(parse_qsl(parts.query)), body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[AdminServer]:
    with AdminServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_minio_user_is_made_with_the_farms_policy(server: AdminServer) -> None:
    make_minio_user(server.owner(), "farm", "farm-secret")
    (rules, user, granted) = server.calls
    assert rules[:2] == ("/minio/admin/v3/add-canned-policy", {"name": "ttsfarm"})
    assert json.loads(rules[2]) == policy("ttsfarm")
    assert user[:2] == ("/minio/admin/v3/add-user", {"accessKey": "farm"})
    sealed = HTTPResponse(io.BytesIO(user[2]), preload_content=False)
    assert json.loads(decrypt(sealed, "root-secret"))["secretKey"] == "farm-secret"
    assert b"farm-secret" not in user[2]
    assert granted[:2] == (
        "/minio/admin/v3/set-user-or-group-policy",
        {"userOrGroup": "farm", "isGroup": "false", "policyName": "ttsfarm"},
    )


def test_a_server_that_refuses_is_a_store_that_did_not_do_what_was_asked(
    server: AdminServer,
) -> None:
    server.status = 403
    with pytest.raises(ObjectStoreUnavailable, match="its keys"):
        make_minio_user(server.owner(), "farm", "farm-secret")


def test_the_policy_reaches_one_bucket_and_can_not_change_its_rules() -> None:
    statements = policy("a-bucket", "arn:aws:iam:::user/farm")["Statement"]
    assert {resource for one in statements for resource in one["Resource"]} == {
        "arn:aws:s3:::a-bucket",
        "arn:aws:s3:::a-bucket/*",
    }
    actions = {action for one in statements for action in one["Action"]}
    assert not any(word in action for action in actions for word in ("*", "Policy", "PutLife"))
    assert all(one["Principal"] == {"AWS": ["arn:aws:iam:::user/farm"]} for one in statements)
