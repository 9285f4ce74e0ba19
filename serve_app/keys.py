"""API keys: who may call, kept as hashes, compared in constant time.

A key is 256 random bits, so a plain SHA-256 of it is a safe thing to keep: there is nothing to
guess. The file of keys (YAML) holds no key::

    keys:
      - name: studio
        sha256: 3fa1...            # vibevoice-serve key prints this line and, once, the key
        admin: false
        limits: {requests_per_minute: 60, concurrent_streams: 4, characters_per_day: 200000}

What a key has used is counted in memory: when the ingress is restarted, the day's characters begin
anew (:mod:`serve_app.core.limits`).

PyYAML is the one foreign library of this file, pydantic its border.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Final, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from serve_app.core.limits import KeyLimits
from serve_app.errors import ConfigError

PREFIX: Final = "vvs-"
"""What keys begin with, so that scanners find one that was published by mistake."""

_MOST_CHARACTERS: Final = 512
_Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept.

    Args:
        name: Whose it is, for logs and metrics; unique.
        digest: SHA-256 of the key.
        admin: May also see and change what concerns all users.
        limits: Its bounds.
    """

    name: str
    digest: bytes
    admin: bool
    limits: KeyLimits


class KeyRing:
    """The keys that are known.

    Args:
        keys: Names and digests differ.
    """

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._keys = tuple(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, token: str) -> ApiKey | None:
        """Whose key *token* is; takes the same time whichever it is, or none."""
        digest = digest_of(token[:_MOST_CHARACTERS])
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def new_key() -> str:
    """A fresh key."""
    return PREFIX + secrets.token_urlsafe(32)


def key_entry(name: str, token: str, *, admin: bool) -> str:
    """What a file of keys keeps of a key, as an item of its list.

    Raises:
        ConfigError: The name can't stand there.
    """
    entry: dict[str, object] = {"name": name, "sha256": digest_of(token).hex()}
    kept = [{**entry, "admin": True} if admin else entry]
    parse_keys(yaml.safe_dump({"keys": kept}))
    return yaml.safe_dump(kept, sort_keys=False)


def digest_of(token: str) -> bytes:
    """SHA-256 of a key, as it is kept."""
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


class _Limits(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    requests_per_minute: _Count | None = None
    concurrent_streams: _Count | None = None
    characters_per_day: _Count | None = None


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w .@-]+$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    admin: bool = False
    limits: _Limits = _Limits()


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[_Entry, ...]

    @model_validator(mode="after")
    def _differ(self) -> Self:
        for field in ("name", "sha256"):
            values = [getattr(entry, field) for entry in self.keys]
            if len(set(values)) != len(values):
                raise ValueError(f"two keys have the same {field}")
        return self


def parse_keys(text: str) -> tuple[ApiKey, ...]:
    """The keys of a file.

    Raises:
        ConfigError: It is no such file; the message never quotes its content.
    """
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # the last two: a bad date, deep nesting
        raise ConfigError("The file of keys is no YAML.") from None
    try:
        entries = _File.model_validate(found).keys
    except ValidationError as error:
        places = sorted({".".join(map(str, item["loc"])) or "file" for item in error.errors()})
        raise ConfigError(
            f"The file of keys is wrong at {', '.join(places)}: each key needs a name of its own "
            "and sha256, 64 hex digits; admin and limits may be given."
        ) from None
    return tuple(
        ApiKey(
            entry.name,
            bytes.fromhex(entry.sha256),
            entry.admin,
            KeyLimits(**entry.limits.model_dump()),
        )
        for entry in entries
    )
