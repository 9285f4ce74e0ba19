"""``vibevoice-serve doctor``: what follows from the facts, the probes, and the command."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from serve_app.checkup import look as look_module
from serve_app.checkup.bounded import within
from serve_app.checkup.cards import card_of, found_in
from serve_app.checkup.look import find_torch, wanted_of
from serve_app.checkup.surroundings import find_engines, look_at_collector, look_at_port
from serve_app.checkup.weights import find_weights, hub_cache
from serve_app.cli import app
from serve_app.config import load_serve_file, parse_settings
from serve_app.core.doctor import examine, reasons
from serve_app.core.finding import COLUMNS, Finding
from serve_app.core.machine import (
    Card,
    Driver,
    Engine,
    Machine,
    Port,
    Telemetry,
    Torch,
    Wanted,
    Weights,
)
from serve_app.core.vram import PUBLISHED, ModelShape, ModelSize, segment_columns
from telemetry.core.sample import CardSample
from telemetry.core.window import AgedSample, Totals
from telemetry.nvml_driver import DriverAnswer
from telemetry.snapshot import NodeSnapshot
from tests.driver.build import GIB, build, cards, environment, write_state

ROOT = Path(__file__).parents[2]
REVISION = "0123456789abcdef"
WEIGHTS = Weights("vibevoice/VibeVoice-1.5B-hf", REVISION, folder="/models/vv")
ON_CARDS = Wanted("c.yaml", "vibevoice", "nvml", None, 1.0, slots=4, weights=WEIGHTS)
PIPER = Wanted("c.yaml", "piper", "none", 2, 0.5, slots=1, device="cpu")


def card(index: int = 0, free: float = 70, total: float = 80, **more: Any) -> Card:
    sizes = {"total_bytes": int(total * GIB), "free_bytes": int(free * GIB)}
    return Card(index, f"GPU-{index}", "H100", **{**sizes, "temp_c": 40.0, **more})


def machine(wanted: Wanted = ON_CARDS, **changes: Any) -> Machine:
    """One on which the config can run, but for the changes."""
    good: dict[str, Any] = {
        "python": "3.11",
        "cpus": 16,
        "driver": Driver("575.57", "12.9"),
        "cards": (card(0), card(1)),
        "torch": Torch("2.13", "5.23", asked=True, cuda="12.8", cards=2),
        "engines": (Engine("vibevoice", "vibevoice", ()), Engine("piper", "piper", ())),
        "port": Port("127.0.0.1", 8000, "free"),
        "telemetry": Telemetry("http://127.0.0.1:4318", answers=True),
        "wanted": wanted,
    }
    return Machine(**{**good, **changes})


NO_CARDS: dict[str, Any] = {
    "driver": Driver(missing="NVML: not found"),
    "cards": (),
    "torch": Torch("2.13", "5.23", asked=True),
}


def wanted(**changes: Any) -> dict[str, Any]:
    return {"wanted": replace(ON_CARDS, **changes)}


class TestVerdict:
    def test_a_good_machine_is_good(self) -> None:
        assert {finding.level for finding in examine(machine())} == {"ok"}

    def test_piper_needs_neither_driver_nor_torch(self) -> None:
        bare = {**NO_CARDS, "torch": Torch(), "wanted": PIPER}
        assert reasons(examine(machine(**bare))) == ()

    @pytest.mark.parametrize(
        ("changes", "subject", "says", "do"),
        [
            (NO_CARDS, "driver", "not found", "nvidia-smi"),
            ({"cards": ()}, "driver", "0 cards", "lspci"),
            ({"cards": (card(0), card(1, error="GPU is lost"))}, "card 1", "lost", "Xid"),
            ({"cards": (card(0), card(1, free=5))}, "memory", "card 1 has 5.0", "nvidia-smi"),
            ({"cards": (card(free=7, total=8),)}, "memory", "needs 7.4 GiB", "nvidia-smi"),
            ({"cards": (card(free=6, total=6),)}, "memory", "needs", "larger card"),
            (wanted(replicas=3), "cards", "3 replicas need a card each; 2", "replicas"),
            ({"cpus": 2}, "CPUs", "book 2.1 CPUs; this machine has 2", "replica_cpus"),
            ({"torch": Torch()}, "torch", "not installed", "pip install 'vibevoice-serve[vibe"),
            ({"torch": Torch("2.13", "5.23", True)}, "torch", "without CUDA", "with CUDA"),
            ({"torch": Torch("2.13", "5.23", True, "12.8")}, "torch", "sees 0 of 2", "too old"),
            ({"torch": Torch("2", "5", True, problem="OSError")}, "torch", "OSError", "again"),
            ({"torch": Torch("2", None, True, "12", 2)}, "transformers", "not inst", "pip install"),
            (
                {"engines": (Engine("vibevoice", "vibevoice", ("torch",)),)},
                *("engine vibevoice", "lacks torch", "pip install 'vibevoice-serve[vibevoice]'"),
            ),
            (
                wanted(weights=replace(WEIGHTS, folder=None, problem="not in the cache")),
                *("weights", "not in the cache", f"hf download {WEIGHTS.model} --revision 0123"),
            ),
            (
                wanted(weights=Weights("/srv/vv", None, problem="there is no such folder")),
                *("weights", "no such folder", "--local-dir /srv/vv"),
            ),
            (wanted(voices=None), "voices", "no recording", "voices: {"),
            (wanted(voices=("a.wav",)), "voices", "a.wav", "paths"),
            ({"port": Port("127.0.0.1", 80, "taken")}, "port", "taken", "--port"),
            ({"port": Port("127.0.0.1", 80, "denied")}, "port", "may not", "1023"),
            ({"port": Port("10.0.0.9", 80, "foreign")}, "port", "no address", "http_options"),
        ],
    )
    def test_what_stops_it_is_named_with_what_to_do(
        self, changes: Mapping[str, Any], subject: str, says: str, do: str
    ) -> None:
        stops = reasons(examine(machine(**changes)))
        (found,) = (stop for stop in stops if stop.subject == subject)
        assert says in found.says
        assert do in found.do
        assert all(stop.do for stop in stops)

    @pytest.mark.parametrize(
        ("changes", "subject", "do"),
        [
            ({"cards": (card(0, temp_c=80.0), card(1))}, "card 0", "no new work"),
            ({"torch": Torch("2", "5", True, "12.8", 1)}, "torch", "CUDA_VISIBLE_DEVICES"),
            ({"port": Port("127.0.0.1", 8000, "ours")}, "port", "--port"),
            ({"telemetry": Telemetry(None)}, "OTLP", "OTEL_EXPORTER_OTLP_ENDPOINT"),
            ({"telemetry": Telemetry("http://x:1", answers=False)}, "OTLP", "collector"),
            (
                {"cards": (card(0, 12, 12), card(1, 12, 12)), **wanted(slots=64)},
                *("memory", "set slots: "),
            ),
            ({"engines": (Engine("vibevoice", None, None),)}, "engine vibevoice", "pip install"),
            (
                {"cards": (card(0, total_bytes=None), card(1, free_bytes=None))},
                *("card 0 holds", ""),
            ),
        ],
    )
    def test_what_only_deserves_a_note(
        self, changes: Mapping[str, Any], subject: str, do: str
    ) -> None:
        findings = examine(machine(**changes))
        assert reasons(findings) == ()
        (found,) = (finding for finding in findings if finding.subject == subject)
        assert found.level == "note"
        assert do in found.do

    def test_a_lost_card_stops_no_config_that_has_enough_others(self) -> None:
        three = (card(0), card(1, error="GPU is lost"), card(2))
        torch = Torch("2.13", "5.23", asked=True, cuda="12.8", cards=3)
        two = machine(replace(ON_CARDS, replicas=2), cards=three, torch=torch)
        assert reasons(examine(two)) == ()

    @given(
        free=st.integers(0, 90 * GIB),
        total=st.integers(4 * GIB, 90 * GIB),
        large=st.booleans(),
        dtype=st.sampled_from(["auto", "float32"]),
    )
    def test_it_runs_where_a_slot_fits(
        self, free: int, total: int, large: bool, dtype: str
    ) -> None:
        free = min(free, total)
        name = "vibevoice/VibeVoice-7B-hf" if large else WEIGHTS.model
        weights = replace(WEIGHTS, model=name)
        asked = replace(ON_CARDS, weights=weights, dtype=dtype)
        model = weights.size(dtype)
        assert model is not None
        one = replace(card(), free_bytes=free, total_bytes=total)
        stops = reasons(examine(machine(asked, cards=(one,))))
        assert bool(stops) == (model.slots_on(free, total, COLUMNS) == 0)


class TestMemory:
    @given(
        free=st.integers(0, 80 * GIB),
        more=st.integers(0, 80 * GIB),
        slots=st.integers(1, 64),
        audio_s=st.floats(1, 180),
        model=st.sampled_from(PUBLISHED),
    )
    def test_what_is_needed_is_what_fits(
        self, free: int, more: int, slots: int, audio_s: float, model: ModelSize
    ) -> None:
        total, columns = free + more, segment_columns(audio_s)
        fits = model.slots_on(free, total, columns) >= slots
        assert fits == (free >= model.bytes_for(slots, total, columns))

    def test_four_bytes_a_number_take_twice_as_much(self) -> None:
        half, full = WEIGHTS.size("bfloat16"), WEIGHTS.size("float32")
        assert half is not None
        assert full is not None
        assert full.weights_bytes == 2 * half.weights_bytes
        assert full.shape.token_bytes == 2 * half.shape.token_bytes

    def test_int8_takes_half_of_the_layers(self) -> None:
        plain, small = ON_CARDS.size, replace(ON_CARDS, int8=True).size
        assert plain is not None
        assert small is not None
        assert plain.weights_bytes - small.weights_bytes == plain.layers_bytes // 2 > 1e9
        assert small.shape == plain.shape
        fits = (plain.bytes_for(1, 8 * GIB, COLUMNS) + small.bytes_for(1, 8 * GIB, COLUMNS)) // 2
        card_that_fits_one = replace(card(), free_bytes=fits, total_bytes=8 * GIB)
        for asked, stopped in ((ON_CARDS, True), (replace(ON_CARDS, int8=True), False)):
            stops = reasons(examine(machine(asked, cards=(card_that_fits_one,))))
            assert [stop.subject for stop in stops] == ["memory"] * stopped

    def test_room_that_all_slots_have_from_the_start_counts(self) -> None:
        for static_cache_s, level in ((None, "ok"), (30.0, "ok"), (3000.0, "note")):
            asked = replace(ON_CARDS, static_cache_s=static_cache_s)
            narrow = machine(asked, cards=(card(free=20, total=24),))
            (memory,) = (found for found in examine(narrow) if found.subject == "memory")
            assert memory.level == level, memory

    def test_what_is_stored_counts_more_than_a_name(self) -> None:
        stored = replace(WEIGHTS, weights_bytes=8 * GIB, shape=ModelShape(2, 2, 8, 4))
        size = stored.size("auto")
        assert size is not None
        assert size.weights_bytes == 4 * GIB
        assert Weights("somebody/else", None).size("auto") is None


def tensors(path: Path, dtype: str = "BF16", size: int = 1000) -> None:
    """A safetensors file with one tensor."""
    head = json.dumps({"w": {"dtype": dtype, "shape": [size // 2], "data_offsets": [0, size]}})
    path.write_bytes(struct.pack("<Q", len(head)) + head.encode() + bytes(size))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A checkpoint in two files."""
    folder = tmp_path / "model"
    folder.mkdir()
    text = {
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "hidden_size": 1536,
    }
    config = {"model_type": "vibevoice", "text_config": text}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "processor_config.json").write_text("{}")
    shards = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    for name in shards.values():
        tensors(folder / name)
    return folder


class TestWeights:
    def test_a_whole_folder(self, model: Path) -> None:
        found = find_weights(str(model), None, {})
        assert found.problem is None
        assert found.weights_bytes == 2000
        assert found.shape == ModelShape(28, 2, 128, 2)

    @pytest.mark.parametrize(
        ("name", "content", "problem"),
        [
            ("model-2.safetensors", None, "model-2.safetensors is missing"),
            ("model-2.safetensors", b"x", "no safetensors file"),
            ("config.json", None, "config.json is missing"),
            ("config.json", b'{"model_type": "vibevoice"}', "-hf"),
            ("config.json", b"{", "unreadable"),
            ("processor_config.json", None, "processor_config.json is missing"),
        ],
    )
    def test_a_damaged_folder(
        self, model: Path, name: str, content: bytes | None, problem: str
    ) -> None:
        (model / name).unlink() if content is None else (model / name).write_bytes(content)
        found = find_weights(str(model), None, {})
        assert problem in (found.problem or "")
        assert "hf download" in found.fetch_command

    @given(lost=st.integers(1, 1050))
    def test_a_file_that_was_cut_off(
        self, tmp_path_factory: pytest.TempPathFactory, lost: int
    ) -> None:
        folder = tmp_path_factory.mktemp("cut")
        text = {"num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1}
        config = {"model_type": "vibevoice", "text_config": {**text, "hidden_size": 8}}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "processor_config.json").write_text("{}")
        weights = folder / "model.safetensors"
        tensors(weights)
        assert find_weights(str(folder), None, {}).problem is None
        weights.write_bytes(weights.read_bytes()[:-lost])
        assert find_weights(str(folder), None, {}).problem is not None

    def test_the_hub_s_cache_by_commit_and_by_branch(self, model: Path, tmp_path: Path) -> None:
        kept = tmp_path / "hub" / "models--some--name"
        (kept / "snapshots").mkdir(parents=True)
        model.rename(kept / "snapshots" / REVISION)
        (kept / "refs").mkdir()
        (kept / "refs" / "main").write_text(REVISION)
        variables = {"HF_HOME": str(tmp_path)}
        assert hub_cache(variables) == tmp_path / "hub"
        for revision in (REVISION, "main"):
            assert find_weights("some/name", revision, variables).problem is None
        other = find_weights("some/name", "ffff", variables)
        assert str(tmp_path) in (other.problem or "")
        assert other.fetch_command == (
            "hf download some/name --revision ffff --local-dir models/name"
        )

    def test_a_hub_model_needs_its_revision(self) -> None:
        assert "revision" in (find_weights("some/name", None, {}).problem or "")

    def test_the_tiny_checkpoint_is_read_as_the_engine_reads_it(self) -> None:
        pytest.importorskip("torch")
        from tests.tiny_vibevoice import checkpoint
        from tests.vibevoice_engine import tiny

        found = find_weights(str(checkpoint()), None, {})
        assert found.problem is None
        assert found.shape == tiny().shape
        layers = tiny().model.model.language_model.layers.parameters()
        assert found.layers_bytes == sum(4 * p.numel() for p in layers if p.dim() == 2)
        parameters = sum(p.numel() * p.element_size() for p in tiny().model.parameters())
        assert found.weights_bytes == pytest.approx(parameters, rel=0.01)


class GivenBody(ThreadingHTTPServer):
    body = b""


class Answering(BaseHTTPRequestHandler):
    """Answers every GET with what its server was given."""

    server: GivenBody

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[GivenBody]:
    made = GivenBody(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class TestSurroundings:
    @pytest.mark.parametrize(
        ("body", "state"),
        [(b'{"object": "list", "data": [], "voices": []}', "ours"), (b"hello", "taken")],
    )
    def test_who_has_the_port(self, server: GivenBody, body: bytes, state: str) -> None:
        server.body = body
        port = server.server_address[1]
        assert look_at_port("127.0.0.1", port).state == state
        assert look_at_port("127.0.0.1", free_port()).state == "free"
        assert look_at_port("192.0.2.1", port).state == "foreign"

    def test_whether_a_collector_listens(self, server: ThreadingHTTPServer) -> None:
        port = server.server_address[1]
        assert look_at_collector(None) == Telemetry(None)
        for endpoint in (f"http://127.0.0.1:{port}", f"127.0.0.1:{port}"):
            assert look_at_collector(endpoint).answers is True
        assert look_at_collector(f"http://127.0.0.1:{free_port()}").answers is False
        assert look_at_collector("http://127.0.0.1:none").answers is False

    def test_engines_by_the_package_s_own_metadata(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        info = tmp_path / "some_service-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: some-service\nVersion: 1\n"
            "Provides-Extra: piper\nProvides-Extra: vibevoice\n"
            "Requires-Dist: numpy>=2; extra == 'vibevoice'\n"
            'Requires-Dist: no-such-thing<9; extra == "vibevoice"\n'
            "Requires-Dist: numpy>=2; extra == 'piper'\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        found = {engine.kind: engine for engine in find_engines("some-service")}
        assert found["vibevoice"] == Engine("vibevoice", "vibevoice", ("no-such-thing",))
        assert found["piper"].missing == ()
        assert found["simulated"] == Engine("simulated", None, ())
        assert {engine.missing for engine in find_engines("not-installed-at-all")} == {None}

    def test_a_call_that_hangs_is_left(self) -> None:
        release = threading.Event()
        with pytest.raises(TimeoutError):
            within(0.05, release.wait)
        release.set()
        assert within(5.0, lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            within(5.0, lambda: 1 // 0)

    def test_a_torch_that_breaks_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken() -> None:
            raise OSError("libcudart.so.13 is missing")

        monkeypatch.setattr(look_module, "_ask_torch", broken)
        monkeypatch.setattr(look_module, "version_of", lambda _: "9.9")
        assert find_torch(asked=False) == Torch("9.9", "9.9")
        assert "libcudart" in (find_torch(asked=True).problem or "")


SAMPLE = CardSample(1.0, 0, "GPU-a", "H100", simulated=False)


def snapshot(*samples: CardSample, problems: tuple[str, ...] = ()) -> NodeSnapshot:
    latest = tuple(AgedSample(sample, 0.1) for sample in samples)
    return NodeSnapshot("n", "h", 1.0, "nvml", samples, latest, (), Totals(), (), problems)


class TestCards:
    def test_what_the_card_tells_and_what_it_does_not(self) -> None:
        assert card_of(SAMPLE) == Card(0, "GPU-a", "H100")
        told = replace(SAMPLE, mem_total_bytes=100, mem_used_bytes=30, mem_reserved_bytes=5)
        assert card_of(told).free_bytes == 65
        assert card_of(replace(told, mem_free_bytes=60)).free_bytes == 60

    def test_a_silent_card_is_named(self) -> None:
        found = found_in(DriverAnswer("575", None, 2), snapshot(SAMPLE, problems=("card 1 hangs",)))
        assert [known.error for known in found.cards] == [None, "does not answer; card 1 hangs"]

    def test_no_driver_says_why(self) -> None:
        found = found_in(None, snapshot(problems=("NVML: Driver Not Loaded",)))
        assert found.driver.missing == "NVML: Driver Not Loaded"


class TestWanted:
    def test_every_config_of_ours_is_understood(self) -> None:
        for path in sorted((ROOT / "configs").glob("*.yaml")):
            if "import_path" in path.read_text(encoding="utf-8"):
                asked = wanted_of(path, load_serve_file(path).settings, {})
                assert (asked.weights is None) == (asked.kind != "vibevoice")

    def test_the_production_config_lacks_nothing_but_the_weights(self) -> None:
        path = ROOT / "configs" / "vibevoice-1.5b.yaml"
        asked = wanted_of(path, load_serve_file(path).settings, {})
        (stop,) = reasons(examine(machine(asked)))
        assert stop.do.startswith(
            "hf download vibevoice/VibeVoice-1.5B-hf --revision COMMIT "
            "--local-dir /models/VibeVoice-1.5B-hf"
        )

    def test_switches_that_change_memory_are_read(self) -> None:
        engine: dict[str, Any] = {"kind": "vibevoice"}
        switched = {"int8": "torchao", "static_cache_s": 60, "dtype": "float16"}
        asked = []
        for more in ({}, switched):
            engine["options"] = {"model": "x", **more}
            found = wanted_of(Path("c"), parse_settings({"engine": engine, "cards": "none"}), {})
            asked.append((found.int8, found.static_cache_s, found.dtype))
        assert asked == [(False, None, "auto"), (True, 60, "float16")]

    def test_voices_are_files(self, tmp_path: Path) -> None:
        there, gone = tmp_path / "a.wav", tmp_path / "b.wav"
        there.touch()
        options = {"model": "x", "voices": {"a": str(there), "b": str(gone)}}
        engine = {"kind": "vibevoice", "options": options}
        settings = parse_settings({"engine": engine, "cards": "none"})
        assert wanted_of(Path("c"), settings, {}).voices == (str(gone),)


def config(folder: Path, port: int, **args: Any) -> Path:
    path = folder / "config.yaml"
    application = {"name": "a", "import_path": "serve_app.app:build", "args": args}
    path.write_text(
        json.dumps({"http_options": {"port": port}, "applications": [application]}),
        encoding="utf-8",
    )
    return path


SIMULATED = {"engine": {"kind": "simulated"}, "cards": "none", "replica_cpus": 0.1}


class TestCommand:
    def test_a_config_that_runs(self, tmp_path: Path) -> None:
        path = config(tmp_path, free_port(), **SIMULATED)
        done = CliRunner().invoke(app, ["doctor", "--config", str(path)])
        assert done.exit_code == 0, done.output
        assert "can run here" in done.output.replace("\n", "")

    def test_a_config_that_does_not(self, tmp_path: Path) -> None:
        engine = {"kind": "vibevoice", "options": {"model": "/no/where"}}
        path = config(tmp_path, free_port(), engine=engine, cards="none")
        done = CliRunner().invoke(app, ["doctor", "--json", "--config", str(path)])
        assert done.exit_code == 1
        said = json.loads(done.stdout)
        assert said["can_run"] is False
        stops = {stop["subject"]: Finding(**stop) for stop in said["reasons"]}
        assert {"weights", "voices"} <= set(stops)
        assert "--local-dir /no/where" in stops["weights"].do

    def test_torch_is_left_alone_where_nothing_needs_it(self, tmp_path: Path) -> None:
        path = config(tmp_path, free_port(), **SIMULATED)
        program = (
            "import sys\nfrom typer.testing import CliRunner\nfrom serve_app.cli import app\n"
            f"done = CliRunner().invoke(app, ['doctor', '--config', {str(path)!r}])\n"
            "print(done.exit_code, sorted({'torch', 'transformers', 'ray'} & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "0 []"

    def test_the_cards_of_a_driver(self, tmp_path: Path) -> None:
        state = tmp_path / "cards.state"
        write_state(state, cards(2))
        path = config(tmp_path, free_port(), **SIMULATED)
        program = "from serve_app.cli import main\nmain()"
        done = subprocess.run(
            [sys.executable, "-c", program, "doctor", "--json", "--config", str(path)],
            env=environment(build(tmp_path), state),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)["machine"]
        assert said["driver"]["version"] == "575.57.08"
        assert [(one["uuid"], one["temp_c"]) for one in said["cards"]] == [
            (made.uuid, float(made.temp)) for made in cards(2)
        ]
        assert {one["total_bytes"] for one in said["cards"]} == {80 * GIB}
        assert {one["free_bytes"] for one in said["cards"]} == {76 * GIB}
