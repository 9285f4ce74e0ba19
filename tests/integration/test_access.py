"""Keys and the graceful end on a real Ray Serve."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
import yaml
from ray import serve

from serve_app import local
from serve_app.app import build
from serve_app.config import API_KEY, load_serve_file
from serve_app.engines.simulated_code import segments_heard
from serve_app.keys import key_entry, new_key
from tests.integration.conftest import SIMULATED, Cluster, application
from tests.integration.test_service import SCENE, SIMULATED_BODY, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

USER, ADMIN, LATER = new_key(), new_key(), new_key()
SETTINGS = {
    **SIMULATED,
    "engine": {
        "kind": "simulated",
        "options": {"first_chunk_s": 0.05, "real_time_factor": 0.03},
    },
    "replicas": 1,
}


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys.yaml"
    path.write_text(
        "keys:\n" + key_entry("user", USER, admin=False) + key_entry("admin", ADMIN, admin=True)
    )
    return path


@pytest.fixture(scope="module")
def guarded(cluster: Cluster, keys_file: Path) -> Iterator[httpx.Client]:
    settings = {**SETTINGS, "access": {"keys_file": str(keys_file)}}
    serve.run(build(settings), name="guarded", route_prefix="/guarded")
    try:
        with httpx.Client(base_url=f"{cluster.url}/guarded", timeout=60) as client:
            yield client
    finally:
        serve.delete("guarded")


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_keys_open_the_door_and_change_without_a_restart(
    guarded: httpx.Client, keys_file: Path
) -> None:
    assert guarded.get("/v1/models").status_code == 401
    assert guarded.get("/healthz").status_code == 200
    assert guarded.get("/get_metrics", headers=bearer(USER)).status_code == 403
    assert guarded.get("/get_metrics", headers=bearer(ADMIN)).status_code == 200
    client = openai.OpenAI(base_url=f"{guarded.base_url}v1", api_key=USER, max_retries=0)
    assert client.audio.speech.create(model="tts-1", voice="auto", input="Good morning.").content
    stranger = client.with_options(api_key="vvs-stranger")
    with pytest.raises(openai.AuthenticationError, match="valid API key"):
        stranger.models.list()
    with keys_file.open("a") as file:
        file.write(key_entry("later", LATER, admin=False))
    wait_until(lambda: guarded.get("/v1/models", headers=bearer(LATER)).status_code == 200)


def test_a_service_that_ends_lets_streams_finish_and_refuses_new_ones(
    guarded: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one here: the ingress refuses for good once it is told to end."""
    monkeypatch.setenv(API_KEY, ADMIN)
    path = tmp_path / "serve.json"
    path.write_text(
        yaml.safe_dump({"applications": [application("guarded", "/guarded", SETTINGS)]})
    )
    body = {**SIMULATED_BODY, "input": SCENE}
    with guarded.stream("POST", "/v1/audio/speech", json=body, headers=bearer(USER)) as answer:
        chunks = answer.iter_raw()
        parts = [next(chunks)]
        status = f"/v1/audio/speech/{answer.headers['x-request-id']}"
        assert guarded.get(status, headers=bearer(USER)).json()["status"] == "running"
        ending = threading.Thread(target=local.drain, args=(load_serve_file(path),))
        ending.start()
        wait_until(lambda: guarded.get("/readyz").status_code == 503)
        refused = guarded.post("/v1/audio/speech", json=body, headers=bearer(USER))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
        assert int(refused.headers["retry-after"]) > 0
        assert ending.is_alive()
        parts.extend(chunks)
    ending.join(30)
    assert not ending.is_alive()
    heard = segments_heard(np.frombuffer(b"".join(parts), "<i2"))
    assert [segment.tag for segment in heard] == list(range(int(answer.headers["x-segments"])))
