"""A hub on this machine that answers the `modelscope` client as ModelScope's does."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlparse


class FakeHub:
    """Serves one model folder; remembers what was asked, and fails as told."""

    def __init__(self, folder: Path, model: str, revision: str) -> None:
        self.folder, self.model, self.revision = folder, model, revision
        self.asked: list[tuple[str, str | None]] = []  # (file, Range header)
        self.cut_bytes: dict[str, int] = {}  # send only so much of a file, then hang up
        self.swapped: dict[str, bytes] = {}  # other content than the listing's checksum
        self.url = ""

    def listing(self) -> bytes:
        files = [p for p in sorted(self.folder.rglob("*")) if p.is_file()]
        rows = [
            {
                "Path": p.relative_to(self.folder).as_posix(),
                "Name": p.name,
                "Type": "blob",
                "Size": p.stat().st_size,
                "Sha256": hashlib.sha256(p.read_bytes()).hexdigest(),
                "Revision": self.revision,
            }
            for p in files
        ]
        return json.dumps({"Code": 200, "Success": True, "Data": {"Files": rows}}).encode()


@contextmanager
def fake_hub(folder: Path, model: str, revision: str) -> Iterator[FakeHub]:
    hub = FakeHub(folder, model, revision)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlparse(self.path)
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            root = f"/api/v1/models/{hub.model}/repo"
            if query.get("Revision") != hub.revision or not url.path.startswith(root):
                self._answer(404, b"{}")
            elif url.path == f"{root}/files":
                self._answer(200, hub.listing(), kind="application/json")
            else:
                self._file(query["FilePath"])

        def _file(self, name: str) -> None:
            wanted = self.headers.get("Range")
            hub.asked.append((name, wanted))
            data = hub.swapped.get(name) or (hub.folder / name).read_bytes()
            first = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
            headers = {"Accept-Ranges": "bytes"}
            if wanted:
                headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
            self._answer(
                206 if wanted else 200, data[first:], cut=hub.cut_bytes.get(name), **headers
            )

        def _answer(
            self,
            status: int,
            body: bytes,
            kind: str = "application/octet-stream",
            cut: int | None = None,
            **headers: str,
        ) -> None:
            self.send_response(status)
            for key, value in {"Content-Type": kind, **headers}.items():
                self.send_header(key.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:cut])
            if cut is not None:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the tests read `asked`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
