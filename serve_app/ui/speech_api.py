"""The service as the studio calls it: over HTTP, like any other client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from serve_app.errors import InvalidInputError, NotReadyError, ServeError

_TIMEOUT = httpx.Timeout(10.0, connect=5.0)
_STREAM_TIMEOUT = httpx.Timeout(10.0, connect=5.0, read=300.0)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stream is, as ``GET /v1/audio/speech/{id}`` tells it.

    Args:
        status: ``running``, ``complete``, ``failed`` or ``cancelled``.
        segments, segments_done: In all, and spoken in order so far.
        estimated_s, audio_s: Audio expected and sent so far, s.
        elapsed_s: Since the request, s.
        first_audio_s: From the request to the first sound, s, or None before it.
        retries: Segments' takes beyond their first.
        error: Why it failed, or None.
    """

    status: str
    segments: int
    segments_done: int
    estimated_s: float
    audio_s: float
    elapsed_s: float
    first_audio_s: float | None
    retries: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer whose audio is on its way.

    Args:
        request_id: Asks for its progress.
        segments: In its plan.
        audio: Its bytes; an error if it breaks off.
    """

    request_id: str
    segments: int
    audio: AsyncIterator[bytes]


class SpeechApi:
    """Calls the service at *url*, with *key* if there is one; every call is bounded in time."""

    def __init__(
        self,
        url: str,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        key: str | None = None,
    ) -> None:
        self._url = url
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        # Proxies of the environment are not for a service of our own cluster.
        self._http = httpx.AsyncClient(
            base_url=url, timeout=_TIMEOUT, trust_env=False, transport=transport, headers=headers
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def accepts(self, key: str) -> bool:
        """Whether the service takes a key; no, where it does not answer."""
        try:
            answer = await self._http.get("/v1/models", headers={"authorization": f"Bearer {key}"})
        except (httpx.HTTPError, UnicodeEncodeError):  # a header can't hold every key
            return False
        return answer.is_success

    async def voices(self) -> tuple[tuple[str, str], ...]:
        """Label and id of each voice, in the order in which speakers take them.

        Raises:
            ServeError: The service does not answer, or refuses.
        """
        listed = (await self._get("/v1/audio/voices"))["data"]
        return tuple(
            (f"{voice['name']} ({', '.join(voice['languages'])})", str(voice["id"]))
            for voice in listed
            if voice["alias_of"] is None
        )

    async def progress(self, request_id: str) -> Progress:
        """How far a stream is.

        Raises:
            ServeError: The service does not answer, or does not know it.
        """
        body = await self._get(f"/v1/audio/speech/{request_id}")
        return Progress(**{name: body[name] for name in Progress.__slots__})

    @asynccontextmanager
    async def speak(
        self, text: str, speakers: Mapping[str, str], audio_format: str
    ) -> AsyncGenerator[Stream, None]:
        """Speak *text*; leaving the context cancels what is still being spoken.

        Raises:
            InvalidInputError: The service refuses, with its message.
            NotReadyError: It does not answer, or the stream broke off.
        """
        body = {
            "model": (await self._get("/v1/models"))["data"][0]["id"],
            "input": text,
            "voice": "auto",
            "speakers": dict(speakers),
            "response_format": audio_format,
        }
        try:
            async with self._http.stream(
                "POST", "/v1/audio/speech", json=body, timeout=_STREAM_TIMEOUT
            ) as answer:
                if answer.is_error:
                    await answer.aread()
                    raise _refusal(answer)
                yield Stream(
                    answer.headers["x-request-id"],
                    int(answer.headers["x-segments"]),
                    answer.aiter_raw(),
                )
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    async def _get(self, path: str) -> dict[str, Any]:
        try:
            answer = await self._http.get(path)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if answer.is_error:
            raise _refusal(answer)
        body: dict[str, Any] = answer.json()
        return body

    def _unreachable(self, error: httpx.HTTPError) -> NotReadyError:
        return NotReadyError(
            f"The speech service at {self._url} does not answer or broke off "
            f"({type(error).__name__}). Is it running, and is service_url right?"
        )


def _refusal(answer: httpx.Response) -> ServeError:
    try:
        message = str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"The service answered {answer.status_code}: {answer.text[:200]}"
    return InvalidInputError(message) if answer.is_client_error else NotReadyError(message)
