"""From the settings to who may call: the keys, followed while their file changes, and the bounds.

Keys come from a file, from the variable ``VIBEVOICE_API_KEY`` (one admin's), or from both. A
change of the file counts within seconds and without a restart; one that can't be read is logged,
and the keys known before it stay.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from serve_app.config import API_KEY, AccessSettings, api_key
from serve_app.core.limits import KeyLimits
from serve_app.errors import ConfigError
from serve_app.ingress.bounded import BodyBounds, GateRules
from serve_app.ingress.gate import KeyFinder
from serve_app.keys import ApiKey, KeyRing, digest_of, parse_keys

logger = logging.getLogger(__name__)

KEYS_OFF: Final = (
    "API KEYS ARE OFF (access.keys): whoever can reach this service may use it, see its cards and "
    "change its voices. Set access.keys to required before others can reach it."
)
_STAT_PERIOD_S: Final = 2.0
_READ_TIMEOUT_S: Final = 10.0
_SHORTEST_KEY: Final = 16
_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call, and how much.

    Args:
        keys: Known keys, or None where none is asked for.
        rules: Bounds of every request.
        cors_origins: Origins whose pages may call from a browser.
    """

    keys: KeyFinder | None = None
    rules: GateRules = field(default_factory=GateRules)
    cors_origins: tuple[str, ...] = ()


class LiveKeys:
    """Keys of a file, read again when it changes, and keys that never change.

    Args:
        path: The file.
        fixed: Keys beside it.
        period_s: Between two looks at the file.

    Raises:
        ConfigError: The file can't be read, or is no file of keys.
    """

    def __init__(
        self, path: Path, fixed: Sequence[ApiKey] = (), *, period_s: float = _STAT_PERIOD_S
    ) -> None:
        self._path, self._fixed, self._period_s = path, tuple(fixed), period_s
        self._stamp, self._ring = _stamp_of(path), self._ring_of(self._text())
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keys")
        self._look: Future[bool] | None = None
        self._following: asyncio.Task[None] | None = None

    def find(self, token: str) -> ApiKey | None:
        """Whose key *token* is."""
        return self._ring.find(token)

    def start(self) -> None:
        """Follow the file from now on; needs a running loop."""
        self._following = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Follow no more."""
        if self._following is not None:
            self._following.cancel()
            with suppress(asyncio.CancelledError):
                await self._following
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _follow(self) -> None:
        told = ""
        while True:
            await asyncio.sleep(self._period_s)
            try:
                changed = await self._looked()
            except Exception as error:  # noqa: BLE001 - who stops following lets revoked keys in
                why = error.message if isinstance(error, ConfigError) else type(error).__name__
                if why != told:  # it is tried again at each look, and told once
                    logger.error(  # noqa: TRY400 - a traceback would not help an operator
                        "the changed file of keys is not used, the keys known before it stay: %s",
                        why,
                    )
                told = why
            else:
                told = ""
                if changed:
                    logger.info("the file of keys has changed: %d keys", len(self._ring))

    async def _looked(self) -> bool:
        """Look at the file, one look at a time; whether it has changed."""
        if self._look is None or self._look.done():
            self._look = self._thread.submit(self._changed)
        async with asyncio.timeout(_READ_TIMEOUT_S):
            return await asyncio.shield(asyncio.wrap_future(self._look))

    def _changed(self) -> bool:
        stamp = _stamp_of(self._path)
        if stamp == self._stamp:
            return False
        text = self._text()  # before the stamp is kept: what could not be read is tried again
        try:
            self._ring = self._ring_of(text)
        except ConfigError:
            self._stamp = stamp  # a mistake is told once, and read again when it is mended
            raise
        self._stamp = stamp
        return True

    def _text(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise ConfigError(
                f"The file of keys that access.keys_file names can't be read: {why}. "
                "'vibevoice-serve key NAME' prints a key and its line for the file."
            ) from error

    def _ring_of(self, text: str) -> KeyRing:
        return KeyRing((*parse_keys(text), *self._fixed))


def open_keys(settings: AccessSettings) -> LiveKeys | KeyRing | None:
    """The keys that the settings and the environment name; None if none is asked for.

    Raises:
        ConfigError: Keys are required and there are none, or they can't be read.
    """
    if settings.keys == "off":
        logger.warning(KEYS_OFF)
        return None
    require_key_source(settings)
    fixed = _environment_key()
    return KeyRing(fixed) if settings.keys_file is None else LiveKeys(settings.keys_file, fixed)


def require_key_source(settings: AccessSettings) -> None:
    """Check that there is where keys could come from.

    Raises:
        ConfigError: Keys are required and no source is named.
    """
    if settings.keys == "required" and settings.keys_file is None and api_key() is None:
        raise ConfigError(
            "This service asks for API keys but knows none. Name a file of them in "
            "access.keys_file ('vibevoice-serve key NAME' prints a key and its line for the file), "
            f"or set {API_KEY} to one admin's key, or, where only friends can reach the service, "
            'say access: {keys: "off"}.'
        )


def rules_of(settings: AccessSettings) -> GateRules:
    """The gate's bounds."""
    return GateRules(
        bodies=BodyBounds(int(settings.max_body_mib * 2**20), int(settings.max_upload_mib * 2**20)),
        body_timeout_s=settings.body_timeout_s,
        whole_body_timeout_s=settings.whole_body_timeout_s,
        send_timeout_s=settings.send_timeout_s,
        max_open_requests=settings.max_open_requests,
    )


def _environment_key() -> tuple[ApiKey, ...]:
    found = api_key()
    if found is None:
        return ()
    if len(found) < _SHORTEST_KEY:
        raise ConfigError(
            f"{API_KEY} has fewer than {_SHORTEST_KEY} characters, which can be guessed; "
            "'vibevoice-serve key NAME' prints a good one."
        )
    return (ApiKey("environment", digest_of(found), admin=True, limits=KeyLimits()),)


def _stamp_of(path: Path) -> _Stamp | None:
    """Differs when the file does; None if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
