"""Requests that are wrong on purpose, as bytes on the wire, and what a service answers to them."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

KEY = "vvs-malformed"
_HOST = "host: service\r\n"
_AUTH = f"authorization: Bearer {KEY}\r\n"
_SPEECH = "/v1/audio/speech"
_TIMEOUT_S = 20.0
_FIELDS = ("model", "input", "voice", "speed", "response_format", "colour")


@dataclass(frozen=True)
class Wrong:
    """A request that can't be served.

    Args:
        what: For messages.
        data: All its bytes.
        ends: False if its body never comes, so that there may be nobody left to answer.
    """

    what: str
    data: bytes
    ends: bool = True


def wrong_requests(seed: int) -> Iterator[Wrong]:
    """Endlessly many of them, the same for the same seed."""
    dice = random.Random(seed)
    makers: tuple[Callable[[random.Random], Wrong], ...] = (
        *(_junk_body, _wrong_field, _torn_json, _deep_json),
        *(_junk_upload, _torn_upload, _wrong_header, _wrong_line, _unknown_key),
    )
    while True:
        yield dice.choice(makers)(dice)


def answer_to(port: int, wrong: Wrong) -> int | None:
    """Status of the answer, or None if the connection was closed without one.

    Raises:
        TimeoutError: Neither happened.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as connection:
        try:
            connection.sendall(wrong.data)
            if not wrong.ends:
                connection.shutdown(socket.SHUT_WR)
            line = connection.makefile("rb").readline(1000)
        except (BrokenPipeError, ConnectionResetError):
            return None
    return int(line.split()[1]) if line.startswith(b"HTTP/") else None


def _posted(path: str, kind: str, body: bytes, more: str = "", length: int | None = None) -> bytes:
    head = f"POST {path} HTTP/1.1\r\n{_HOST}{_AUTH}{more}content-type: {kind}\r\n"
    head += f"content-length: {len(body) if length is None else length}\r\n\r\n"
    return head.encode("latin-1") + body


def _path(dice: random.Random) -> str:
    return dice.choice((_SPEECH, "/v1/audio/dialogue"))


def _noise(dice: random.Random, most: int = 2000) -> bytes:
    return dice.randbytes(dice.randint(1, most))


def _junk_body(dice: random.Random) -> Wrong:
    kind = dice.choice(("application/json", "text/plain", "application/xml", "x", "*/*; a=b"))
    return Wrong("junk body", _posted(_path(dice), kind, b"\xff" + _noise(dice)))


def _wrong_field(dice: random.Random) -> Wrong:
    body: dict[str, Any] = {"model": "tts-1", "input": _words(dice), "voice": "alto"}
    field = dice.choice(_FIELDS)
    if field == "input":  # any text is one
        body[field] = dice.choice((None, [], True, dice.randint(-9, 9), "", "x" * 70_000, "\x00"))
    elif field == "speed":
        body[field] = dice.choice((_word(dice), dice.uniform(5, 1e9), -dice.random(), [1.0], 1e400))
    else:
        strange = (None, [_word(dice)], {_word(dice): 5}, dice.random(), "", _noun(dice))
        body[field] = dice.choice(strange)
    return Wrong(f"{field} is wrong", _posted(_SPEECH, "application/json", _json(body)))


def _torn_json(dice: random.Random) -> Wrong:
    whole = _json({"input": _words(dice), "model": "tts-1", "voice": "alto"})
    torn = whole[: dice.randint(20, len(whole) - 1)]
    return Wrong("torn JSON", _posted(_path(dice), "application/json", torn))


def _deep_json(dice: random.Random) -> Wrong:
    depth = dice.choice((100, 10_000, 200_000)) - dice.randint(0, 99)
    opening = dice.choice((b"[", b'{"a":'))
    return Wrong("deep JSON", _posted(_path(dice), "application/json", opening * depth))


def _junk_upload(dice: random.Random) -> Wrong:
    part = b'--b\r\ncontent-disposition: form-data; name="audio_sample"; filename="a.wav"\r\n\r\n'
    fields = b'--b\r\ncontent-disposition: form-data; name="name"\r\n\r\nEve\r\n'
    consent = b'--b\r\ncontent-disposition: form-data; name="consent"\r\n\r\nI agree.\r\n'
    begins = dice.choice((b"RIFF", b"fLaC", b"ID3", b"OggS", b""))
    body = fields + consent + part + begins + _noise(dice) + b"\r\n--b--\r\n"
    return Wrong(
        "junk upload", _posted("/v1/audio/voices", "multipart/form-data; boundary=b", body)
    )


def _torn_upload(dice: random.Random) -> Wrong:
    kind = dice.choice(("multipart/form-data", "multipart/form-data; boundary=", "multipart/x"))
    if dice.random() < 0.5:
        kind = "multipart/form-data; boundary=b"
    name = _word(dice)
    kind, begin = kind.replace("=b", f"={name}"), f"--{name}\r\n".encode()
    body = begin + b'content-disposition: form-data; name="name"\r\n\r\n' + _noise(dice)
    return Wrong("torn upload", _posted("/v1/audio/voices", kind, body[: dice.randint(8, 70)]))


def _wrong_header(dice: random.Random) -> Wrong:
    good = _json({"model": "tts-1", "input": _words(dice), "voice": "alto"})
    more, length, ends = dice.choice(
        (
            ("x-request-id: a b/c\r\n", None, True),
            (f"x-request-id: {'x' * 200}\r\n", None, True),
            ("content-length: 5\r\ncontent-length: 6\r\n", None, True),
            ("transfer-encoding: chunked\r\n", None, True),
            ("transfer-encoding: banana\r\n", None, True),
            (f"x-request-id: {'x' * 200_000}\r\n", None, True),
            ("bad header\r\n", None, True),
            ("x\x00y: 1\r\n", None, True),
            ("", -1, True),
            ("", 10**30, False),
            ("", len(good) + 100, False),
        )
    )
    data = _posted(_SPEECH, "application/json", good, more, length)
    return Wrong(f"header {more[:30]!r} {length}", data, ends)


def _wrong_line(dice: random.Random) -> Wrong:
    line = dice.choice(
        (
            f"GET /{'%' * dice.randint(2, 200)} HTTP/1.1",
            f"GET /../../{_word(dice)}/passwd HTTP/1.1",
            f"GET /v1/models/%00%ff{_word(dice)} HTTP/1.1",
            f"GET /{'a' * dice.randint(1, 30_000)} HTTP/1.1",
            f"DELETE /v1/models?{_word(dice)} HTTP/1.1",
            f"{_word(dice).upper()} /v1/audio/speech HTTP/1.1",
            f"GET /v1/audio/speech/%F0%28{_word(dice)} HTTP/1.1",
            f"GET /get_metrics?since={_word(dice)} HTTP/1.1",
            f"GET /{_word(dice)} HTTP/9.{dice.randint(2, 9)}",
            f"GET{_word(dice)}",
            f"\x16\x03\x01\x02{_word(dice)}",
        )
    )
    return Wrong(f"line {line[:40]!r}", f"{line}\r\n{_HOST}{_AUTH}\r\n".encode("latin-1"))


def _unknown_key(dice: random.Random) -> Wrong:
    key = dice.choice(("Bearer", "Bearer x", "Basic !!!", "Digest a=b", "Bearer \xff\xfe", "€"))
    value = key.encode("utf-8") + _noise(dice, 20).hex().encode()
    head = b"GET /v1/models HTTP/1.1\r\n" + _HOST.encode() + b"authorization: " + value
    return Wrong("unknown key", head + b"\r\n\r\n")


def _word(dice: random.Random) -> str:
    return "".join(dice.choices("bcdfghjklmnpqrstvwxyz", k=dice.randint(6, 12)))


def _noun(dice: random.Random) -> str:
    """A name that nothing has."""
    return f"{_word(dice)}\x00" if dice.random() < 0.1 else _word(dice)


def _words(dice: random.Random) -> str:
    return " ".join(_word(dice) for _ in range(dice.randint(1, 12)))


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()
