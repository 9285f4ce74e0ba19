"""Jobs over HTTP without Ray: orders, what is told of them, their audio, whose they are."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.access import Access
from serve_app.core.limits import KeyLimits
from serve_app.engines.simulated import SimulatedOptions
from serve_app.engines.simulated_code import segments_heard
from serve_app.engines.simulated_faults import FaultRule
from serve_app.errors import NotReadyError, RangeError
from serve_app.ingress import jobs_audio
from serve_app.ingress.http import create_app
from serve_app.ingress.jobs_audio import wanted_range
from serve_app.jobs.files import Finish, finish_in_child
from serve_app.jobs.finish_work import FinishAnswer, FinishOrder
from serve_app.jobs.order import JobOrder
from serve_app.jobs.port import JobsPort, UnansweredError
from serve_app.jobs.reader import FileReader
from serve_app.jobs.settings import JobSettings
from serve_app.jobs.views import JobView
from serve_app.keys import ApiKey, KeyRing, digest_of
from tests.unit.fake_replicas import FakeReplicas
from tests.unit.ingress_stage import client_of_app, service
from tests.unit.job_scene import FAST, TEXT, Scene, finish_here, scene

BOOK = "\n\n".join(
    f"CHAPTER {number}. {title}\n\n{title} is told here in a few words. They are soon over. "
    "And yet they fill more than one of the segments that a card speaks in one go, as they should."
    for number, title in (("I", "The Ship"), ("II", "The Sea"), ("III", "The Harbour"))
)
SLOW = replace(FAST, first_chunk_s=0.1, real_time_factor=0.02)
KEYS = {"ann": "vvs-key-of-ann", "bob": "vvs-key-of-bob", "root": "vvs-key-of-root"}
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)


@dataclass
class Stage:
    """A runner and the HTTP face before it."""

    at: Scene
    http: httpx.AsyncClient

    async def order(self, **body: Any) -> dict[str, Any]:
        answer = await self.http.post("/v1/jobs", json={"input": TEXT, "format": "wav", **body})
        assert answer.status_code == 201, answer.text
        assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
        return dict(answer.json())

    async def get(self, path: str, **more: Any) -> dict[str, Any]:
        answer = await self.http.get(f"/v1/jobs/{path}", **more)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def heard(self, job_id: str) -> list[tuple[str, Any]]:
        """The events of a job up to its end."""
        answer = await self.http.get(f"/v1/jobs/{job_id}/events")
        assert answer.headers["content-type"].startswith("text/event-stream")
        return events_of(answer.text)

    async def done(self, job_id: str) -> dict[str, Any]:
        assert (await self.heard(job_id))[-1][0] == "end"
        return await self.get(job_id)


def events_of(text: str) -> list[tuple[str, Any]]:
    found = []
    for block in text.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in block.split("\n") if line[:1] not in {"", ":"}
        )
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


@asynccontextmanager
async def stage(
    path: Path,
    cards: tuple[SimulatedOptions, ...] = (FAST,) * 3,
    *,
    access: Access | None = None,
    finish: Finish | None = finish_here,
) -> AsyncIterator[Stage]:
    async with scene(path, cards, finish=finish) as at:
        reader = FileReader(at.folder)
        port = JobsPort(at.runner.jobs, reader, JobSettings(store=str(path)))
        app = create_app(replace(service(FakeReplicas()), jobs=port), access)
        async with client_of_app(app) as http:
            yield Stage(at, http)
        reader.close()


def samples_of(data: bytes) -> np.ndarray[Any, Any]:
    with av.open(io.BytesIO(data), "r") as container:
        return np.concatenate(
            [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
        )


async def test_a_book_becomes_a_file_with_chapters_cover_and_captions(tmp_path: Path) -> None:
    async with stage(tmp_path, finish=finish_in_child) as on:
        answer = await on.http.post(
            "/v1/jobs",
            files={"file": ("book.txt", BOOK.encode()), "cover": ("it.png", PNG)},
            data={
                "format": "m4b",
                "title": "Three Tales",
                "notice": "A machine reads this.",
                "metadata": '{"shelf": "7"}',
            },
        )
        assert answer.status_code == 201, answer.text
        job = await on.done(answer.json()["id"])
        assert (job["status"], job["metadata"]) == ("complete", {"shelf": "7"})
        assert job["segments"]["done"] == job["segments"]["total"] > 3
        titles = ["CHAPTER I. The Ship", "CHAPTER II. The Sea", "CHAPTER III. The Harbour"]
        assert [it["title"] for it in job["chapters"]] == titles
        (file,) = job["files"]
        assert (file["state"], file["format"], file["edition"]) == ("made", "m4b", 0)
        assert file["lufs"] == pytest.approx(-16, abs=1.5)
        assert file["true_peak_dbtp"] <= -1
        audio = await on.http.get(f"/v1/jobs/{job['id']}/audio")
        assert audio.headers["content-length"] == str(file["size_bytes"]) == str(len(audio.content))
        assert audio.headers["etag"] == file["etag"]
        assert "Three%20Tales.m4b" in audio.headers["content-disposition"]
        with av.open(io.BytesIO(audio.content)) as container:
            assert container.metadata["title"] == "Three Tales"
            assert "AI-generated" in container.metadata["comment"]
            found = container.chapters()
            assert [it["metadata"]["title"] for it in found][-3:] == titles
            assert len(container.streams.video) == 1
            for made, told in zip(found[-3:], job["chapters"], strict=True):
                assert made["time_base"] is not None
                start_s = float(made["start"] * made["time_base"])
                assert start_s == pytest.approx(told["start_s"], abs=0.01)
                assert not told["estimated"] or told is job["chapters"][0]
        listed = await on.get(f"{job['id']}/captions.json")
        words = " ".join(it["text"] for it in listed["captions"]).split()
        assert words[:4] == ["A", "machine", "reads", "this."]
        assert words.count("harbour") + words.count("Harbour") >= 1
        for kind, begins in (("srt", "1\n00:00:00"), ("vtt", "WEBVTT")):
            text = (await on.http.get(f"/v1/jobs/{job['id']}/captions.{kind}")).text
            assert text.startswith(begins)


async def test_ranges_of_the_file_are_parts_of_it_and_formats_are_made_when_asked_for(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on:
        job = await on.done((await on.order())["id"])
        path = f"/v1/jobs/{job['id']}/audio"
        whole = await on.http.get(path)
        data, etag = whole.content, whole.headers["etag"]
        for header, part in (
            ("bytes=0-99", data[:100]),
            ("bytes=100-", data[100:]),
            ("bytes=-50", data[-50:]),
        ):
            answer = await on.http.get(path, headers={"range": header, "if-range": etag})
            assert (answer.status_code, answer.content) == (206, part)
            assert answer.headers["content-range"].endswith(f"/{len(data)}")
        old = await on.http.get(path, headers={"range": "bytes=0-9", "if-range": '"other"'})
        assert (old.status_code, old.content) == (200, data)
        beyond = await on.http.get(path, headers={"range": f"bytes={len(data)}-"})
        assert beyond.status_code == 416
        assert beyond.headers["content-range"] == f"bytes */{len(data)}"
        assert beyond.json()["error"]["code"] == "range_not_satisfiable"
        same = await on.http.get(path, headers={"if-none-match": etag})
        assert (same.status_code, same.content) == (304, b"")
        head = await on.http.head(path)
        assert head.headers["content-length"] == str(len(data))
        flac = await on.http.get(path, params={"format": "flac"})
        assert flac.headers["content-type"] == "audio/flac"
        assert np.array_equal(samples_of(flac.content), samples_of(data))
        stored = {
            record.audio_format for record in on.at.runner.jobs._crew.store.outputs(job["id"])
        }
        assert stored == {"wav", "flac"}
        assert on.at.runner.jobs._crew.store.size_bytes(job["id"]) > len(data)


async def test_who_listens_early_hears_the_same_signal(tmp_path: Path) -> None:
    async with stage(tmp_path, (SLOW,) * 2) as on:
        job = await on.order()
        early = await on.http.get(f"/v1/jobs/{job['id']}/audio", params={"format": "flac"})
        assert "content-length" not in early.headers
        assert early.headers["accept-ranges"] == "none"
        total = (await on.get(job["id"]))["segments"]["total"]
        heard = segments_heard(samples_of(early.content))
        assert [part.tag for part in heard] == list(range(total))
        pcm = (await on.http.get(f"/v1/jobs/{job['id']}/audio", params={"format": "pcm"})).content
        assert np.array_equal(np.frombuffer(pcm, "<i2"), samples_of(early.content))


async def test_a_long_download_says_again_and_again_that_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str]] = []

    async def reading(job_id: str, name: str) -> None:
        told.append((job_id, name))
        raise NotReadyError("the runner is being replaced")

    async with stage(tmp_path) as on:
        job = await on.done((await on.order(input="A word."))["id"])
        monkeypatch.setattr(jobs_audio, "_TELL_S", 0.0)
        monkeypatch.setattr(on.at.runner.jobs, "reading", reading)
        answer = await on.http.get(f"/v1/jobs/{job['id']}/audio")
        assert len(answer.content) == job["files"][0]["size_bytes"]
        assert told
        assert {job_id for job_id, _ in told} == {job["id"]}


async def test_a_retry_is_a_new_edition_with_another_etag(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        job = await on.done((await on.order())["id"])
        path = f"/v1/jobs/{job['id']}"
        first = await on.http.get(f"{path}/audio")
        answer = await on.http.post(
            f"{path}/segments/1/retry", json={"text": "Other words, please."}
        )
        assert (answer.status_code, answer.json()["edition"]) == (200, 1)
        job = await on.done(job["id"])
        assert {file["edition"] for file in job["files"]} == {0, 1}
        second = await on.http.get(f"{path}/audio")
        assert second.headers["etag"] != first.headers["etag"]
        again = await on.http.get(f"{path}/audio", params={"edition": 0})
        assert again.content == first.content
        segments = (await on.get(f"{job['id']}/segments", params={"first": 1, "limit": 1}))["data"]
        assert [it["lines"][0]["text"] for it in segments] == ["Other words, please."]
        for number, status in ((99, 404), (0, 400)):
            body = {"voice": "nobody"}
            refused = await on.http.post(f"{path}/segments/{number}/retry", json=body)
            assert refused.status_code == status


async def test_commands_and_the_list(tmp_path: Path) -> None:
    async with stage(tmp_path, (replace(SLOW, first_chunk_s=5.0),), finish=None) as on:
        ids = [(await on.order(seed=n))["id"] for n in range(3)]
        first = await on.http.get("/v1/jobs", params={"limit": 2})
        assert [it["id"] for it in first.json()["data"]] == ids[:0:-1]
        assert first.json()["has_more"]
        rest = await on.http.get("/v1/jobs", params={"after": first.json()["last_id"]})
        assert [it["id"] for it in rest.json()["data"]] == ids[:1]
        path = f"/v1/jobs/{ids[0]}"
        assert (await on.http.post(f"{path}/pause")).json()["status"] == "paused"
        paused = await on.http.get("/v1/jobs", params={"status": "paused"})
        assert [it["id"] for it in paused.json()["data"]] == ids[:1]
        assert (await on.http.post(f"{path}/resume")).json()["status"] in {"queued", "running"}
        assert (await on.http.delete(path)).json()["status"] == "cancelled"
        for conflict in (
            await on.http.post(f"{path}/pause"),
            await on.http.get(f"{path}/audio"),
        ):
            assert conflict.status_code == 409
            assert conflict.json()["error"]["code"] == "conflict"
        empty = await on.http.get(f"{path}/audio", params={"follow": False, "format": "pcm"})
        assert (empty.status_code, empty.content) == (200, b"")
        assert (await on.http.delete(path)).json()["deleted"] is True
        assert (await on.http.get(path)).status_code == 404
        gone = await on.http.delete(f"/v1/jobs/{ids[1]}", params={"forget": True})
        assert gone.json() == {"id": ids[1], "object": "job.deleted", "deleted": True}


async def test_events_can_be_resumed_and_end(tmp_path: Path) -> None:
    async with stage(tmp_path, (SLOW,) * 2) as on:
        job = await on.order()
        answer = await on.http.get(f"/v1/jobs/{job['id']}/events")
        kinds = [kind for kind, _ in events_of(answer.text)]
        assert kinds[0] == "snapshot"
        assert kinds[-1] == "end"
        assert {"segment", "status", "file"} <= set(kinds)
        ids = [line[4:] for line in answer.text.split("\n") if line.startswith("id: ")]
        path = f"/v1/jobs/{job['id']}/events"
        later = await on.http.get(path, headers={"last-event-id": ids[3]})
        seen = [line[4:] for line in later.text.split("\n") if line.startswith("id: ")]
        assert seen == ids[4:]
        over = await on.http.get(path, headers={"last-event-id": ids[-1]})
        assert over.status_code == 204


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"input": " ... "}, 400, "speak"),
        ({"input": None}, 400, "'input'"),
        ({"format": "ogg"}, 400, "m4b"),
        ({"voice": "nobody"}, 400, "sim-1"),
        ({"voices": {"Zoe": "sim-1"}}, 400, "zoe"),
        ({"options": {"warmth": 2.0}}, 400, "warmth"),
        ({"colour": "red"}, 400, "colour"),
        ({"cover": "bm8gcGljdHVyZQ=="}, 400, "cover"),
        ({"cover": base64.b64encode(PNG).decode(), "format": "opus"}, 400, "opus"),
        ({"notice": "..."}, 400, "notice"),
    ],
)
async def test_refusals_name_the_fault_and_keep_nothing(
    tmp_path: Path, change: dict[str, Any], status: int, says: str
) -> None:
    async with stage(tmp_path, finish=None) as on:
        answer = await on.http.post("/v1/jobs", json={"input": TEXT, "format": "mp3", **change})
        assert answer.status_code == status, answer.text
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert says in error["message"]
        assert (await on.http.get("/v1/jobs")).json()["data"] == []


async def test_bad_uploads_are_refused(tmp_path: Path) -> None:
    async with stage(tmp_path, finish=None) as on:
        for files, data, says in (
            ({"file": ("it.pdf", b"%PDF")}, {}, "it.pdf"),
            ({"book": ("it.txt", b"Hello.")}, {}, "book"),
            ({"file": ("it.txt", b"Hello.")}, {"input": "Hello."}, "either"),
            ({"file": ("it.txt", b"Hello.")}, {"seed": "x"}, "seed"),
            ({"file": ("it.txt", b"Hello.")}, {"metadata": "[" * 100_000}, "metadata"),
        ):
            answer = await on.http.post("/v1/jobs", files=files, data=data)
            assert answer.status_code == 400
            assert says in answer.json()["error"]["message"]


async def test_the_gate_lets_a_book_through_and_the_jobs_bound_it(tmp_path: Path) -> None:
    async with stage(tmp_path, finish=None) as on:
        for more, status, code in (
            ({"json": {"input": "x" * 3 * 2**20}}, 413, "input_too_long"),
            ({"data": {"input": "x" * 3 * 2**20}, "files": {"cover": PNG}}, 413, "input_too_long"),
            ({"files": {"file": ("it.epub", bytes(50 * 2**20))}}, 400, "invalid_request"),
            ({"json": {"input": "x" * 40 * 2**20}}, 413, "body_too_large"),
            ({"files": {"file": ("it.epub", bytes(80 * 2**20))}}, 413, "body_too_large"),
        ):
            answer = await on.http.post("/v1/jobs", **more)
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        usual = await on.http.post("/v1/audio/speech", json={"input": "x" * 3 * 2**20})
        assert usual.json()["error"]["code"] == "body_too_large"


async def test_a_failed_job_tells_and_gives_what_it_has(tmp_path: Path) -> None:
    poison = FaultRule("crash", text="number 4 tells")
    async with stage(tmp_path, (replace(FAST, faults=(poison,)),) * 2) as on:
        job = await on.done((await on.order(normalise=False))["id"])
        assert (job["status"], job["segments"]["failed"]) == ("failed", 1)
        path = f"/v1/jobs/{job['id']}"
        assert (await on.http.get(f"{path}/audio")).status_code == 409
        part = await on.http.get(f"{path}/audio", params={"follow": False})
        failed = (await on.get(f"{job['id']}/segments", params={"only": "failed"}))["data"]
        heard = segments_heard(samples_of(part.content))
        assert [it.tag for it in heard] == list(range(failed[0]["number"]))


async def test_a_key_sees_its_own_jobs_and_pays_for_them_once(tmp_path: Path) -> None:
    limits = KeyLimits(characters_per_day=len(TEXT) + 10)
    ring = KeyRing(
        [ApiKey(name, digest_of(key), name == "root", limits) for name, key in KEYS.items()]
    )
    async with stage(tmp_path, access=Access(ring), finish=None) as on:
        as_ = {who: {"authorization": f"Bearer {key}"} for who, key in KEYS.items()}
        once = {"idempotency-key": "monday", **as_["ann"]}
        body = {"input": TEXT, "chapters": False}
        assert (await on.http.post("/v1/jobs", json={**body, "format": "x"}, headers=once)).is_error
        made = await on.http.post("/v1/jobs", json=body, headers=once)
        again = await on.http.post("/v1/jobs", json=body, headers=once)
        assert (made.status_code, again.status_code) == (201, 200)
        assert made.json()["id"] == again.json()["id"]
        other = await on.http.post("/v1/jobs", json={**body, "seed": 2}, headers=once)
        assert other.status_code == 409
        too_much = await on.http.post("/v1/jobs", json=body, headers=as_["ann"])
        assert too_much.status_code == 429
        same_key = {"idempotency-key": "monday", **as_["bob"]}
        bobs = await on.http.post("/v1/jobs", json=body, headers=same_key)
        assert bobs.json()["id"] != made.json()["id"]
        path = f"/v1/jobs/{made.json()['id']}"
        for suffix in ("", "/events", "/audio", "/segments", "/captions.srt"):
            assert (await on.http.get(path + suffix, headers=as_["bob"])).status_code == 404
        assert (await on.http.delete(path, headers=as_["bob"])).status_code == 404
        assert (await on.http.get(path, headers=as_["root"])).status_code == 200
        seen = {
            who: len((await on.http.get("/v1/jobs", headers=header)).json()["data"])
            for who, header in as_.items()
        }
        assert seen == {"ann": 1, "bob": 1, "root": 2}


async def test_what_a_runner_has_not_kept_costs_nothing(tmp_path: Path) -> None:
    limits = KeyLimits(characters_per_day=len(TEXT) + 10)
    ring = KeyRing([ApiKey("ann", digest_of(KEYS["ann"]), False, limits)])
    headers = {"authorization": f"Bearer {KEYS['ann']}"}
    body = {"input": TEXT, "chapters": False}
    async with stage(tmp_path, access=Access(ring), finish=None) as on:
        jobs = on.at.runner.jobs
        submit = jobs.submit
        errors: list[Exception] = [NotReadyError("the store is full")] * 2
        errors.append(UnansweredError("the runner is gone, and perhaps the job is not"))

        async def failing(order: JobOrder) -> JobView:
            if errors:
                raise errors.pop(0)
            return await submit(order)

        jobs.submit = failing  # type: ignore[method-assign] # it fails at first
        said = [
            (await on.http.post("/v1/jobs", json=body, headers=headers)).status_code
            for _ in range(4)
        ]
        assert said == [503, 503, 503, 429]


async def test_a_speed_is_heard_and_told(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        refused = await on.http.post("/v1/jobs", json={"input": TEXT, "speed": 5})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "speed")
        usual = await on.done((await on.order(input=BOOK))["id"])
        form = {"speed": "1.25", "format": "wav"}
        files = {"file": ("book.txt", BOOK.encode())}
        ordered = await on.http.post("/v1/jobs", files=files, data=form)
        job = await on.done(ordered.json()["id"])
        assert (usual["speed"], job["speed"]) == (1.0, 1.25)
        captions = [
            (await on.http.get(f"/v1/jobs/{it['id']}/captions.json")).json() for it in (usual, job)
        ]
        at_end = [told["captions"][-1]["end_s"] for told in captions]
        assert at_end[1] == pytest.approx(at_end[0] / 1.25, abs=0.002)
        answers = [await on.http.get(f"/v1/jobs/{it['id']}/audio") for it in (usual, job)]
        lengths = [len(samples_of(answer.content)) for answer in answers]
        assert lengths[1] == round(lengths[0] / 1.25)
        assert answers[1].headers["x-audio-seconds"] == f"{lengths[1] / 24_000:.3f}"


async def test_the_api_describes_every_route(tmp_path: Path) -> None:
    async with stage(tmp_path, finish=None) as on:
        paths = (await on.http.get("/openapi.json")).json()["paths"]
        ours = {path: set(verbs) for path, verbs in paths.items() if path.startswith("/v1/jobs")}
        assert ours == {
            "/v1/jobs": {"get", "post"},
            "/v1/jobs/{job_id}": {"get", "delete"},
            "/v1/jobs/{job_id}/events": {"get"},
            "/v1/jobs/{job_id}/audio": {"get"},
            "/v1/jobs/{job_id}/pause": {"post"},
            "/v1/jobs/{job_id}/resume": {"post"},
            "/v1/jobs/{job_id}/segments": {"get"},
            "/v1/jobs/{job_id}/segments/{number}/retry": {"post"},
            "/v1/jobs/{job_id}/captions.{kind}": {"get"},
        }
        body = paths["/v1/jobs"]["post"]["requestBody"]["content"]
        assert set(body) == {"application/json", "multipart/form-data"}


@given(
    st.integers(1, 50),
    st.integers(0, 60),
    st.one_of(st.none(), st.integers(0, 60)),
)
def test_a_range_is_a_part_of_the_file_or_refused(size: int, start: int, last: int | None) -> None:
    data = bytes(range(size))
    header = f"bytes={start}-{'' if last is None else last}"
    if last is not None and last < start:
        assert wanted_range(header, size) is None
    elif start >= size:
        with pytest.raises(RangeError):
            wanted_range(header, size)
    else:
        found = wanted_range(header, size)
        assert found is not None
        expected = data[start:] if last is None else data[start : last + 1]
        assert data[slice(*found)] == expected


async def test_damaged_audio_is_spoken_again_before_a_file_is_made_of_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        job = await on.done((await on.order())["id"])
        path = f"/v1/jobs/{job['id']}"
        before = await on.http.get(f"{path}/audio")
        take = sorted((tmp_path / "jobs" / job["id"] / "takes").iterdir())[2]
        data = bytearray(take.read_bytes())
        data[len(data) // 2] ^= 0xFF
        take.write_bytes(data)
        refused = await on.http.get(f"{path}/audio", params={"format": "flac"})
        assert refused.status_code == 409
        job = await on.done(job["id"])
        assert any("damaged" in text for text in job["warnings"])
        flac = await on.http.get(f"{path}/audio", params={"format": "flac"})
        assert np.array_equal(samples_of(flac.content), samples_of(before.content))


def half_made(store: Path) -> list[Path]:
    return list(store.glob("**/*.tmp"))


async def test_a_file_whose_process_was_killed_is_made_again(tmp_path: Path) -> None:
    killed: list[FinishOrder] = []

    async def killed_once(order: FinishOrder) -> FinishAnswer:
        if not killed:
            killed.append(order)
            staged = tmp_path / "jobs" / order.job_id / "output" / ".half.tmp"
            staged.mkdir(parents=True)
            (staged / "signal").write_bytes(b"half")
            raise NotReadyError("the file's process ended with -9")
        return await finish_here(order)

    async with stage(tmp_path, finish=killed_once) as on:
        job = await on.done((await on.order())["id"])
        assert [(it["state"], it["failure"]) for it in job["files"]] == [
            ("failed", "the file's process ended with -9")
        ]
        answer = await on.http.get(f"/v1/jobs/{job['id']}/audio")
        assert answer.status_code == 200
    async with stage(tmp_path) as on:
        again = await on.http.get(f"/v1/jobs/{job['id']}/audio")
        assert again.content == answer.content
        assert half_made(tmp_path) == []
