"""A small HTTP client of the service, as the command line uses it."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import httpx

from serve_app.errors import NotReadyError, ServeError

_CONNECT_TIMEOUT_S = 5.0
_READ_TIMEOUT_S = 300.0
_POLL_S = 0.5
_LARGEST_WAV: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Spoken:
    """A finished download.

    Args:
        path: The file.
        wall_s: From the request to the last byte.
        outcome: Body of ``GET /v1/audio/speech/{id}``.
    """

    path: Path
    wall_s: float
    outcome: Mapping[str, Any]


class Client:
    """Calls a running service.

    Args:
        url: Its base URL.
        key: Sent with every call; None where the service asks for none.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        timeout = httpx.Timeout(_READ_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S)
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=url, timeout=timeout, headers=headers)
        self._url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """GET a JSON answer.

        Raises:
            ServeError: The service refused, with its message.
            NotReadyError: Nothing listens there.
        """
        body: dict[str, Any] = self._got(path, params).json()
        return body

    def get_text(self, path: str, **params: Any) -> str:
        """GET an answer as it is; raises as :meth:`get`."""
        return self._got(path, params).text

    def _got(self, path: str, params: Mapping[str, Any]) -> httpx.Response:
        try:
            answer = self._http.get(path, params=params)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        if answer.is_error:
            raise refusal(answer)
        return answer

    def speak(
        self,
        body: Mapping[str, Any],
        path: Path,
        on_progress: Callable[[Mapping[str, Any]], None] = lambda _outcome: None,
    ) -> Spoken:
        """Speak a request into a file; a WAV gets its true length at the end.

        Args:
            body: As for ``POST /v1/audio/speech``.
            path: Where the audio goes; its folder is made.
            on_progress: Called twice a second with the stream's outcome so far.
        Raises:
            ServeError: The service refused, or the stream broke off.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        begun_s = time.monotonic()
        status = None
        try:
            with self._http.stream("POST", "/v1/audio/speech", json=dict(body)) as answer:
                if answer.is_error:
                    answer.read()
                    raise refusal(answer)
                status = f"/v1/audio/speech/{answer.headers['x-request-id']}"
                with path.open("wb") as file, _Polling(self, status, on_progress):
                    for data in answer.iter_raw():
                        file.write(data)
        except httpx.TransportError as error:
            if status is None:
                raise self._unreachable(error) from error
            outcome = self.get(status)
            raise ServeError(
                f"The stream broke off: {outcome['error'] or error}. {path} holds its beginning."
            ) from error
        outcome = self._ended(status)
        if outcome["status"] != "complete":
            raise ServeError(f"The stream ended as {outcome['status']}: {outcome['error']}")
        if body.get("response_format") == "wav":
            set_wav_length(path)
        return Spoken(path, time.monotonic() - begun_s, outcome)

    def _ended(self, status: str) -> dict[str, Any]:
        """The outcome once the service has noted the end, which follows the last byte."""
        deadline_s = time.monotonic() + _CONNECT_TIMEOUT_S
        while True:
            outcome = self.get(status)
            if outcome["status"] != "running" or time.monotonic() > deadline_s:
                return outcome
            time.sleep(0.02)

    def _unreachable(self, error: httpx.TransportError) -> NotReadyError:
        if isinstance(error, httpx.RemoteProtocolError):
            return NotReadyError(
                f"{self._url} closed the connection before it answered: it stops, or is something "
                "else. Try again shortly, or name another service with --url."
            )
        return NotReadyError(
            f"Nothing answers at {self._url} ({type(error).__name__}). Start the service with "
            "'vibevoice-serve serve --config configs/local.yaml', or name another with --url."
        )


class _Polling:
    """Asks for a stream's progress in a thread while the audio is read."""

    def __init__(
        self, client: Client, path: str, on_progress: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self._client, self._path, self._on_progress = client, path, on_progress
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="progress", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=2 * _CONNECT_TIMEOUT_S)

    def _poll(self) -> None:
        while not self._stop.wait(_POLL_S):
            try:
                self._on_progress(self._client.get(self._path))
            except ServeError:
                return  # the stream itself tells what is wrong


def refusal(answer: httpx.Response) -> ServeError:
    """The error that an answer tells; NotReadyError where it may help to ask again."""
    try:
        message = answer.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = answer.text[:200]
    kind = NotReadyError if answer.status_code == 503 else ServeError
    return kind(f"The service answered {answer.status_code}: {message}")


def set_wav_length(path: Path) -> None:
    """Replace a streamed WAV's unknown lengths, so that every player shows the duration."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        start = _samples_start(file, size)
        if start is None or size - 8 >= _LARGEST_WAV:
            return
        file.seek(4)
        file.write(struct.pack("<I", size - 8))
        file.seek(start - 4)
        file.write(struct.pack("<I", size - start))


def _samples_start(file: BinaryIO, size: int) -> int | None:
    """Where the samples of a WAV begin, found from chunk to chunk; None if it is none."""
    riff = file.read(12)
    if riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
        return None
    at = 12
    while at + 8 <= size:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        at += 8
        if name == b"data":
            return at
        at += length + length % 2
    return None
