"""How the gateway is set up: environment variables `DEIXIS_…`, overridden by what `deixis serve` was given.

Knows names, defaults and limits. Read once, when the server starts. Lists are written as JSON, or as words with commas between.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from deixis.errors import OptionError

MIB = 2**20
Words = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """One gateway. A request may lower `*_s`, `max_tokens` and `max_pixels` for itself, and raise none."""

    model_config = SettingsConfigDict(env_prefix="DEIXIS_", extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65_535)
    models: Words = ("auto",)  # name, or alias=name; the first is the default
    api_keys: Words = ()  # plain, or sha256:<64 hex digits> of one
    allowed_hosts: Words = ()  # Host headers besides this machine's own names
    allowed_origins: Words = ()  # pages elsewhere that may ask; none by default

    memory_gib: float = Field(0.0, ge=0)  # for all models together; 0: four fifths of the machine's
    canary: bool = True  # measure where a model points when it is loaded

    slots: int = Field(8, ge=1, le=1024)  # requests that one model works on at a time
    queue: int = Field(64, ge=0, le=100_000)  # requests that wait for a slot
    rate_per_minute: float = Field(0.0, ge=0)  # requests of one key, or of one address without keys; 0: any number
    deadline_s: float = Field(120.0, gt=0, le=86_400)  # of a request about pictures, or a conversation
    watch_deadline_s: float = Field(3_600.0, gt=0, le=86_400)  # of a video
    body_s: float = Field(30.0, gt=0)  # for a request's own bytes to arrive
    drain_s: float = Field(30.0, ge=0)  # for requests in flight when the server is told to end

    max_body_bytes: int = Field(64 * MIB, ge=1024)
    max_bodies_bytes: int = Field(512 * MIB, ge=1024)  # of all requests together
    max_picture_bytes: int = Field(32 * MIB, ge=1024)
    max_video_bytes: int = Field(256 * MIB, ge=1024)
    max_pixels: int = Field(40_000_000, ge=4096)
    max_pictures: int = Field(32, ge=1)  # of one conversation
    max_frames: int = Field(256, ge=4)  # of a video that a model reads as a clip
    max_tokens: int = Field(4_096, ge=1)
    max_replies: int = Field(8, ge=1, le=64)
    max_jobs: int = Field(16, ge=1)  # videos that are answered in the background, held in memory

    fetch: bool = True  # pictures and videos by address
    fetch_private: bool = False  # addresses inside this network, this machine's own among them
    fetch_hosts: Words = ()  # if any: these host names alone
    fetch_s: float = Field(15.0, gt=0)

    log_level: str = "INFO"

    @field_validator("models", "api_keys", "allowed_hosts", "allowed_origins", "fetch_hosts", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        if isinstance(value, str):
            import json

            return tuple(json.loads(value)) if value.lstrip().startswith("[") else tuple(filter(None, value.split(",")))
        return value

    @model_validator(mode="after")
    def _door(self) -> Settings:
        if not self.models:
            raise ValueError("models is empty; expected at least one")
        if not self.on_loopback and not self.api_keys:
            raise ValueError(
                f"host {self.host} can be reached from other machines, and no API key is set; set DEIXIS_API_KEYS, "
                "or serve on 127.0.0.1"
            )
        return self

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine reaches the server."""
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host == "localhost"


def read_settings(**given: Any) -> Settings:
    """Settings from the environment and what is given. Raises OptionError, one line."""
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        # Never the value: it may be a key.
        raise OptionError(f"{where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}") from None
