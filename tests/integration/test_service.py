"""The whole path on a real Ray Serve: HTTP in, several replicas, audio out."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import soundfile
from prometheus_client.parser import text_string_to_metric_families

from serve_app.engines.simulated_code import segments_heard
from tests.integration.conftest import Cluster
from tests.processes import pids_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PATIENCE_S = 100.0
SCENE = "\n".join(
    f"{('Lily', 'Jeyes', 'Farncombe', 'Nurse')[n % 4]}: This is turn number {n} of a long and "
    f"quarrelsome scene, in which nobody lets anybody finish; turn {n} ends here."
    for n in range(40)
)
SIMULATED_BODY = {"model": "simulated", "voice": "auto", "response_format": "pcm"}
PIPER_TEXT = "\n".join(
    f"{'Lily' if n % 2 else 'Jeyes'}: Line {n} of this little play is spoken by somebody "
    "who would much rather be at the seaside with a cup of tea and a newspaper."
    for n in range(16)
)


def wait_until(holds: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.05)


def outcome_of(http: httpx.Client, request_id: str, prefix: str = "") -> dict[str, Any]:
    body: dict[str, Any] = http.get(f"{prefix}/v1/audio/speech/{request_id}").json()
    return body


def speak(http: httpx.Client, text: str, **more: Any) -> np.ndarray:
    answer = http.post("/v1/audio/speech", json={**SIMULATED_BODY, "input": text, **more})
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, "<i2")


def test_every_segment_is_heard_once_and_in_order(http: httpx.Client) -> None:
    answer = http.post("/v1/audio/speech", json={**SIMULATED_BODY, "input": SCENE})
    heard = segments_heard(np.frombuffer(answer.content, "<i2"))
    segments = int(answer.headers["x-segments"])
    assert segments > 10
    assert [segment.tag for segment in heard] == list(range(segments))
    assert all(segment.complete for segment in heard)
    outcome = outcome_of(http, answer.headers["x-request-id"])
    assert outcome["status"] == "complete"
    assert outcome["segments_done"] == segments
    assert len(outcome["replicas"]) == 3
    assert sum(outcome["replicas"].values()) == segments
    assert len(outcome["cards"]) == 3


def test_sound_leaves_while_later_segments_are_being_spoken(http: httpx.Client) -> None:
    with http.stream("POST", "/v1/audio/speech", json={**SIMULATED_BODY, "input": SCENE}) as answer:
        chunks = answer.iter_raw()
        assert len(next(chunks)) > 0
        outcome = outcome_of(http, answer.headers["x-request-id"])
        assert outcome["status"] == "running"
        assert outcome["segments_done"] < outcome["segments"]
        assert sum(map(len, chunks)) > 0


@pytest.mark.parametrize(
    ("prefix", "title", "text"),
    [
        ("", "ServeReplica:vibevoice:Synth", SCENE),
        ("/piper", "ServeReplica:piper:Synth", PIPER_TEXT),
    ],
)
def test_a_killed_replica_changes_no_byte(
    cluster: Cluster, http: httpx.Client, prefix: str, title: str, text: str
) -> None:
    model = http.get(f"{prefix}/v1/models").json()["data"][0]["id"]
    body = {"model": model, "voice": "auto", "response_format": "pcm", "input": text}
    undisturbed = http.post(f"{prefix}/v1/audio/speech", json=body).content
    # A kill between two of the replica's segments disturbs nobody, and is tried again.
    for _ in range(3):
        before = pids_of(title)
        disturbed, outcome = speak_while_killed(http, prefix, body, before[0])
        assert outcome["status"] == "complete"
        assert disturbed == undisturbed
        wait_until_replaced(title, before)
        if outcome["retries"] >= 1:
            return
    pytest.fail("no kill met a replica that spoke")


def speak_while_killed(
    http: httpx.Client, prefix: str, body: dict[str, Any], pid: int
) -> tuple[bytes, dict[str, Any]]:
    """The samples of a request in whose course a process is killed, and what became of it."""
    with http.stream("POST", f"{prefix}/v1/audio/speech", json=body) as answer:
        request_id = answer.headers["x-request-id"]
        chunks = answer.iter_raw()
        heard = next(chunks)
        wait_until(lambda: outcome_of(http, request_id, prefix)["segments_done"] >= 1)
        os.kill(pid, signal.SIGKILL)
        heard += b"".join(chunks)
    return heard, outcome_of(http, request_id, prefix)


def wait_until_replaced(title: str, before: list[int]) -> None:
    """Wait until another process stands in for the first of those that were there."""
    wait_until(lambda: len(set(pids_of(title)) - {before[0]}) >= len(before))


def test_a_bad_take_is_replaced_and_told(http: httpx.Client) -> None:
    text = f"{SCENE}\nLily: My voice is hoarse today, and I can hardly speak at all, my dear."
    answer = http.post("/v1/audio/speech", json={**SIMULATED_BODY, "input": text})
    heard = segments_heard(np.frombuffer(answer.content, "<i2"))
    segments = int(answer.headers["x-segments"])
    assert [segment.tag for segment in heard] == list(range(segments))
    outcome = outcome_of(http, answer.headers["x-request-id"])
    assert outcome["retries"] == 1
    assert len(outcome["retried_segments"]) == 1


def test_a_stream_that_fails_is_cut_off_and_says_why(http: httpx.Client) -> None:
    text = f"{SCENE}\nLily: There was an earthquake in the night, and the house fell down."
    with (
        pytest.raises(httpx.RemoteProtocolError),
        http.stream("POST", "/v1/audio/speech", json={**SIMULATED_BODY, "input": text}) as answer,
    ):
        request_id = answer.headers["x-request-id"]
        for _ in answer.iter_raw():
            pass
    outcome = outcome_of(http, request_id)
    assert outcome["status"] == "failed"
    assert "could not be spoken" in outcome["error"]
    assert "earthquake" not in outcome["error"]


def test_a_failure_before_the_first_sound_is_an_http_error(http: httpx.Client) -> None:
    answer = http.post(
        "/v1/audio/speech", json={**SIMULATED_BODY, "input": "An earthquake woke us."}
    )
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "segment_failed"


def test_a_client_that_leaves_frees_every_slot(http: httpx.Client) -> None:
    with http.stream(
        "POST",
        "/v1/audio/speech",
        json={**SIMULATED_BODY, "input": SCENE + "\nLily: Until eternity, my dear old friend."},
    ) as answer:
        request_id = answer.headers["x-request-id"]
        next(answer.iter_raw())
    wait_until(lambda: outcome_of(http, request_id)["status"] == "cancelled")
    wait_until(lambda: sum(card["busy"] for card in http.get("/get_metrics").json()["cards"]) == 0)
    assert len(segments_heard(speak(http, SCENE))) > 10


def test_metrics_show_all_cards_and_the_last_syntheses(http: httpx.Client) -> None:
    speak(http, SCENE)
    wait_until(lambda: len(http.get("/get_metrics").json()["inference"]) == 20)
    body = http.get("/get_metrics").json()
    assert {card["uuid"] for card in body["gpu"]} == {card["uuid"] for card in body["cards"]}
    assert len(body["cards"]) == 3
    assert all(card["simulated"] and not card["stale"] for card in body["cards"])
    last = body["inference"][-1]
    assert last["simulated"]
    assert last["output_duration"] > 0
    assert last["rtf"] == pytest.approx(last["inference_time"] / last["output_duration"])
    assert last["card_uuid"] in {card["uuid"] for card in body["cards"]}
    assert body["totals"]["cards"] == body["totals"]["simulated_cards"] == 3


def test_one_trace_from_the_proxy_to_each_synthesis(cluster: Cluster, http: httpx.Client) -> None:
    answer = http.post("/v1/audio/speech", json={**SIMULATED_BODY, "input": SCENE})
    trace_id = outcome_of(http, answer.headers["x-request-id"])["trace_id"]
    segments = int(answer.headers["x-segments"])

    def spans() -> list[Any]:
        return [span for span in cluster.otlp.spans() if span.trace_id == trace_id]

    def spoken() -> list[Any]:
        return [span for span in spans() if span.name.startswith("text_to_speech")]

    assert cluster.otlp.wait_for(lambda: len(spoken()) == segments, PATIENCE_S)
    assert cluster.otlp.wait_for(lambda: _roots(spans()) == 1, PATIENCE_S)
    by_id = {span.span_id: span for span in spans()}
    for span in spoken():
        names = [above.name for above in _ancestors(span, by_id)]
        assert "segment" in names
        assert "speech" in names
        assert names.index("segment") < names.index("speech") < len(names) - 1
        assert span.attributes["hw.id"].startswith("SIM-")
        assert span.attributes["vibevoice.simulated"] is True


def _roots(spans: list[Any]) -> int:
    ids = {span.span_id for span in spans}
    return sum(1 for span in spans if span.parent_id not in ids)


def _ancestors(span: Any, by_id: dict[str, Any]) -> Iterator[Any]:
    while (parent := by_id.get(span.parent_id)) is not None:
        yield parent
        span = parent


def test_cards_and_syntheses_reach_otlp_as_metrics(cluster: Cluster, http: httpx.Client) -> None:
    speak(http, SCENE)
    assert cluster.otlp.wait_for(
        lambda: bool(
            cluster.otlp.newest("hw.gpu.utilization")
            and cluster.otlp.newest("vibevoice.tts.real_time_factor")
        ),
        PATIENCE_S,
    )


def test_prometheus_history_and_report_are_served(http: httpx.Client) -> None:
    sentence = "Somebody has to say something, or there is nothing to report."
    body = {"model": "tts-1", "input": sentence, "voice": "auto", "response_format": "pcm"}
    assert http.post("/v1/audio/speech", json=body).status_code == 200
    uuids = [card["uuid"] for card in http.get("/get_metrics").json()["cards"]]

    def history_is_whole() -> bool:
        answer = http.get("/get_history", params={"uuid": uuids, "track": "temp_c", "step": 1})
        return answer.status_code == 200 and set(answer.json()["cards"]) == set(uuids)

    wait_until(history_is_whole)
    families = {
        family.name: family for family in text_string_to_metric_families(http.get("/metrics").text)
    }
    temperatures = {sample.labels["hw_id"] for sample in families["hw_temperature_celsius"].samples}
    assert temperatures == set(uuids)
    assert "gen_ai_server_request_duration_seconds" in families
    assert http.get("/get_history", params={"uuid": uuids, "track": "mood"}).status_code == 400
    report = http.get("/report", params={"format": "md", "hours": 1})
    assert all(uuid in report.text for uuid in uuids)
    assert "健康报告" in http.get("/report", params={"language": "zh"}).text


def test_openai_s_own_client(cluster: Cluster, tmp_path: Path) -> None:
    client = openai.OpenAI(base_url=f"{cluster.piper_url}/v1", api_key="unused", max_retries=0)
    speech = client.audio.speech.create(model="tts-1", voice="auto", input="Good morning to you.")
    with soundfile.SoundFile(io.BytesIO(speech.content)) as file:
        assert (file.format, file.samplerate) == ("MP3", 24_000)
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="auto", input="Good night.", response_format="wav"
    ) as stream:
        stream.stream_to_file(tmp_path / "night.wav")
    samples, _ = soundfile.read(tmp_path / "night.wav")
    assert len(samples) > 10_000
    assert [model.id for model in client.models.list()][1:] == [
        "tts-1",
        "tts-1-hd",
        "gpt-4o-mini-tts",
    ]
    with pytest.raises(openai.BadRequestError, match="nobody"):
        client.audio.speech.create(model="tts-1", voice="nobody", input="Hello.")
    with pytest.raises(openai.NotFoundError, match="gpt-9"):
        client.audio.speech.create(model="gpt-9", voice="auto", input="Hello.")


def test_text_that_piper_can_not_speak_starts_nothing(cluster: Cluster, http: httpx.Client) -> None:
    before = http.get("/piper/get_metrics").json()["totals"]["segments"]
    answer = http.post(
        "/piper/v1/audio/speech",
        json={"model": "tts-1", "voice": "auto", "input": f"{PIPER_TEXT}\nLily: 今天天气很好。"},
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "unsupported_text"
    assert http.get("/piper/get_metrics").json()["totals"]["segments"] == before


def test_ready_and_healthy(http: httpx.Client) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/readyz").json()["status"] == "ready"
    assert http.get("/nothing").json()["error"]["code"] == "not_found"


def test_the_command_line(cluster: Cluster, tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("vibevoice-serve")
    output = tmp_path / "said.wav"
    said = subprocess.run(
        [command, "say", "Lily: Hello.\nJeyes: Good bye.", "-o", output, "--url", cluster.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "real-time factor" in said.stdout
    with soundfile.SoundFile(output) as file:
        assert file.frames / file.samplerate > 1.0
    cards = subprocess.run(
        [command, "gpus", "--once", "--url", cluster.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert cards.stdout.lower().count("simulated") == 3
    refused = subprocess.run(
        [command, "say", "Hello.", "--voice", "nobody", "-o", output, "--url", cluster.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 1
    assert "nobody" in refused.stdout + refused.stderr
