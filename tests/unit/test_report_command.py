"""``vibevoice-serve report`` against a local server that answers as the service does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serve_app.cli import app
from serve_app.errors import ServeError

REPORT = "# 健康报告\n"


class Service(ThreadingHTTPServer):
    """Answers with a report, or refuses; notes what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.refuses = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        refusal = json.dumps({"error": {"message": "nobody watches"}})
        body = (refusal if self.server.refuses else REPORT).encode()
        self.send_response(503 if self.server.refuses else 200)
        self.send_header("content-type", "text/markdown; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_report_is_written_in_the_form_that_its_file_names(
    service: Service, tmp_path: Path
) -> None:
    target = tmp_path / "out" / "report.md"
    options = ["-o", str(target), "--hours", "6", "--language", "zh", "--url", service.url]
    done = CliRunner().invoke(app, ["report", *options])
    assert done.exit_code == 0, done.output
    assert target.read_text(encoding="utf-8") == REPORT
    assert service.asked == ["/report?format=md&hours=6.0&language=zh"]
    CliRunner().invoke(app, ["report", "-o", str(tmp_path / "a.html"), "--url", service.url])
    assert service.asked[1] == "/report?format=html&hours=24.0&language=en"


def test_a_file_of_another_kind_and_a_refusal_are_told(service: Service, tmp_path: Path) -> None:
    other = CliRunner().invoke(app, ["report", "-o", "report.pdf", "--url", service.url])
    assert isinstance(other.exception, ServeError)
    assert "report.pdf" in str(other.exception)
    assert service.asked == []
    service.refuses = True
    target = tmp_path / "report.html"
    refused = CliRunner().invoke(app, ["report", "-o", str(target), "--url", service.url])
    assert "nobody watches" in str(refused.exception)
    assert not target.exists()
