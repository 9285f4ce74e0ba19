"""The voice library: what goes in comes out, everywhere, and nothing breaks the listing."""

from __future__ import annotations

import multiprocessing
import unicodedata
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.core.audio import bytes_from_pcm
from serve_app.errors import (
    ConfigError,
    InvalidInputError,
    NotFoundError,
    NotReadyError,
    ServeError,
    UnknownVoiceError,
    VoiceAudioError,
)
from serve_app.voice_file import decode_flac, decode_upload, encode_flac
from serve_app.voice_record import VoiceRecord, checked_consent, checked_name, name_key, pcm_sha256
from serve_app.voice_upload import voice_from_upload
from serve_app.voices import VoiceLibrary
from tests.unit.voice_sounds import file_of, speech

CONSENT = "CC0, spoken by nobody"
SOUNDS = [file_of(speech(1.2, 24_000, seed, -20.0), 24_000, "WAV", "PCM_16") for seed in range(4)]


@pytest.fixture(params=["file", "path", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "memory":
        memory = f"memory://voices-{uuid.uuid4().hex}/inner"
        yield memory
        fsspec.filesystem("memory").rm(memory, recursive=True)
    else:
        yield str(tmp_path / "voices") if request.param == "path" else f"file://{tmp_path}/voices"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "voices"


@pytest.fixture
def library(folder: Path) -> VoiceLibrary:
    return VoiceLibrary(str(folder))


def names(library: VoiceLibrary) -> list[str]:
    return [voice.name for voice in library.list().voices]


def test_what_goes_in_comes_out_everywhere(url: str) -> None:
    library, elsewhere = VoiceLibrary(url), VoiceLibrary(url)
    assert elsewhere.list().voices == ()
    record = library.add(" Ann ", SOUNDS[0], CONSENT)
    pcm = voice_from_upload(SOUNDS[0]).pcm

    assert record.id == f"voice_{pcm_sha256(pcm)[:24]}"
    assert (record.name, record.consent, record.source) == ("Ann", CONSENT, "WAV PCM_16")
    assert record.duration_s == len(pcm) / 24_000
    for one in (library, elsewhere):
        assert one.list().voices == (record,)
        assert one.list().faults == ()
        assert one.get(record.id) == one.find("ann") == one.find(record.id) == record
        samples = one.samples(record.id)
        assert samples.dtype == np.float32
        assert samples.shape == (len(pcm),)
        assert np.array_equal(samples * 32_768, pcm)
        assert bytes_from_pcm(decode_flac(one.audio(record.id))) == bytes_from_pcm(pcm)
        assert len(one.audio(record.id)) == record.audio_bytes

    elsewhere.delete(record.id)
    for one in (library, elsewhere):
        assert one.list().voices == ()
        for call in (one.get, one.samples, one.audio, one.delete):
            with pytest.raises(NotFoundError):
                call(record.id)
        with pytest.raises(UnknownVoiceError, match="none yet"):
            one.find("Ann")


def test_the_same_audio_is_one_voice_with_one_name(url: str) -> None:
    library = VoiceLibrary(url)
    first = library.add("Ann", SOUNDS[0], CONSENT)
    again = library.add("ANN", SOUNDS[0], "another note")
    assert again == first
    # Another container of the same samples is the same audio.
    flac = file_of(decode_upload(SOUNDS[0]).mono, 24_000, "FLAC", "PCM_16")
    assert library.add("Ann", flac, CONSENT) == first
    with pytest.raises(InvalidInputError, match=f"{first.id} already, called 'Ann'"):
        library.add("Bob", SOUNDS[0], CONSENT)
    with pytest.raises(InvalidInputError, match=f"'aNN' belongs to {first.id}"):
        library.add("aNN", SOUNDS[1], CONSENT)
    assert library.list().voices == (first,)
    second = library.add("Bob", SOUNDS[1], CONSENT)
    assert library.list().voices == (first, second)


def test_voices_are_listed_by_age(folder: Path) -> None:
    clock = iter(datetime(2026, 1, 1, tzinfo=UTC) - timedelta(days=day) for day in range(4))
    library = VoiceLibrary(str(folder), now=lambda: next(clock))
    for name, sound in zip("abcd", SOUNDS, strict=True):
        library.add(name, sound, CONSENT)
    assert names(library) == ["d", "c", "b", "a"]
    with pytest.raises(UnknownVoiceError, match="d, c, b, a"):
        library.find("e")


def test_a_full_library_takes_no_more(folder: Path) -> None:
    library = VoiceLibrary(str(folder), max_voices=2)
    first = library.add("a", SOUNDS[0], CONSENT)
    library.add("b", SOUNDS[1], CONSENT)
    with pytest.raises(InvalidInputError, match="full with 2"):
        library.add("c", SOUNDS[2], CONSENT)
    assert library.add("a", SOUNDS[0], CONSENT) == first
    library.delete(first.id)
    library.add("c", SOUNDS[2], CONSENT)
    assert names(library) == ["b", "c"]


def test_bad_uploads_leave_nothing(library: VoiceLibrary, folder: Path) -> None:
    with pytest.raises(VoiceAudioError):
        library.add("Ann", b"no audio", CONSENT)
    with pytest.raises(InvalidInputError, match="name"):
        library.add("a/b", SOUNDS[0], CONSENT)
    with pytest.raises(InvalidInputError, match="consent"):
        library.add("Ann", SOUNDS[0], " ")
    assert not folder.exists()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def rot(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def renamed(path: Path) -> None:
    text = path.read_text()
    at = text.index("voice_") + 6
    path.write_text(text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :])


def swapped(path: Path) -> None:
    other = encode_flac(voice_from_upload(SOUNDS[2]).pcm)
    record = path.with_suffix(".json")
    size = path.stat().st_size
    path.write_bytes(other)
    record.write_text(record.read_text().replace(f":{size}}}", f":{len(other)}}}"))


@pytest.mark.parametrize(
    ("suffix", "harm", "listed"),
    [
        ("json", cut, False),
        ("json", zeroed, False),
        ("json", renamed, False),
        ("flac", cut, False),
        ("flac", Path.unlink, False),
        ("flac", rot, True),
        ("flac", zeroed, True),
        ("flac", swapped, True),
    ],
)
def test_damage_is_reported_contained_and_mended(
    library: VoiceLibrary, folder: Path, suffix: str, harm: object, listed: bool
) -> None:
    record = library.add("Ann", SOUNDS[0], CONSENT)
    healthy = library.add("Bob", SOUNDS[1], CONSENT)
    assert callable(harm)
    harm(next(folder.glob(f"{record.id}.*.{suffix}")))

    for one in (library, VoiceLibrary(str(folder))):
        listing = one.list()
        assert healthy in listing.voices
        assert (record.id in {voice.id for voice in listing.voices}) == listed
        assert [fault.id for fault in listing.faults] == ([] if listed else [record.id])
        one.samples(healthy.id)
        for call in (one.samples, one.audio):
            with pytest.raises(ServeError, match="is damaged") as caught:
                call(record.id)
            assert caught.value.status == 500
            assert str(folder) not in str(caught.value)

    mended = library.add("Ann", SOUNDS[0], CONSENT)
    assert mended.id == record.id
    library.samples(mended.id)
    assert library.list().faults == ()
    assert len(list(folder.iterdir())) == 4


def test_a_damaged_voice_can_be_deleted(library: VoiceLibrary, folder: Path) -> None:
    record = library.add("Ann", SOUNDS[0], CONSENT)
    cut(next(folder.glob("*.json")))
    with pytest.raises(ServeError, match="is damaged"):
        library.get(record.id)
    library.delete(record.id)
    assert list(folder.iterdir()) == []


def test_other_files_in_the_folder_are_left_alone(library: VoiceLibrary, folder: Path) -> None:
    record = library.add("Ann", SOUNDS[0], CONSENT)
    (folder / "notes.json").write_text("{}")
    (folder / f".{record.id}.{'0' * 16}.json.{'0' * 32}.tmp").write_text("{")
    (folder / f"{record.id}.{'0' * 16}.flac").write_bytes(b"")
    (folder / "sub").mkdir()
    assert library.list().voices == (record,)
    assert library.list().faults == ()
    library.delete(record.id)
    assert library.list().voices == ()
    assert (folder / "notes.json").exists()


def test_ids_from_outside_name_no_files(library: VoiceLibrary, folder: Path) -> None:
    library.add("Ann", SOUNDS[0], CONSENT)
    secret = folder.parent / "secret.flac"
    secret.write_bytes(b"secret")
    for voice_id in ("../secret", "", "*", "voice_", str(secret), "voice_" + "0" * 24, "\0"):
        for call in (library.get, library.samples, library.audio, library.delete):
            with pytest.raises(NotFoundError):
                call(voice_id)
    assert secret.exists()


@pytest.mark.parametrize("same", ["name", "audio"])
def test_of_two_conflicting_uploads_at_once_the_later_goes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, same: str
) -> None:
    mine, theirs = VoiceLibrary(str(folder)), VoiceLibrary(str(folder))
    put = mine._shelf.put

    def put_later(record: VoiceRecord, flac: bytes) -> str:
        # Both have looked for conflicts by now, and found none.
        if same == "name":
            theirs.add("ann", SOUNDS[1], CONSENT)
        else:
            theirs.add("Bob", SOUNDS[0], CONSENT)
        return put(record, flac)

    monkeypatch.setattr(mine._shelf, "put", put_later)
    with pytest.raises(InvalidInputError, match=r"belongs to|already, called"):
        mine.add("Ann", SOUNDS[0], CONSENT)
    (kept,) = mine.list().voices
    assert kept.name == ("ann" if same == "name" else "Bob")
    mine.samples(kept.id)
    assert len(list(folder.iterdir())) == 2


def test_the_same_upload_twice_at_once_is_one_voice(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = VoiceLibrary(str(folder)), VoiceLibrary(str(folder))
    put = mine._shelf.put

    def put_later(record: VoiceRecord, flac: bytes) -> str:
        theirs.add("Ann", SOUNDS[0], CONSENT)
        return put(record, flac)

    monkeypatch.setattr(mine._shelf, "put", put_later)
    record = mine.add("Ann", SOUNDS[0], CONSENT)
    assert [voice.id for voice in theirs.list().voices] == [record.id]
    mine.samples(record.id)
    theirs.delete(record.id)
    assert list(folder.iterdir()) == []


def uploads(url: str, order: list[int], results: multiprocessing.Queue[list[str]]) -> None:
    """One process of the race: four sounds under one name, then each under its own."""
    library, kept = VoiceLibrary(url), []
    for name, sound in [*(("shared", i) for i in order), *((f"own {i}", i) for i in order)]:
        try:
            kept.append(library.add(name, SOUNDS[sound], CONSENT).name)
        except InvalidInputError:
            continue
        finally:
            assert library.list().faults == ()
    results.put(kept)


def test_processes_that_upload_at_once_corrupt_nothing(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[list[str]] = context.Queue()
    racers = [
        context.Process(target=uploads, args=(str(folder), order, results))
        for order in ([0, 1, 2, 3], [3, 2, 1, 0])
    ]
    try:
        for racer in racers:
            racer.start()
        kept = [results.get(timeout=60) for _ in racers]
        for racer in racers:
            racer.join(60)
            assert racer.exitcode == 0
    finally:
        for racer in racers:
            racer.kill()
            racer.join()
    library = VoiceLibrary(str(folder))
    listing = library.list()
    assert listing.faults == ()
    assert {name for each in kept for name in each} == {voice.name for voice in listing.voices}
    assert len({voice.id for voice in listing.voices}) == len(listing.voices) == 4
    assert len({name_key(voice.name) for voice in listing.voices}) == 4
    for voice in listing.voices:
        library.samples(voice.id)
    assert not list(folder.glob("*.tmp")) + list(folder.glob(".*"))


def test_a_store_that_fails_says_so_and_keeps_no_half(
    library: VoiceLibrary, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = library._shelf._store
    pipe = type(store._fs).pipe_file

    def full(self: object, path: str, value: bytes) -> None:
        pipe(store._fs, path, value[: len(value) // 2])
        if ".json." in path:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(store._fs), "pipe_file", full)
    with pytest.raises(NotReadyError, match="No space left on device") as caught:
        library.add("Ann", SOUNDS[0], CONSENT)
    assert str(folder) not in str(caught.value)
    monkeypatch.undo()
    assert list(folder.iterdir()) == []
    library.add("Ann", SOUNDS[0], CONSENT)


def test_a_folder_that_is_a_file_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / "voices").write_text("")
    library = VoiceLibrary(str(tmp_path / "voices"))
    assert library.list().voices == ()
    with pytest.raises(NotReadyError):
        library.add("Ann", SOUNDS[0], CONSENT)


def test_a_url_without_a_backend_is_a_named_error() -> None:
    with pytest.raises(ConfigError, match="voice folder"):
        VoiceLibrary("nosuch://voices")


def test_a_record_that_changes_in_the_store_is_read_again(
    library: VoiceLibrary, folder: Path
) -> None:
    library.add("Ann", SOUNDS[0], CONSENT)
    assert names(library) == ["Ann"]
    path = next(folder.glob("*.json"))
    path.write_text(path.read_text().replace('"Ann"', '"Annabel"'))
    assert names(library) == ["Annabel"]


@given(st.text(max_size=80))
def test_names_are_refused_or_clean(text: str) -> None:
    try:
        name = checked_name(text)
    except InvalidInputError:
        return
    assert 1 <= len(name) <= 64
    assert name == checked_name(name)
    assert name == unicodedata.normalize("NFC", name.strip())
    assert not set(name) & set("/\\")
    assert name.isprintable() or all(c.isspace() or c.isprintable() for c in name)
    assert name_key(name) == name_key(name_key(name))


@pytest.mark.parametrize("name", ["Ann", "安娜", "Zoë 2", "a" * 64, ".", "Frau Müller (alt)"])
def test_ordinary_names_are_taken(name: str) -> None:
    assert checked_name(f" {name} ") == name


@pytest.mark.parametrize(
    "name",
    ["", " ", "a" * 65, "a/b", "a\\b", "a\nb", "a\0", "a\u202eb", "\ud800", "VOICE_" + "a" * 24],
)
def test_unfit_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        checked_name(name)
    assert caught.value.param == "name"


@pytest.mark.parametrize("note", ["", " \n", "a" * 2001, "a\0b", "\ud800"])
def test_unfit_notes_are_refused(note: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        checked_consent(note)
    assert caught.value.param == "consent"


@given(st.text(max_size=300))
def test_consent_notes_survive_the_record(text: str) -> None:
    try:
        consent = checked_consent(text)
    except InvalidInputError:
        return
    record = VoiceRecord(
        id="voice_" + "a" * 24,
        name="Ann",
        consent=consent,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        duration_s=1.0,
        source="WAV PCM_16",
        source_rate_hz=24_000,
        source_channels=1,
        sha256="a" * 64,
        audio_bytes=1,
    )
    assert VoiceRecord.model_validate_json(record.model_dump_json()) == record


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), level=st.floats(-35.0, -15.0))
def test_round_trip_is_exact_for_any_voice(seed: int, level: float) -> None:
    folder = f"memory://voices-{uuid.uuid4().hex}"
    data = file_of(speech(1.1, 16_000, seed, level), 16_000, "WAV", "FLOAT")
    library = VoiceLibrary(folder)
    try:
        record = library.add("Ann", data, CONSENT)
        pcm = (library.samples(record.id) * 32_768).astype(np.int16)
        assert pcm_sha256(pcm) == record.sha256
        assert np.array_equal(pcm, voice_from_upload(data).pcm)
    finally:
        fsspec.filesystem("memory").rm(folder, recursive=True)
