"""The API's settings: read once at the start from the environment (prefix MESOCYCLE_API_), frozen afterwards."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from api.tokens import AUDIENCE, ISSUER

PREFIX = "MESOCYCLE_API_"


class SettingsInvalid(RuntimeError):
    """A setting is missing or unusable; the message names its environment variable and what it must be."""


class Settings(BaseSettings):
    """Everything that the API may be told. Required: the database's URL and at least one source of keys."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True)

    database_url: SecretStr = Field(description="postgresql://mesocycle_api:…@host:port/database")

    jwks: str | None = Field(None, description="The public keys as a JSON Web Key Set, or PEM blocks one after another")
    jwks_file: Path | None = Field(None, description="A file with the same; read again when it changes")
    jwks_url: str | None = Field(None, description="Where the issuer publishes its key set; fetched again before it gets old")
    hs256_secret: SecretStr | None = Field(None, description="Accept tokens signed with this shared secret (at least 32 bytes), too")
    issuer: str = ISSUER
    audience: str = AUDIENCE
    leeway_seconds: float = Field(30, ge=0, le=300, description="How far the issuer's clock may be off")
    jwks_lifetime_seconds: float = Field(300, gt=0, description="How long a fetched key set counts as fresh: the delay of a revocation")
    jwks_stale_seconds: float = Field(86400, ge=0, description="How long it still serves while its source doesn't answer")
    verified_tokens: int = Field(200_000, ge=0, description="How many verified tokens are remembered (about 0.8 kB each)")

    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field((), description="Origins that browsers may call from; none by default")
    fast_lane: bool = Field(True, description="Serve precomputed payloads, and take single events, past the framework; off only to compare")

    pool_size: int = Field(8, ge=1, le=100, description="Connections for everything but precomputed payloads")
    pool_waiting: int = Field(64, ge=0, description="Requests that may wait for a connection; the next is refused at once")
    pool_wait_seconds: float = Field(0.5, gt=0)
    connect_seconds: float = Field(1.0, gt=0)
    query_seconds: float = Field(2.0, gt=0)
    reader_connections: int = Field(2, ge=1, le=8, description="Connections for payloads: one query runs while the next batch gathers")
    pulse_seconds: float = Field(0.5, gt=0, description="How often the current build is asked for while no request does")
    stale_seconds: float = Field(900, ge=0, description="How long last known payloads are served while Postgres is gone")
    stale_bytes: int = Field(32 * 1024 * 1024, ge=0, description="Memory for them, per process: some 24,000 summaries")

    body_bytes: int = Field(1024 * 1024, ge=1024, description="Largest request body")
    header_bytes: int = Field(32 * 1024, ge=1024, description="Largest request head")
    json_depth: int = Field(16, ge=1, le=500)
    body_seconds: float = Field(10, gt=0, description="A request's body must be complete after so long")
    request_seconds: float = Field(15, gt=0, description="A route must have answered after so long (a held status call counts apart)")
    writes_per_minute: int = Field(1200, ge=1, description="Writes of one user, per process")
    service_writes_per_minute: int = Field(600_000, ge=1, description="Writes of one service, which sends for many, per process")
    drain_seconds: int = Field(10, ge=0, description="How long SIGTERM waits for requests that run")

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("hs256_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < 32:
            raise ValueError("must have at least 32 bytes")  # RFC 7518, 3.2: as long as the hash
        return value

    @field_validator("jwks_url")
    @classmethod
    def _http_only(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://")):
            raise ValueError("must begin with https:// (or http:// inside a private network)")
        return value

    @model_validator(mode="after")
    def _has_keys(self) -> Self:
        if not (self.jwks or self.jwks_file or self.jwks_url or self.hs256_secret):
            raise ValueError(
                f"no key can verify a token: set {PREFIX}JWKS, {PREFIX}JWKS_FILE or {PREFIX}JWKS_URL (or, knowingly, {PREFIX}HS256_SECRET)"
            )
        return self

    @property
    def dsn(self) -> str:
        """The database's URL in the form that asyncpg takes."""
        return self.database_url.get_secret_value().replace("postgresql+psycopg2://", "postgresql://").replace("+asyncpg", "")


def load_settings() -> Settings:
    """Settings from the environment, or SettingsInvalid with one sentence per fault."""
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsInvalid(" ".join(_sentence(fault) for fault in error.errors())) from None


def _sentence(fault: Any) -> str:
    if not fault["loc"]:
        return f"The API can't start: {fault['ctx']['error']}."
    name = PREFIX + str(fault["loc"][0]).upper()
    if fault["type"] == "missing":
        purpose = Settings.model_fields[str(fault["loc"][0])].description
        return f"The API can't start: {name} is not set ({purpose})."
    return f"The API can't start: {name} is wrong: {fault['msg'].removeprefix('Value error, ')}."
