"""Links the farm hands out: to a job, and to its audio until an hour has passed.

Audio in an S3 store gets the store's own presigned link; audio in a local directory gets a link
to the API, signed here and checked here.
"""

import hashlib
import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address
from urllib.parse import quote, urlencode

from shared.errors import LinkExpired
from shared.numbers import read_count
from shared.schemas import Job
from shared.settings import Settings
from shared.storage import ObjectStore

FILES_PATH = "/v1/files/"
LISTEN_PATH = "/v1/listen/"
RESULTS_PATH = "/texttospeech/batchsyntheses/{batch}/{name}"
_PURPOSE = b"ttsfarm link 1\0"
_NO_OBJECT = "\0"  # begins what is signed in place of an object's key; no such key begins so
_CHANGED = (
    "The link was changed or is not one of this farm: ask for the job again, its answer has a new "
    "one."
)


class Links:
    """Makes links and checks those it signed; `secret` is the farm's, the same on every machine."""

    def __init__(
        self,
        settings: Settings,
        secret: bytes,
        store: ObjectStore | None = None,
        *,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._base = public_url(settings)
        self._lifetime_s = settings.link_lifetime_s
        self._secret = secret
        self._store = store
        self._now_s = now_s

    def job(self, job_id: str) -> str:
        """The job's own address."""
        return self.address(f"/v1/jobs/{quote(job_id, safe='')}")

    def address(self, path: str) -> str:
        """The address of a path of this farm."""
        return self._base + path

    def batch(self, batch_id: str) -> str:
        """The batch's own address."""
        return f"{self._base}/v1/batches/{quote(batch_id, safe='')}"

    def jobs_of(self, batch_id: str) -> str:
        """The list of a batch's jobs."""
        return f"{self._base}/v1/jobs?{urlencode({'batch': batch_id})}"

    def audio(self, job: Job) -> str | None:
        """A link that downloads the job's audio, or None while there is none."""
        if job.audio is None:
            return None
        return self.download(job.audio.key, f"{job.id}.{job.audio.format}")

    def download(self, key: str, filename: str) -> str:
        """A link that downloads the object `key` as `filename` until the link's lifetime ends."""
        if self._store is not None:
            presigned = self._store.link(key, timedelta(seconds=self._lifetime_s), filename)
            if presigned is not None:
                return presigned
        expires = str(int(self._now_s()) + self._lifetime_s)
        query = {
            "expires": expires,
            "filename": filename,
            "signature": self._sign(key, expires, filename),
        }
        return f"{self._base}{FILES_PATH}{quote(key)}?{urlencode(query, quote_via=quote)}"

    def listen(self, job: Job) -> str:
        """A link to the API that plays the job until the link's lifetime ends, made or not yet."""
        expires = str(int(self._now_s()) + self._lifetime_s)
        query = {
            "tenant": job.tenant,
            "expires": expires,
            "signature": self._sign(_listen_key(job.tenant, job.id), expires, ""),
        }
        path = f"{LISTEN_PATH}{quote(job.id, safe='')}"
        return f"{self._base}{path}?{urlencode(query, quote_via=quote)}"

    def results(self, tenant: str, batch_id: str, name: str) -> str:
        """A link that downloads a file of a batch's results until the link's lifetime ends."""
        expires = str(int(self._now_s()) + self._lifetime_s)
        query = {
            "tenant": tenant,
            "expires": expires,
            "signature": self._sign(_results_key(tenant, batch_id, name), expires, ""),
        }
        path = RESULTS_PATH.format(batch=quote(batch_id, safe=""), name=name)
        return f"{self._base}{path}?{urlencode(query, quote_via=quote)}"

    def verify_results(
        self, tenant: str, batch_id: str, name: str, expires: str, signature: str
    ) -> None:
        """Return when this link to results was signed here and its time has not come.

        Raises `LinkExpired` otherwise.
        """
        self._verify(_results_key(tenant, batch_id, name), expires, signature, "")

    def verify_listen(self, tenant: str, job_id: str, expires: str, signature: str) -> None:
        """Return when this link to listen was signed here and its time has not come.

        Raises `LinkExpired` otherwise.
        """
        self._verify(_listen_key(tenant, job_id), expires, signature, "")

    def verify(self, key: str, expires: str | int, signature: str, filename: str = "") -> None:
        """Return when this very link was signed here and its time has not come.

        Raises `LinkExpired` otherwise. All four values are the link's, `key` and `filename`
        after percent-decoding.
        """
        if key.startswith(_NO_OBJECT):  # signed for listening or results, and for nothing else
            raise LinkExpired(_CHANGED)
        self._verify(key, str(expires), signature, filename)

    def _verify(self, key: str, expires: str, signature: str, filename: str) -> None:
        expected = self._sign(key, expires, filename)
        if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
            raise LinkExpired(_CHANGED)
        if (read_count(expires) or 0) <= self._now_s():
            raise LinkExpired(
                "The link has expired: ask for the job again, its answer has a new one."
            )

    def _sign(self, key: str, expires: str, filename: str) -> str:
        # Netstrings: no other key, time and name can make the same bytes.
        parts = (value.encode("utf-8", "surrogatepass") for value in (key, expires, filename))
        message = _PURPOSE + b"".join(b"%d:%b," % (len(part), part) for part in parts)
        digest = hmac.new(self._secret, message, hashlib.sha256).digest()
        return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _listen_key(tenant: str, job_id: str) -> str:
    """What is signed in place of an object's key."""
    return f"{_NO_OBJECT}listen\0{tenant}\0{job_id}"


def _results_key(tenant: str, batch_id: str, name: str) -> str:
    """What is signed for a batch's results, as for listening."""
    return f"{_NO_OBJECT}results\0{tenant}\0{batch_id}\0{name}"


def public_url(settings: Settings) -> str:
    """The farm's address as clients reach it, without a slash at its end."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    host = settings.api_host
    try:
        address = ip_address(host)
    except ValueError:
        return f"http://{host}:{settings.api_port}"
    if address.is_unspecified:
        host = "127.0.0.1"
    elif address.version == 6:
        host = f"[{address}]"
    return f"http://{host}:{settings.api_port}"
