"""HAProxy beside Ray: its variables, its statistics kept at home, when it reaches an ingress."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from serve_app import transport
from serve_app.transport import HaProxy, best_transport
from tests.processes import free_port

HEAD = "# pxname,svname,qcur,status,act,bck\n"
FRONTEND = "http_frontend,FRONTEND,,OPEN,,\n"
BACKUP = "vibevoice,fallback,0,UP,0,1\n"
DOWN, UP = "vibevoice,one,0,DOWN 1/2,1,0\n", "vibevoice,one,0,UP 1/2,1,0\n"
BACKEND = "vibevoice,BACKEND,0,UP,1,1\n"


@pytest.mark.skipif(best_transport() == "proxy", reason="Ray brings no HAProxy along here")
def test_two_services_share_nothing(tmp_path: Path) -> None:
    variables = [HaProxy.open(tmp_path / name).environment("0.0.0.0") for name in ("one", "two")]
    own = [
        {value for name, value in found.items() if "HAPROXY" in name or "PORT" in name}
        for found in variables
    ]
    assert not own[0] & own[1]
    for found in variables:
        ports = range(
            int(found["RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT"]),
            int(found["RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT"]) + 1,
        )
        assert len(ports) >= 2  # a new ingress starts before the old one ends
        assert int(found["RAY_SERVE_FALLBACK_PROXY_HTTP_PORT"]) not in ports


@pytest.mark.skipif(best_transport() == "proxy", reason="Ray brings no HAProxy along here")
def test_statistics_stay_on_loopback_where_the_service_does(tmp_path: Path) -> None:
    variables = HaProxy.open(tmp_path).environment("127.0.0.1")
    config = Path(variables["RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"])
    config.write_text(
        "defaults\n    mode http\n    option splice-request\n    option splice-response\n"
        "    timeout connect 1s\n    timeout client 1s\n"
        "    timeout server 1s\n"
        "frontend prometheus\n    bind :9101\n    http-request return status 200\n"
        "listen stats\n  bind *:8404\n  stats enable\n"
        "frontend own\n    bind 127.0.0.2:8000\n    http-request return status 200\n"
    )
    binary = variables["RAY_SERVE_HAPROXY_BINARY_PATH"]
    subprocess.run([binary, "-c", "-f", str(config)], check=True, capture_output=True, timeout=20)
    bound = [line.split()[1] for line in config.read_text().splitlines() if "bind" in line]
    assert "splice" not in config.read_text()
    assert bound == ["127.0.0.1:9101", "127.0.0.1:8404", "127.0.0.2:8000"]


@pytest.mark.skipif(best_transport() == "proxy", reason="Ray brings no HAProxy along here")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="a part of util-linux")
def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    variables = HaProxy.open(tmp_path).environment("127.0.0.1")
    config = Path(variables["RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"])
    config.write_text(
        "defaults\n    mode http\n    timeout connect 1s\n    timeout client 1s\n"
        f"    timeout server 1s\nlisten stats\n    bind *:{free_port()}\n    stats enable\n"
    )
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([{variables['RAY_SERVE_HAPROXY_BINARY_PATH']!r}, '-db', '-f',"
        f" {str(config)!r}], stdout=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert starter.stdout is not None
        started = Path(f"/proc/{int(starter.stdout.readline())}")
        until(lambda: "haproxy" in (started / "comm").read_text() and listens(started))
    finally:
        starter.kill()
        starter.communicate()
    until(lambda: not listens(started))


def listens(process: Path) -> bool:
    """Whether a process that runs has sockets."""
    try:
        return any("socket:" in str(link.readlink()) for link in (process / "fd").iterdir())
    except OSError:
        return False


def until(holds: Callable[[], bool]) -> None:
    """Wait for it."""
    last_s = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < last_s
        time.sleep(0.02)


def test_the_word_of_ray_on_what_it_binds_has_not_changed() -> None:
    template = pytest.importorskip("ray.serve._private.haproxy_templates").HAPROXY_CONFIG_TEMPLATE
    wide = [line.strip() for line in template.splitlines() if line.strip().startswith("bind ")]
    narrowed = [line for line in wide if line.startswith(("bind *:", "bind :"))]
    assert len(narrowed) == 2
    assert template.count("option splice-") == 2
    assert all("config.frontend_host" in line or line in narrowed for line in wide[:2] + narrowed)


@contextmanager
def statistics(*answers: str) -> Iterator[int]:
    """A page that answers so, the last one for ever."""
    left = list(answers)

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = (left.pop(0) if len(left) > 1 else left[0]).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_it_waits_for_an_ingress_and_takes_no_fallback_for_one(tmp_path: Path) -> None:
    before = HEAD + FRONTEND + BACKUP + DOWN + BACKEND
    with statistics("", before, HEAD + FRONTEND + BACKUP + UP + BACKEND) as port:
        assert HaProxy(tmp_path, port, ()).wait()


def test_it_gives_up_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_UP_TIMEOUT_S", 0.2)
    with statistics(HEAD + BACKUP + BACKEND) as port:
        assert not HaProxy(tmp_path, port, ()).wait()


@pytest.mark.skipif(best_transport() == "proxy", reason="Ray brings no HAProxy along here")
def test_what_it_wrote_goes_with_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "haproxy"
    HaProxy.open(folder).environment("127.0.0.1")
    shutil.rmtree(folder)
    assert list(tmp_path.iterdir()) == []
