"""A small HTTP client of the jobs, as the command line uses it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import httpx

from serve_app.client import Client, refusal, set_wav_length
from serve_app.errors import NotReadyError, ServeError

_POLL_S: Final = 1.0
_ENDED: Final = frozenset({"complete", "failed", "cancelled"})
_TRIES: Final = 120


class JobClient(Client):
    """Calls a running service about its jobs; errors are those of :class:`Client`."""

    def submit(
        self,
        script: Path,
        fields: Mapping[str, str],
        *,
        cover: Path | None = None,
        idempotency_key: str = "",
    ) -> dict[str, Any]:
        """Upload a document as a job."""
        with ExitStack() as stack:
            files = {"file": (script.name, stack.enter_context(_opened(script)))}
            if cover is not None:
                files["cover"] = (cover.name, stack.enter_context(_opened(cover)))
            headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
            return self._ask("POST", "/v1/jobs", data=dict(fields), files=files, headers=headers)

    def newest(self, limit: int) -> list[dict[str, Any]]:
        """The newest jobs."""
        found: list[dict[str, Any]] = []
        after: dict[str, str] = {}
        while len(found) < limit:
            page = self.get("/v1/jobs", limit=min(100, limit - len(found)), **after)
            found += page["data"]
            if not page["has_more"]:
                break
            after = {"after": page["last_id"]}
        return found

    def job(self, job_id: str) -> dict[str, Any]:
        """One job."""
        return self.get(f"/v1/jobs/{job_id}")

    def segments(self, job_id: str, only: str) -> list[dict[str, Any]]:
        """Segments that are ``doubtful``, ``failed`` or ``open``."""
        found: list[dict[str, Any]] = self.get(
            f"/v1/jobs/{job_id}/segments", only=only, limit=1000
        )["data"]
        return found

    def command(self, job_id: str, command: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Pause, resume or retry."""
        return self._ask("POST", f"/v1/jobs/{job_id}/{command}", json=dict(body))

    def delete(self, job_id: str, *, forget: bool) -> dict[str, Any]:
        """Cancel a job, or forget it."""
        return self._ask("DELETE", f"/v1/jobs/{job_id}", params={"forget": forget})

    def watch(self, job_id: str) -> Iterator[dict[str, Any]]:
        """The job once a second, until it has ended and its file is there.

        A service that is away for a while is asked again.
        """
        away = 0
        while True:
            try:
                job = self.job(job_id)
            except NotReadyError:
                away += 1
                if away > _TRIES:
                    raise
            else:
                away = 0
                yield job
                making = any(it["state"] == "making" for it in job["files"] or ())
                if job["status"] in _ENDED and not making:
                    return
            time.sleep(_POLL_S)

    def audio(self, job_id: str, path: Path, audio_format: str | None) -> int:
        """Fetch a job's audio into a file; returns its bytes.

        A broken download of a finished file is gone on with where it ended, unless the file has
        changed.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        part, etag = path.with_name(f"{path.name}.part"), ""
        part.unlink(missing_ok=True)
        for _ in range(_TRIES):
            try:
                done, etag = self._download(job_id, part, etag, audio_format)
            except NotReadyError:
                done = False
            if done:
                if audio_format == "wav" and not etag:
                    set_wav_length(part)
                part.replace(path)
                return path.stat().st_size
            time.sleep(_POLL_S)
        raise NotReadyError(f"{part} holds the beginning; the rest did not come. Try again later.")

    def _download(
        self, job_id: str, part: Path, etag: str, audio_format: str | None
    ) -> tuple[bool, str]:
        """Take what comes; whether that was all, and the ETag of the file."""
        have_bytes = part.stat().st_size if etag and part.exists() else 0
        headers = {"range": f"bytes={have_bytes}-", "if-range": etag} if have_bytes else {}
        params = {} if audio_format is None else {"format": audio_format}
        try:
            with self._http.stream(
                "GET", f"/v1/jobs/{job_id}/audio", params=params, headers=headers
            ) as answer:
                if answer.is_error:
                    answer.read()
                    raise refusal(answer)
                etag = answer.headers.get("etag", "")
                with part.open("ab" if answer.status_code == 206 else "wb") as file:
                    for data in answer.iter_raw():
                        file.write(data)
        except httpx.RemoteProtocolError:
            return False, etag
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        return True, etag

    def _ask(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **more)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        if answer.is_error:
            raise refusal(answer)
        body: dict[str, Any] = answer.json()
        return body


def _opened(path: Path) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        raise ServeError(f"{path} can't be read: {error.strerror}.") from error
