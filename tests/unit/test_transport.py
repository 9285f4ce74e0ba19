"""HAProxy beside Ray: its variables, its statistics kept at home, when it reaches an ingress."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
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
    variables = [HaProxy.open(tmp_path / name).environment() for name in ("one", "two")]
    own_ones = ("PORT", "BINARY_PATH", "SOCKET_PATH", "LOC", "BASE", "FILE")
    own = [
        {value for name, value in found.items() if name.endswith(own_ones)} for found in variables
    ]
    assert not own[0] & own[1]
    for found in variables:
        ports = range(
            int(found["RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT"]),
            int(found["RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT"]) + 1,
        )
        assert len(ports) >= 2  # a new ingress starts before the old one ends
        assert int(found["RAY_SERVE_FALLBACK_PROXY_HTTP_PORT"]) not in ports


# As Ray writes it, but for what plays no part here.
CONFIG = """global
    tune.bufsize {bufsize}
defaults
    mode http
    timeout connect 1s
    timeout client 3600s
    timeout server 1s
    retries 0
    option splice-request
    option splice-response
    errorfile 503 /nowhere/500.http
frontend prometheus
    bind :{metrics}
    mode http
    http-request return status 200
frontend http_frontend
    bind *:{port}
    http-request return status 204 if {{ path /empty }}
    default_backend gone
backend gone
    server one 127.0.0.1:{closed}
listen stats
  bind *:{statistics}
  stats enable
"""


@contextmanager
def haproxy(folder: Path) -> Iterator[tuple[int, Path]]:
    """HAProxy as Ray starts it: the port of its service, and its configuration."""
    proxy = HaProxy.open(folder)
    variables = proxy.environment()
    config, port = Path(variables["RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"]), free_port()
    config.write_text(
        CONFIG.format(
            bufsize=variables["RAY_SERVE_HAPROXY_TUNE_BUFSIZE"],
            metrics=proxy.ports[0],
            statistics=proxy.statistics,
            port=port,
            closed=free_port(),
        )
    )
    command = [variables["RAY_SERVE_HAPROXY_BINARY_PATH"], "-db", "-f", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: process.poll() is None and answers(port))
        yield port, config
    finally:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def asked(port: int, head: str) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of the answer to what has been sent of a head."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head.encode())
        answer = HTTPResponse(connection)
        answer.begin()
        return answer.status, dict(answer.getheaders()), answer.read().decode()


@pytest.mark.skipif(best_transport() == "proxy", reason="Ray brings no HAProxy along here")
def test_heads_have_bounds_and_a_lost_ingress_is_told_in_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_HEAD_TIMEOUT_S", 0.3)
    begin = "GET {} HTTP/1.1\r\nhost: x\r\nx: "
    with haproxy(tmp_path) as (port, config):
        large = begin.format("/empty") + "x" * (64 * 2**10) + "\r\n\r\n"
        assert asked(port, large)[0] == 204  # the ingress tells it that this is too large
        assert asked(port, begin.format("/empty") + "x" * (200 * 2**10) + "\r\n\r\n")[0] == 400
        assert asked(port, begin.format("/empty"))[0] == 408  # and no more comes
        status, headers, body = asked(port, begin.format("/") + "\r\n\r\n")
        assert (status, headers["content-type"]) == (503, "application/json")
        assert headers["retry-after"].isdecimal()
        assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
        assert "splice" not in config.read_text()


@pytest.mark.skipif(best_transport() == "proxy", reason="Ray brings no HAProxy along here")
def test_a_trace_is_begun_once_however_often_it_starts(tmp_path: Path) -> None:
    with haproxy(tmp_path) as (_, config):
        begun = config.read_text()
        command: list[str | Path] = [tmp_path / "haproxy.sh", "-c", "-f", config]
        subprocess.run(command, check=True, capture_output=True, timeout=20)
        assert config.read_text() == begun
    lines = [line.split() for line in begun.splitlines()]
    assert [line[2] for line in lines if line[:2] == ["http-request", "set-header"]] == [
        "x-vibevoice-arrived",
        "x-vibevoice-parent",
        "traceparent",
        "traceparent",
    ]


@pytest.mark.skipif(best_transport() == "proxy", reason="Ray brings no HAProxy along here")
def test_statistics_stay_on_loopback_wherever_the_service_listens(tmp_path: Path) -> None:
    with haproxy(tmp_path) as (port, config):
        bound = [line.split()[1] for line in config.read_text().splitlines() if "bind" in line]
        metrics, service, statistics = bound
        assert service == f"*:{port}"
        assert metrics.startswith("127.0.0.1:")
        assert statistics.startswith("127.0.0.1:")


@pytest.mark.skipif(best_transport() == "proxy", reason="Ray brings no HAProxy along here")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="a part of util-linux")
def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    variables = HaProxy.open(tmp_path).environment()
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
    assert template.count("\ndefaults\n") == 1
    _, metrics = template.split("\nfrontend prometheus\n")
    metrics, service = metrics.split("\nfrontend http_frontend\n")
    service, statistics = service.split("\nlisten stats\n")
    assert metrics.count("bind :") == statistics.count("bind *:") == 1
    assert metrics.count("bind ") == statistics.count("bind ") == 1
    assert "config.frontend_host" in next(it for it in service.splitlines() if "bind " in it)
    assert template.count("option splice-") == 2


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
    HaProxy.open(folder).environment()
    shutil.rmtree(folder)
    assert list(tmp_path.iterdir()) == []
