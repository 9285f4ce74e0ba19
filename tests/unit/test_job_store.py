"""The store: whole files or none, one owner, damage noticed, and jobs rebuilt from files alone."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fsspec import AbstractFileSystem, register_implementation
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.core.audio import Pcm
from serve_app.core.job_status import Status
from serve_app.core.job_take import PartInfo, TakeInfo, WordCheck, anchors_of, spans
from serve_app.core.letter_clock import Anchor
from serve_app.core.plan import PlannedSegment
from serve_app.core.segment import Boundary, Utterance, make_segment
from serve_app.core.stitch import Stitcher, StitchRules
from serve_app.engines.base import Chunk
from serve_app.engines.simulated_faults import FaultRule
from serve_app.errors import ConfigError, NotReadyError
from serve_app.jobs.cache import SegmentCache
from serve_app.jobs.folder import Folder
from serve_app.jobs.lease import Lease, LeaseLostError
from serve_app.jobs.names import TakeName
from serve_app.jobs.recorder import Recorder
from serve_app.jobs.store import JobStore
from serve_app.jobs.take_file import (
    DamagedTakeError,
    Header,
    PcmPacker,
    joined,
    read_take,
    unpack_pcm,
    write_take,
)
from tests.unit.job_scene import FAST, RULES, TEXT, FailingFolder, is_take, scene
from tests.unit.test_job_policies import Clock

KEY = "0" * 31 + "1"


def noise(samples: int, seed: int = 0) -> Pcm:
    pcm: Pcm = np.random.default_rng(seed).normal(0, 3000, samples).astype(np.int16)
    return pcm


def packed(pcm: Pcm) -> bytes:
    packer = PcmPacker()
    packer.add(pcm)
    return packer.close()


def header(samples: int, key: str = KEY) -> Header:
    part = PartInfo(Boundary.TURN, None, samples, 0, samples, 0, 0)
    return Header(TakeInfo(key, "1", (part,)), (((samples, "a"),),))


@given(cuts=st.lists(st.integers(0, 5000), max_size=6))
def test_any_chunking_packs_to_the_same_bytes(cuts: list[int]) -> None:
    pcm = noise(5000)
    packer = PcmPacker()
    for piece in np.split(pcm, sorted(cuts)):
        packer.add(piece)
    flac = packer.close()
    assert flac == packed(pcm)
    assert (unpack_pcm(flac) == pcm).all()
    halves = (packed(pcm[:1234]), packed(pcm[1234:]))
    assert (unpack_pcm(joined(halves)) == pcm).all()


@given(data=st.data())
def test_a_take_with_one_wrong_byte_or_without_its_end_is_noticed(data: st.DataObject) -> None:
    pcm = noise(3000)
    whole = write_take(header(len(pcm)), packed(pcm))
    assert (read_take(whole, KEY).pcm == pcm).all()
    with pytest.raises(DamagedTakeError, match="another segment"):
        read_take(whole, "other")
    at = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[at] ^= data.draw(st.integers(1, 255))
    for broken in (bytes(flipped), whole[:at]):
        with pytest.raises(DamagedTakeError):
            read_take(broken, KEY)


@settings(deadline=None, max_examples=50)
@given(
    pieces=st.lists(
        st.tuples(
            st.integers(0, 60_000),  # silence before
            st.integers(0, 9_000),  # sound
            st.integers(0, 60_000),  # silence behind
            st.sampled_from(list(Boundary)),
            st.none() | st.floats(0, 3),
        ),
        min_size=1,
        max_size=5,
    ),
    chunk=st.integers(700, 50_000),
)
def test_the_places_told_without_audio_are_those_of_the_stitcher(
    pieces: list[tuple[int, int, int, Boundary, float | None]], chunk: int
) -> None:
    stitcher = Stitcher(StitchRules(), {})
    takes, expected = [], []
    for lead, sound, tail, before, pause_s in pieces:
        pcm = np.concatenate([np.zeros(lead), noise(sound), np.zeros(tail)]).astype(np.int16)
        said = (Utterance("A", "Some words.", before),)
        recorder = Recorder(PlannedSegment(make_segment(0, said, pause_s), KEY, 0))
        stitcher.begin(before, pause_s)
        for start in range(0, len(pcm), chunk):
            recorder.add([Chunk(pcm[start : start + chunk].tobytes(), None)])
        stitcher.feed(pcm, None)
        stitcher.end()
        heard = recorder.close("stop", wall_s=1.0, replica="r", card=None, revision="1")
        takes.append(TakeInfo(KEY, "1", (heard.info,)))
        expected.append(stitcher.last_span)
    for told, true in zip(spans(takes), expected, strict=True):
        if true is None:
            assert told.start == told.end
        else:
            assert (told.start, told.end) == (true.start, true.end)


@given(
    st.lists(
        st.builds(
            PartInfo,
            before=st.sampled_from(list(Boundary)),
            pause_s=st.none() | st.floats(0, 3),
            samples=st.just(90_000),
            source_start=st.integers(0, 9_000),
            kept=st.just(0) | st.integers(1_000, 72_000),
            lead=st.integers(0, 500),
            tail=st.integers(0, 500),
            letters=st.integers(3, 40),
            check=st.none() | st.builds(WordCheck, st.just("x"), st.just(1), st.just(1)),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_anchors_of_parts_lie_where_the_parts_lie(parts: list[PartInfo]) -> None:
    heard = [
        replace(part, check=part.check and replace(part.check, anchors="2:500")) for part in parts
    ]
    apart = list(spans(TakeInfo(KEY, "1", (part,)) for part in heard))
    origin = next((it.start for it, part in zip(apart, heard, strict=True) if part.kept), 0)
    expected, letters = [], 0
    for part, place in zip(heard, apart, strict=True):
        start_s = (place.start - origin) / 24_000
        if part.kept and letters:
            expected.append(Anchor(letters, start_s))
        if part.kept and part.check:
            at_s = start_s + 0.5 - part.source_start / 24_000
            expected.append(Anchor(letters + 2, max(0.0, at_s)))
        letters += part.letters
    found = anchors_of(heard)
    assert [it.letters for it in found] == [it.letters for it in expected]
    assert [it.at_s for it in found] == pytest.approx([it.at_s for it in expected])


def test_takes_of_an_older_version_have_no_anchors() -> None:
    part = header(9).info.parts[0]
    assert anchors_of((part, replace(part, letters=7))) == ()
    assert read_take(write_take(header(9), packed(noise(9))), KEY).header.info.word_recall is None


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    urls = {"local": str(tmp_path), "memory": f"memory://{uuid.uuid4().hex}"}
    return Folder(urls[request.param])


def test_a_folder_keeps_whole_files(folder: Folder) -> None:
    assert folder.files("a") == {}
    folder.write("a/b.txt", b"one")
    folder.write("a/b.txt", b"three")
    assert folder.files("a") == {"b.txt": 5}
    assert folder.folders("") == ["a"]
    assert folder.read("a/b.txt", 1, 3) == b"hr"
    assert folder.create("a/c", b"x")
    assert not folder.create("a/c", b"y")
    assert folder.read("a/c") == b"x"
    folder.remove("a/c")
    folder.remove("a/c")
    with pytest.raises(FileNotFoundError):
        folder.read("a/c")
    folder.remove_tree("a")
    assert folder.folders("") == []


def test_a_store_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigError):
        Folder("nosuch://x")


def test_a_full_disk_is_told_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = FailingFolder(str(tmp_path), lambda _path: True)
    with pytest.raises(NotReadyError, match="it is full"):
        folder.write("a/b", b"12345678")
    assert list((tmp_path / "a").iterdir()) == []
    (tmp_path / "a" / ".b.x.tmp").write_bytes(b"1")
    assert folder.files("a") == {}
    folder.sweep("a")
    assert list((tmp_path / "a").iterdir()) == []


def lease(folder: Folder, clock: Clock, proc: Path) -> Lease:
    return Lease(folder, clock, ttl_s=10.0, proc=proc)


def test_a_silent_owner_is_replaced_and_then_may_not_write(folder: Folder, tmp_path: Path) -> None:
    clock, nowhere = Clock(), tmp_path / "no-proc"
    old, new = lease(folder, clock, nowhere), lease(folder, clock, nowhere)
    assert old.acquire()
    assert old.epoch == 1
    assert not new.acquire()
    clock.now_s += 6.5
    with pytest.raises(NotReadyError, match="could not be renewed"):
        _ = old.epoch
    old.renew()
    assert old.epoch == 1
    assert not new.acquire()
    clock.now_s += 9.9
    assert not new.acquire()
    clock.now_s += 0.2
    assert new.acquire()
    assert new.epoch == 2
    with pytest.raises(NotReadyError):
        _ = old.epoch
    with pytest.raises(LeaseLostError, match="taken over"):
        old.renew()
    with pytest.raises(LeaseLostError):
        _ = old.epoch
    old.release()
    assert new.epoch == 2


def test_an_owner_that_leaves_or_is_seen_dead_is_replaced_at_once(
    folder: Folder, tmp_path: Path
) -> None:
    clock = Clock()
    first, second = lease(folder, clock, Path("/proc")), lease(folder, clock, Path("/proc"))
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    gone = json.loads(folder.read("owner/00000002.json"))
    gone["holder"]["pid"] = child
    folder.write("owner/00000002.json", json.dumps(gone).encode())
    third = lease(folder, clock, Path("/proc"))
    assert third.acquire()
    assert third.epoch == 3
    folder.write("owner/00000003.json", b"")  # died before it could say who it was
    fourth = lease(folder, clock, Path("/proc"))
    assert not fourth.acquire()
    clock.now_s += 10.0
    assert fourth.acquire()


def test_only_one_of_many_becomes_the_owner(folder: Folder, tmp_path: Path) -> None:
    clock = Clock()
    leases = [lease(folder, clock, tmp_path) for _ in range(5)]
    assert [one.acquire() for one in leases].count(True) == 1


class PlainFileSystem(MemoryFileSystem):  # type: ignore[misc] # fsspec tells no types
    """A backend without a way of its own to create: it looks first, and then writes."""

    protocol = "plain"
    pipe_file = AbstractFileSystem.pipe_file


def test_where_several_can_create_only_one_becomes_the_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_implementation("plain", PlainFileSystem, clobber=True)
    folder = Folder(f"plain://{uuid.uuid4().hex}")
    assert not folder.excludes
    clock = Clock()
    first, second = lease(folder, clock, tmp_path), lease(folder, clock, tmp_path)
    looked: list[str] = []

    def exists(path: str, **_options: object) -> bool:
        looked.append(path)
        if len(looked) == 1:
            assert not second.acquire()  # it comes in between, and is written over
        return False

    monkeypatch.setattr(folder._fs, "exists", exists)
    assert not first.acquire()
    assert len(looked) == 2
    assert [one.acquire() for one in (first, second)] == [False, False]
    clock.now_s += 2.5
    assert [one.acquire() for one in (second, first)] == [False, True]
    first.renew()
    assert first.epoch == 1


def test_an_owner_whose_file_somebody_else_has_written_stops(
    folder: Folder, tmp_path: Path
) -> None:
    one = lease(folder, Clock(), tmp_path)
    assert one.acquire()
    said = json.loads(folder.read("owner/00000001.json"))
    folder.write("owner/00000001.json", json.dumps({**said, "nonce": "another"}).encode())
    with pytest.raises(LeaseLostError):
        one.renew()
    one.release()
    assert json.loads(folder.read("owner/00000001.json"))["nonce"] == "another"


async def test_a_store_busy_with_takes_holds_up_no_renewal(tmp_path: Path) -> None:
    async with scene(tmp_path, lease_ttl_s=0.5) as at:
        go = threading.Event()
        busy = [asyncio.create_task(at.runner._crew.io(go.wait, 20)) for _ in range(20)]
        owner = tmp_path / "owner" / "00000001.json"
        try:
            async with asyncio.timeout(10):
                while json.loads(owner.read_bytes())["beat"] < 3:
                    await asyncio.sleep(0.02)
        finally:
            go.set()
            await asyncio.gather(*busy)


def test_what_a_replaced_runner_writes_late_never_counts(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    epoch = 2
    store = JobStore(folder, lambda: epoch)
    pcm = noise(1000)
    newer = store.keep("job_" + "a" * 24, 0, 0, header(1000), packed(pcm))
    epoch = 1
    store.keep("job_" + "a" * 24, 0, 0, header(1000), packed(noise(1000, 1)))
    epoch = 3
    assert store.takes("job_" + "a" * 24)[0] == newer


def test_the_cache_never_answers_with_another_key_and_keeps_its_size(folder: Folder) -> None:
    hits: list[bool] = []
    keys = [f"{number:032x}" for number in range(5)]
    flac = packed(noise(2000))
    one = len(write_take(header(2000, keys[0]), flac))
    cache = SegmentCache(folder, 3 * one + 200, hits.append)
    cache.load()
    for key in keys[:3]:
        cache.put(header(2000, key), flac)
    assert cache.get(keys[0]) is not None
    cache.put(header(2000, keys[3]), flac)
    assert cache.get(keys[1]) is None  # the least recently used
    assert cache.size_bytes <= 3 * one + 200
    cache.save()
    again = SegmentCache(folder, 3 * one + 200, hits.append)
    again.load()
    again.put(header(2000, keys[4]), flac)
    assert again.get(keys[2]) is None
    folder.write(f"cache/{keys[3]}.take", write_take(header(2000, keys[0]), flac))
    assert again.get(keys[3]) is None
    found = again.get(keys[0])
    assert found is not None
    assert found[0].info.key == keys[0]
    assert hits == [True, False, False, False, True]
    again.put(header(2000, keys[3]), flac * 10)
    doubtful = header(2000, keys[3])
    part = replace(doubtful.info.parts[0], findings=("odd",))
    again.put(replace(doubtful, info=replace(doubtful.info, parts=(part,))), flac)
    assert again.get(keys[3]) is None


async def test_a_restart_goes_on_where_it_was_and_speaks_nothing_twice(tmp_path: Path) -> None:
    slow = replace(FAST, first_chunk_s=0.02)
    async with scene(tmp_path / "a") as at:
        job = await at.submit()
        await at.done(job)
        undisturbed = await at.heard(job)
    async with scene(tmp_path / "b", [slow] * 2) as at:
        job = await at.submit()
        await at.until(job, lambda view: view.done >= 4)
        await at.runner.jobs.pause(job)
    store = JobStore(Folder(str(tmp_path / "b")), lambda: 0)
    kept = {name.number for name in store.takes(job)}
    async with scene(tmp_path / "b", [slow] * 2) as at:
        sent: set[int] = set()
        at.cards.on_task = lambda task: sent.add(task.tag)
        view = await at.runner.jobs.get(job)
        assert view.status is Status.PAUSED
        assert view.done == len(kept) >= 4
        await at.runner.jobs.resume(job)
        view = await at.done(job)
        assert sent == set(range(view.segments)) - kept
        assert await at.heard(job) == undisturbed
    async with scene(tmp_path / "b") as at:
        assert (await at.runner.jobs.get(job)).status is Status.COMPLETE
        assert await at.heard(job) == undisturbed
        assert at.cards.spoken == []


async def test_damage_is_noticed_when_it_is_read_and_spoken_again(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        job = await at.submit()
        await at.done(job)
        undisturbed = await at.heard(job)
    takes = sorted((tmp_path / "jobs" / job / "takes").iterdir())
    flipped = bytearray(takes[3].read_bytes())
    flipped[len(flipped) // 2] ^= 1
    takes[3].write_bytes(flipped)
    takes[5].write_bytes(takes[5].read_bytes()[:-7])
    takes[7].unlink()
    async with scene(tmp_path) as at:
        await at.done(job)
        assert sorted(task.tag for task in at.cards.spoken) == [5, 7]
        assert await at.heard(job) == undisturbed
        assert sorted(task.tag for task in at.cards.spoken) == [3, 5, 7]
        view = await at.runner.jobs.get(job)
        assert "damaged or missing, segments 5, 7" in view.warnings[0]
        assert "segment 3 was damaged" in view.warnings[1]
    takes[9].unlink()
    async with scene(tmp_path) as at:
        await at.done(job)
        assert "damaged or missing, segments 9;" in (await at.runner.jobs.get(job)).warnings[2]


async def test_takes_that_a_paused_job_no_longer_has_are_told(tmp_path: Path) -> None:
    async with scene(tmp_path, [replace(FAST, first_chunk_s=0.02)]) as at:
        job = await at.submit()
        await at.until(job, lambda view: view.done >= 4)
        await at.runner.jobs.pause(job)
        async with asyncio.timeout(20):
            while job in at.runner._runs:
                await asyncio.sleep(0.01)
        live = await at.runner._shelf.get(job)
        live.dirty = True
        await at.runner._crew.save(live)
    takes = sorted((tmp_path / "jobs" / job / "takes").iterdir())
    takes[0].write_bytes(b"VVTAKE1")
    takes[1].unlink()
    async with scene(tmp_path) as at:
        told = (await at.runner.jobs.get(job)).warnings
        assert "segments 0;" in told[0]
        assert "of 1 segments" in told[1]


class BackendError(Exception):
    """What a backend's client library raises: no OSError, and no class that we know."""


@pytest.mark.parametrize(
    "method", ["read", "write", "create", "remove", "remove_tree", "files", "blocks", "adopt"]
)
def test_whatever_a_backend_raises_means_that_the_store_failed(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(f"memory://{uuid.uuid4().hex}")
    (tmp_path / "made").write_bytes(b"made")

    def fail(*_args: object, **_options: object) -> None:
        raise BackendError("/secret/path")

    for name in ("cat_file", "pipe_file", "put_file", "ls", "mv", "open", "rm_file", "rm"):
        monkeypatch.setattr(folder._fs, name, fail)
    calls: dict[str, Callable[[], object]] = {
        "write": lambda: folder.write("a/b", b"x"),
        "create": lambda: folder.create("a/b", b"x"),
        "blocks": lambda: next(folder.blocks("a/b", 0, 1, 1)),
        "adopt": lambda: folder.adopt(tmp_path / "made", "a/b"),
    }
    call: Callable[[], object] = calls.get(method, lambda: getattr(folder, method)("a/b"))
    with pytest.raises(NotReadyError, match=r"failed: BackendError$"):
        call()


async def test_a_lease_that_is_no_longer_renewed_ends_the_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_lease: Lease) -> None:
        raise BackendError

    monkeypatch.setattr(Lease, "renew", fail)
    async with scene(tmp_path, lease_ttl_s=0.5) as at:
        async with asyncio.timeout(20):
            assert at.runner._life is not None
            await at.runner._life
        with pytest.raises(NotReadyError, match="renewing the lease failed"):
            at.runner.health()


async def test_a_run_that_fails_says_so_in_its_job_and_the_next_one_goes_on(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        real, failed = at.runner._crew.store.keep, 0

        def keep(job_id: str, number: int, edition: int, header: Header, flac: bytes) -> TakeName:
            nonlocal failed
            if number == 3 and not failed:
                failed += 1
                raise BackendError
            return real(job_id, number, edition, header, flac)

        at.runner._crew.store.keep = keep  # type: ignore[method-assign] # it fails once
        job = await at.submit()
        waiting = await at.until(job, lambda view: view.status is Status.WAITING)
        assert "its run failed (BackendError)" in waiting.reason
        assert (await at.done(job)).status is Status.COMPLETE


@pytest.mark.parametrize(
    ("error", "said"), [(None, "it is full"), (BackendError("no"), "BackendError")]
)
async def test_a_store_that_fails_makes_the_job_wait_and_nothing_is_lost(
    tmp_path: Path, error: Exception | None, said: str
) -> None:
    full = False
    folder = FailingFolder(str(tmp_path), lambda path: full and is_take(path), error)
    slow = replace(FAST, first_chunk_s=0.01)
    async with scene(folder, [slow] * 2) as at:
        job = await at.submit()
        await at.until(job, lambda view: view.done >= 3)
        full = True
        view = await at.until(job, lambda view: view.status is Status.WAITING)
        assert said in view.reason
        full = False
        view = await at.done(job)
        assert view.status is Status.COMPLETE
        tags = [task.tag for task in at.cards.spoken]
        assert set(tags) == set(range(view.segments))
        assert len(tags) <= view.segments + at.runner.flights.twins


async def test_what_waits_for_a_full_disk_is_no_more_than_was_in_the_air(tmp_path: Path) -> None:
    full = True
    folder = FailingFolder(str(tmp_path), lambda path: full and is_take(path))
    rules = replace(RULES, look_ahead_per_place=8)
    async with scene(folder, [replace(FAST, first_chunk_s=0.02)] * 2, rules=rules) as at:
        job = await at.submit()
        await at.until(job, lambda view: view.status is Status.WAITING)
        pool = at.runner._crew.pool
        async with asyncio.timeout(20):
            while pool.used or pool.waiting:
                await asyncio.sleep(0.01)
        assert 0 < len({task.tag for task in at.cards.spoken}) <= 2 * pool.width
        full = False
        view = await at.done(job)
        assert view.done == view.segments
        assert len(at.cards.spoken) <= view.segments + at.runner.flights.twins


async def test_a_store_that_can_not_be_written_accepts_no_job(tmp_path: Path) -> None:
    folder = FailingFolder(str(tmp_path), lambda path: "job.json" in path)
    async with scene(folder) as at:
        with pytest.raises(NotReadyError, match="it is full"):
            await at.submit()
        assert await at.runner.jobs.list() == ()
    async with scene(tmp_path) as at:
        assert await at.runner.jobs.list() == ()


async def test_a_replaced_runner_stops_and_the_new_one_finishes(tmp_path: Path) -> None:
    slow = replace(FAST, real_time_factor=0.05)
    async with scene(tmp_path, [slow] * 2, lease_ttl_s=1.0) as at:
        job = await at.submit()
        await at.until(job, lambda view: view.done >= 1)
        # Another machine took over while this one was cut off from the store.
        taker = Folder(str(tmp_path))
        holder = {"holder": {"space": "elsewhere"}, "beat": 0, "released": False}
        assert taker.create("owner/00000002.json", json.dumps(holder).encode())
        async with asyncio.timeout(20):
            while True:
                try:
                    at.runner.health()
                except NotReadyError:
                    break
                await asyncio.sleep(0.05)
            while at.cards.running:
                await asyncio.sleep(0.01)
        with pytest.raises(NotReadyError, match="taken over"):
            await at.runner.jobs.get(job)
    (tmp_path / "owner" / "00000002.json").write_text(json.dumps({"released": True}))
    async with scene(tmp_path) as at:
        assert (await at.done(job)).status is Status.COMPLETE


async def test_the_same_text_again_costs_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path, cache_bytes=10**8) as at:
        first = await at.submit()
        await at.done(first)
        spoken = len(at.cards.spoken)
        second = await at.submit("A new beginning, quite unlike the old one.\n\n" + TEXT)
        view = await at.done(second)
        assert view.cached == sum(at.lookups)
        assert view.cached >= view.segments // 2
        assert len(at.cards.spoken) == spoken + view.segments - view.cached
        with_cache = await at.heard(second)
    async with scene(tmp_path / "plain") as at:
        job = await at.submit("A new beginning, quite unlike the old one.\n\n" + TEXT)
        await at.done(job)
        segments = await at.runner.jobs.segments(job)
        assert segments[-1].end_s == pytest.approx(len(with_cache) / 48_000, abs=1e-6)


async def test_a_split_for_lack_of_memory_is_not_the_take_of_its_key(tmp_path: Path) -> None:
    short = FaultRule("oom", tag=1, times=RULES.speaking.attempts)
    async with scene(tmp_path, [replace(FAST, faults=(short,))], cache_bytes=10**8) as at:
        first = await at.submit()
        await at.done(first)
        assert [len(it.parts) for it in await at.runner.jobs.segments(first)][:3] == [1, 2, 1]
        second = await at.submit()
        view = await at.done(second)
        assert view.cached == view.segments - 1
        assert len((await at.runner.jobs.segments(second))[1].parts) == 1


async def test_old_jobs_go_by_age_and_then_by_size(tmp_path: Path) -> None:
    now = 1_000.0
    rules = replace(RULES, wall=lambda: now, retention_s=0.01, max_age_s=50.0, loaded_jobs=1)
    async with scene(tmp_path, rules=rules) as at:
        jobs = []
        for number in range(3):
            now = 1_000.0 + 20 * number
            jobs.append(await at.submit(f"Job number {number} is short."))
            await at.done(jobs[-1])
        now = 1_055.0
        async with asyncio.timeout(20):
            while len(await at.runner.jobs.list()) > 2:
                await asyncio.sleep(0.01)
        assert [view.id for view in await at.runner.jobs.list()] == jobs[:0:-1]
    small = replace(rules, max_bytes=1, max_age_s=1e9)
    async with scene(tmp_path, rules=small) as at:
        async with asyncio.timeout(20):
            while await at.runner.jobs.list():
                await asyncio.sleep(0.01)
        assert not list((tmp_path / "jobs").glob("*/*"))
