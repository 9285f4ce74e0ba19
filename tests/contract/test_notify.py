"""Alerts really leave: by SMTP, by WeCom's webhook and by any apprise URL, to local servers."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message as Mail
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from hypothesis import given
from hypothesis import strategies as st

from telemetry.core.channels import ChannelCount, channel_problems
from telemetry.core.messages import Message
from telemetry.notify import QUEUE_MESSAGES, Channel, ChannelError, Notifier, readable, sender
from telemetry.wecom import parts_of

ALERT = Message("vibevoice-serve: ALERT: card very hot: node card 0", "[critical] 显卡 86 C", True)


class MailBox:
    """What an SMTP server was handed, and what it said to it."""

    def __init__(self, answer: str = "250 OK") -> None:
        self.mails, self._answer = list[Mail](), answer

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        self.mails.append(message_from_bytes(envelope.content))
        return self._answer


@contextmanager
def mail_server(box: MailBox) -> Iterator[int]:
    """The port of a server that hands its mail to *box*."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(
        box,
        hostname="127.0.0.1",
        port=port,
        auth_require_tls=False,
        authenticator=lambda *_: AuthResult(success=True),
    )
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


@contextmanager
def web_server(
    answer: bytes = b'{"errcode": 0}', status: int = 200
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """A server that answers every POST so, with what it was sent."""
    posts: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            posts.append({"path": self.path, **json.loads(body)})
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port, posts
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_e_mail() -> None:
    box = MailBox()
    with mail_server(box) as port:
        url = f"mailto://127.0.0.1:{port}/?from=alerts@example.org&to=ops@example.org&mode=insecure"
        assert sender(Channel("mail", url))(ALERT)
    (mail,) = box.mails
    assert mail["To"] == "ops@example.org"
    assert "card very hot" in str(mail["Subject"])
    parts = [part.get_payload(decode=True) for part in mail.walk() if not part.is_multipart()]
    assert any("显卡 86 C" in part.decode() for part in parts if isinstance(part, bytes))


def test_wecom() -> None:
    with web_server() as (port, posts):
        url = f"wecombot://secret-key@127.0.0.1:{port}?tls=no"
        assert sender(Channel("wecom", url))(ALERT)
    assert posts[0]["path"] == "/cgi-bin/webhook/send?key=secret-key"
    assert posts[0]["msgtype"] == "text"
    assert "card very hot" in posts[0]["text"]["content"]
    assert "显卡 86 C" in posts[0]["text"]["content"]


@pytest.mark.parametrize("answer", [b'{"errcode": 93000, "errmsg": "invalid"}', b"oops", b"[]"])
def test_wecom_that_refuses_with_http_200_has_not_taken_it(answer: bytes) -> None:
    with web_server(answer) as (port, _):
        assert not sender(Channel("wecom", f"wecombot://key@127.0.0.1:{port}?tls=no"))(ALERT)


def test_a_long_chinese_text_goes_to_wecom_in_parts_it_takes() -> None:
    lines = [f"[严重] 告警 {n}: 显卡温度过高，立即减轻该卡负载并检查散热。" for n in range(60)]
    with web_server() as (port, posts):
        robot = sender(Channel("wecom", f"wecombot://key@127.0.0.1:{port}?tls=no"))
        assert robot(Message("vibevoice-serve: 告警", "\n".join(lines), urgent=True))
    texts = [post["text"]["content"] for post in posts]
    assert all(len(text.encode()) <= 2048 for text in texts)
    assert "\n".join(lines) in "".join(texts)


@given(st.text(max_size=200), st.integers(4, 40))
def test_parts_are_the_text_in_pieces_that_fit(text: str, most_bytes: int) -> None:
    parts = parts_of(text, most_bytes)
    assert "".join(parts) == text
    assert all(len(part.encode()) <= most_bytes for part in parts)


def test_any_other_apprise_url() -> None:
    with web_server(b"") as (port, posts):
        assert sender(Channel("hook", f"json://127.0.0.1:{port}/alerts"))(ALERT)
    assert (posts[0]["path"], posts[0]["title"]) == ("/alerts", ALERT.title)


def test_a_wrong_url_is_refused_without_being_quoted() -> None:
    channel = Channel("broken", "nosuch://hunter2@host")
    with pytest.raises(ChannelError) as caught:
        Notifier([channel])
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(channel)


@pytest.mark.parametrize(
    "url",
    [
        "wecombot://hunter2@127.0.0.1:{port}?tls=no",
        "json://user:hunter2@127.0.0.1:{port}/hunter2?+token=hunter2",
        "mailto://user:hunter2@127.0.0.1:{mail}/?from=a@example.org&to=b@example.org&mode=insecure",
    ],
)
def test_secrets_reach_no_log(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        web_server(b'{"errcode": 1}', status=500) as (port, _),
        mail_server(MailBox("550 no")) as mail,
    ):
        channel = Channel("channel", url.format(port=port, mail=mail))
        notifier = Notifier([channel], waits_s=())
        notifier.post(ALERT)
        wait_until(lambda: notifier.counts[0].failed == 1)
        notifier.close()
    assert "took no message" in caplog.text
    assert "hunter2" not in caplog.text


def wait_until(condition: Any) -> None:
    """Wait for a condition that another thread makes true."""
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("the condition never held")


def test_a_dead_channel_holds_up_nobody_and_counts_what_it_drops() -> None:
    never, taken = threading.Event(), list[str]()

    def open_channel(channel: Channel) -> Any:
        def dead(_message: Message) -> bool:
            return never.wait()

        def good(message: Message) -> bool:
            taken.append(message.title)
            return True

        return dead if channel.name == "dead" else good

    notifier = Notifier([Channel("dead", ""), Channel("good", "")], open_channel=open_channel)
    notifier.post(Message("0", "", False))
    wait_until(lambda: notifier.counts[0].waiting == 0)  # its thread holds the first one
    for number in range(1, QUEUE_MESSAGES + 6):
        notifier.post(Message(str(number), "", False))
        wait_until(lambda number=number: len(taken) == number + 1)
    dead, good = notifier.counts
    assert (dead.sent, dead.dropped, dead.waiting) == (0, 5, QUEUE_MESSAGES)
    assert (good.sent, good.dropped) == (QUEUE_MESSAGES + 6, 0)
    never.set()
    notifier.close()


def test_a_message_is_tried_again_and_a_raising_plugin_is_survived() -> None:
    answers = iter((False, RuntimeError("plugin"), True))

    def open_channel(_channel: Channel) -> Any:
        def send(_message: Message) -> bool:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return send

    notifier = Notifier([Channel("c", "")], waits_s=(0.0, 0.0), open_channel=open_channel)
    notifier.post(ALERT)
    wait_until(lambda: notifier.counts[0].sent == 1)
    notifier.close()
    assert notifier.counts[0].failed == 0


def test_other_channels_leave_the_counts_and_what_waits_of_those_that_stay() -> None:
    go_on, taken = threading.Event(), list[tuple[str, str]]()

    def open_channel(channel: Channel) -> Any:
        def send(message: Message) -> bool:
            go_on.wait(10)
            taken.append((channel.url, message.title))
            return True

        return send

    stays, goes, later = Channel("stays", "1"), Channel("goes", "2"), Channel("goes", "3")
    notifier = Notifier([stays, goes], open_channel=open_channel)
    for title in ("a", "b"):
        notifier.post(Message(title, "", False))
    wait_until(lambda: [one.waiting for one in notifier.counts] == [1, 1])
    notifier.adopt([stays], timeout_s=0.01)
    go_on.set()
    wait_until(lambda: notifier.counts == (ChannelCount("stays", sent=2),))
    notifier.adopt([later, stays])
    notifier.post(Message("c", "", False))
    wait_until(lambda: all(one.waiting == 0 for one in notifier.counts) and ("3", "c") in taken)
    wait_until(lambda: notifier.counts[1] == ChannelCount("stays", sent=3))
    # "b" was dropped with its channel; the name's new address counts on from there.
    wait_until(lambda: notifier.counts[0] == ChannelCount("goes", sent=1, dropped=1))
    notifier.close()
    assert ("2", "b") not in taken


def test_channels_that_cannot_be_set_up_change_nothing_and_are_left_out() -> None:
    good, bad = Channel("hook", "json://127.0.0.1/alerts"), Channel("broken", "nosuch://hunter2")
    notifier = Notifier([good])
    with pytest.raises(ChannelError, match="broken"):
        notifier.adopt([bad])
    assert [one.name for one in notifier.counts] == ["hook"]
    notifier.close()
    assert readable([bad, good]) == (good,)


def test_a_channel_that_takes_nothing_says_so_until_it_does() -> None:
    answers = iter([False, True])
    notifier = Notifier(
        [Channel("c", "")], waits_s=(), open_channel=lambda _channel: lambda _m: next(answers)
    )
    notifier.post(ALERT)
    wait_until(lambda: notifier.counts[0].failing)
    assert channel_problems(notifier.counts) == (
        "the alert channel 'c' takes no messages (1 given up)",
    )
    notifier.post(ALERT)
    wait_until(lambda: not notifier.counts[0].failing)
    assert (notifier.counts[0].sent, channel_problems(notifier.counts)) == (1, ())
    notifier.close()
