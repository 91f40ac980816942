"""Every setting of the farm, typed, read once from the environment (`TTSFARM_<NAME>`)."""

import os
import re
from functools import cache
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.addresses import AddressGuard
from shared.numbers import read_decimal
from shared.problems import WrongSetting
from shared.redis_address import parse_redis_url

PREFIX = "TTSFARM_"
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{1,61}[A-Za-z0-9]")  # what S3's client takes
NO_PLACE = frozenset("/?#@ ")


class Settings(BaseSettings):
    """Read from the environment; a value that does not fit is refused at start with its name."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", allow_inf_nan=False
    )

    secrets_dir: Path | None = Field(
        default=None,
        description="Directory of files that give what the environment does not, such as "
        "`ttsfarm_redis_url`",
    )

    # Where state and audio live
    redis_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="Redis with an append-only file; holds every job. `redis://`, `rediss://` for "
        "TLS, `unix://` or `sentinel://`",
    )
    redis_wait_replicas: int = Field(
        default=0,
        ge=0,
        description="Replicas of Redis that must have a new job or batch before it is accepted",
    )
    storage: Literal["local", "s3"] = Field(
        default="local", description="Where audio is kept: a directory or an S3 store"
    )
    storage_dir: Path = Field(
        default=Path("var/objects"), description="The directory of the local store"
    )
    s3_endpoint: str = Field(default="127.0.0.1:9000", description="S3 host and port")
    s3_public_endpoint: str | None = Field(
        default=None,
        description="S3 host and port as clients reach it, for presigned links; with `https://` "
        "where TLS stands before it",
    )
    s3_access_key: SecretStr = Field(default=SecretStr("minioadmin"), description="S3 access key")
    s3_secret_key: SecretStr = Field(default=SecretStr("minioadmin"), description="S3 secret key")
    s3_bucket: str = Field(default="ttsfarm", description="Bucket, made if absent")
    s3_region: str = Field(default="us-east-1", description="S3 region")
    s3_secure: bool = Field(default=False, description="Speak TLS to S3")
    object_lifetime_days: int = Field(
        default=30, ge=1, description="The store's own lifecycle rule deletes objects after this"
    )

    cache_limit_bytes: int = Field(
        default=4_000_000_000,
        ge=0,
        description="Rendered segments kept for texts that come again, least recently used out "
        "first; 0 keeps none",
    )

    # The API
    api_host: str = Field(default="127.0.0.1", description="Address the API listens on")
    api_port: int = Field(default=8080, ge=0, le=65535, description="Port of the API")
    api_threads: int = Field(
        default=64, ge=1, description="Requests served at once, long polls included"
    )
    api_connections: int = Field(
        default=1000,
        ge=10,
        description="Connections open at once; beyond them who has waited longest gives way",
    )
    api_receive_s: float = Field(
        default=30.0,
        gt=0,
        description="How long a request may take to arrive; its body has a second more for every "
        "16 kB",
    )
    public_url: str | None = Field(
        default=None,
        description="The farm's address as clients reach it, for links; with `https://` where TLS "
        "stands before it",
    )
    default_voice: str = Field(
        default="espeak-zh",
        description="Voice of a job that names none; where no worker ever offered it, "
        "one that is ready, Chinese first",
    )
    max_body_bytes: int = Field(default=4_000_000, ge=1000, description="Largest request body")
    max_batch_inputs: int = Field(
        default=10_000, ge=1, le=99_999, description="Most inputs of a batch"
    )
    max_batch_bytes: int = Field(default=64_000_000, ge=1000, description="Largest body of a batch")
    max_text_chars: int = Field(default=200_000, ge=1, description="Longest text of a job")
    interactive_chars: int = Field(
        default=300, ge=0, description="Texts up to this length go before long ones"
    )
    retention_s: int = Field(
        default=86_400, ge=60, description="How long a finished job and its audio are kept"
    )
    link_lifetime_s: int = Field(default=3600, ge=1, description="How long a link to audio works")
    max_streams: int = Field(
        default=16, ge=1, description="Callers that listen at once to jobs being rendered"
    )
    stream_idle_s: float = Field(
        default=45.0,
        gt=0,
        description="A caller that takes nothing of its answer is cut off then, and a listener for "
        "whom there is nothing",
    )
    max_wait_s: int = Field(default=60, ge=1, description="Longest long poll")
    queue_wait_limit_s: float = Field(
        default=0.0,
        ge=0,
        description="A job expected to wait longer than this before it starts is refused; 0 never",
    )
    synthesize_wait_s: int = Field(
        default=120, ge=1, description="How long the calls that answer with audio wait for it"
    )

    # Who may call
    auth: Literal["none", "keys", "jwt"] = Field(
        default="none",
        description="Who may call: everybody, who has a key of `ttsfarm keys`, who has a JWT",
    )
    open_to_network: bool = Field(
        default=False,
        description="Listen on more than loopback although `TTSFARM_AUTH` is none",
    )
    metrics_open: bool = Field(
        default=False, description="`/metrics` needs no key or token of scope admin"
    )
    jwt_algorithm: Literal["HS256", "RS256", "ES256"] = Field(
        default="RS256", description="The one algorithm tokens are signed with"
    )
    jwt_secret: SecretStr | None = Field(
        default=None, description="Secret of HS256, 32 bytes or more"
    )
    jwt_public_key: Path | None = Field(
        default=None, description="PEM file with the public key of RS256 or ES256"
    )
    jwt_jwks: str = Field(
        default="", description="Instead: https address or file of a key set, read anew by itself"
    )
    jwt_audience: str = Field(default="ttsfarm", description="The `aud` every token must have")
    jwt_issuer: str = Field(default="", description="The `iss` every token must have, if set")
    jwt_leeway_s: int = Field(
        default=30, ge=0, le=300, description="How far clocks may differ from the issuer's"
    )
    jwt_tenant_claim: str = Field(default="sub", description="The claim that names the tenant")
    jwt_scope_claim: str = Field(default="scope", description="The claim that holds the scopes")

    # How much a caller may have; 0 is no limit
    limit_requests_per_minute: int = Field(
        default=0, ge=0, description="Requests a minute of one key; 0 is no limit, here and below"
    )
    limit_jobs: int = Field(default=0, ge=0, description="Jobs of one key that have not ended")
    limit_daily_chars: int = Field(default=0, ge=0, description="Characters a day (UTC) of one key")
    limit_tenant_jobs: int = Field(
        default=0, ge=0, description="Jobs of one tenant that have not ended"
    )
    limit_tenant_chars: int = Field(
        default=0, ge=0, description="Characters of one tenant's jobs that have not ended"
    )
    limit_tenant_daily_chars: int = Field(
        default=0, ge=0, description="Characters a day (UTC) of one tenant"
    )

    # Browsers and proxies
    cors_origins: str = Field(
        default="",
        description="Origins whose pages may call the API, comma-separated; `*` is every one",
    )
    trusted_proxies: int = Field(
        default=0, ge=0, description="How many proxies stand before the API and set X-Forwarded-*"
    )
    hsts_s: int = Field(
        default=31_536_000,
        ge=0,
        description="Browsers that came over TLS stay with it for so long; 0 sends no such header",
    )

    # Workers
    voices: str = Field(
        default="espeak", description="Engines or voices a worker offers, comma-separated"
    )
    voice_suffix: str = Field(
        default="",
        pattern=r"^(@[A-Za-z0-9._-]{1,32})?$",
        description="Put behind the names of this worker's voices, such as `@2`, to release a "
        "revision gradually",
    )
    models: str = Field(
        default="",
        description="ModelScope Sambert-HifiGAN folders whose voices may be offered, "
        "comma-separated",
    )
    grade: Literal["exact", "fast", "int8"] = Field(
        default="exact", description="Speed grade of the engine sambert"
    )
    sambert_device: str = Field(
        default="cpu",
        pattern=r"^(cpu|cuda(:\d+)?)$",
        description="Where the engine sambert computes: cpu, cuda or cuda:N",
    )
    sambert_half: Literal["bfloat16", "float16"] = Field(
        default="bfloat16", description="16-bit type of its grade fast; float16 needs a GPU"
    )
    sambert_batch: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Sentences it speaks at once; 0: 4 on a processor, 32 on a GPU",
    )
    cache_dir: Path = Field(
        default=Path("var/cache"), description="Where engines keep what they compile"
    )
    modelscope_model: str = Field(
        default="", description="Folder or hub id of the model of the engine modelscope"
    )
    modelscope_revision: str | None = Field(
        default=None, description="Pinned revision of that model"
    )
    threads: int = Field(default=1, ge=1, description="Compute threads of one worker process")
    lease_s: float = Field(
        default=10.0, gt=0, description="A worker silent for this long loses what it holds"
    )
    drain_s: float = Field(default=5.0, gt=0, description="How long one bell keeps a worker busy")
    segment_timeout_s: float = Field(
        default=120.0, gt=0, description="A segment that renders longer than this is given up"
    )
    max_attempts: int = Field(
        default=4, ge=1, description="Tries of a segment that fails with an error"
    )
    max_losses: int = Field(
        default=3, ge=1, description="Workers a segment may lose before its job fails"
    )
    keeper_interval_s: float = Field(
        default=0.5, gt=0, description="How often lost bells, leases and retries are looked for"
    )
    load_timeout_s: float = Field(
        default=300.0, gt=0, description="How long a model may take to load"
    )
    max_memory_mb: int = Field(
        default=0, ge=0, description="A worker process above this restarts; 0 never"
    )
    health_file: Path | None = Field(
        default=None, description="A worker touches this file while it is ready and Redis answers"
    )
    metrics_host: str = Field(default="127.0.0.1", description="Address of a worker's own metrics")
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Port of a worker's own metrics, another one for each of a machine; 0 is off",
    )
    fake_cost_s_per_char: float = Field(
        default=0.0, ge=0, description="What the fake engine's time costs, for load tests"
    )
    fake_load_s: float = Field(
        default=0.0, ge=0, description="How long the fake engine loads each voice, for tests"
    )

    # Webhooks
    webhook_timeout_s: float = Field(default=15.0, gt=0, description="Longest wait for a receiver")
    webhook_delays_s: str = Field(
        default="0,5,300,1800,7200,18000,36000,50400,72000,86400",
        description="Seconds before each try of a delivery, comma-separated",
    )
    webhook_allow: str = Field(
        default="",
        description="Networks and hosts webhooks may reach although private, comma-separated",
    )
    webhook_retention_s: int = Field(
        default=604_800,
        ge=60,
        le=604_800,
        description="How long the record of a delivered or dead message is kept",
    )
    webhook_host_limit: int = Field(
        default=4, ge=1, description="Deliveries under way at once to one receiver"
    )
    webhook_tenant_limit: int = Field(
        default=6, ge=1, description="Deliveries under way at once of one tenant; a courier sends 8"
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="What is logged"
    )

    @field_validator("redis_url")
    @classmethod
    def _is_redis_url(cls, url: SecretStr) -> SecretStr:
        parse_redis_url(url.get_secret_value())
        return url

    @field_validator("s3_endpoint", "s3_public_endpoint")
    @classmethod
    def _is_endpoint(cls, endpoint: str | None, info: ValidationInfo) -> str | None:
        if endpoint or info.field_name == "s3_endpoint":  # no public one is the same one
            _check_endpoint(endpoint or "")
        return endpoint

    @field_validator("s3_bucket")
    @classmethod
    def _is_bucket(cls, name: str) -> str:
        if not BUCKET.fullmatch(name):
            raise ValueError("should be 3 to 63 letters, digits, dots and hyphens")
        return name

    @field_validator("webhook_delays_s")
    @classmethod
    def _is_a_schedule(cls, delays_s: str) -> str:
        read_delays(delays_s)
        return delays_s

    @field_validator("webhook_allow")
    @classmethod
    def _is_a_guard(cls, allowed: str) -> str:
        AddressGuard.parse(allowed)
        return allowed


def _check_endpoint(endpoint: str) -> None:
    scheme, _, place = endpoint.removesuffix("/").rpartition("://")
    try:
        parts = urlsplit(f"//{place}")
        fits = bool(parts.hostname) and parts.port != 0 and not NO_PLACE.intersection(place)
    except ValueError:  # for a port that is none
        fits = False
    if not fits or scheme not in ("", "http", "https"):
        raise ValueError("should be host:port, with or without http:// or https://, and no path")


def read_delays(delays_s: str) -> tuple[float, ...]:
    """The seconds before each try of a delivery. Raises `ValueError` that says what is wrong."""
    given = [delay.strip() for delay in delays_s.split(",") if delay.strip()]
    read = [read_decimal(delay) for delay in given]
    waits_s = tuple(delay_s for delay_s in read if delay_s is not None and delay_s >= 0)
    if not waits_s or len(waits_s) < len(given):
        raise ValueError("should be seconds from 0 up, comma-separated, such as 0,5,300")
    return waits_s


@cache
def settings() -> Settings:
    """This process's settings; the first call reads the environment. Raises `WrongSetting`.

    What the environment does not say is taken from the files of `TTSFARM_SECRETS_DIR`.
    """
    files = os.environ.get(f"{PREFIX}SECRETS_DIR") or None
    if files and not Path(files).is_dir():
        raise WrongSetting(f"{PREFIX}SECRETS_DIR: there is no directory {files}")
    try:
        return Settings(_secrets_dir=files)
    except ValidationError as error:
        faults = [f"{PREFIX}{str(one['loc'][0]).upper()}: {one['msg']}" for one in error.errors()]
        raise WrongSetting("; ".join(faults)) from error
