"""A WeCom (企业微信) group robot as an apprise plugin: ``wecombot://KEY`` or ``wecombot://KEY@HOST``.

It takes the place of apprise's own plugin of that name, which holds every HTTP 200 for a success:
WeCom answers 200 with an ``errcode`` when a key is wrong or messages come too often. It also takes
no text longer than 2048 bytes of UTF-8, a third of that in Chinese characters: longer ones go in
several messages. With HOST (and ``?tls=no``) the robot of a private installation is reached.
"""

from __future__ import annotations

import json
import urllib.request
from typing import Any, Final
from urllib.error import URLError
from urllib.parse import quote

from apprise import NotifyBase

SCHEMA: Final = "wecombot"
_HOST: Final = "qyapi.weixin.qq.com"
_TIMEOUT_S: Final = 10.0
_MOST_ANSWER_BYTES: Final = 4096
_MOST_TEXT_BYTES: Final = 2048
_MOST_PARTS: Final = 8
"""A robot may send twenty messages a minute."""


class WeComRobot(NotifyBase):  # type: ignore[misc] # apprise is typed in part only
    """Sends text to the group of one robot.

    Args:
        key: The robot's key; a secret.
        server: Host, or ``host:port``.
        tls: Whether to speak HTTPS.
    """

    service_name = "WeCom robot"
    service_url = "https://developer.work.weixin.qq.com/document/path/91770"
    secure_protocol = SCHEMA
    templates = ("{schema}://{key}", "{schema}://{key}@{host}")
    template_tokens: Final = {
        "key": {"name": "key", "type": "string", "required": True, "private": True},
        "host": {"name": "host", "type": "string"},
    }
    title_maxlen = 0
    body_maxlen = _MOST_PARTS * _MOST_TEXT_BYTES
    # Limits of the robot are told by its own answer; the sender's thread waits, not this plugin.
    request_rate_per_sec = 0

    def __init__(self, key: str, server: str = _HOST, *, tls: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._key, self._server, self._tls = key, server, tls

    def send(self, body: str, **_kwargs: Any) -> bool:
        """Post the text; True only if WeCom says that it took all of it."""
        return all(self._post(part) for part in parts_of(body)[:_MOST_PARTS])

    def _post(self, text: str) -> bool:
        scheme = "https" if self._tls else "http"
        request = urllib.request.Request(  # noqa: S310 - the scheme is one of two
            f"{scheme}://{self._server}/cgi-bin/webhook/send?key={quote(self._key, safe='')}",
            data=json.dumps({"msgtype": "text", "text": {"content": text}}).encode(),
            headers={"content-type": "application/json; charset=utf-8"},
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                told = json.loads(answer.read(_MOST_ANSWER_BYTES))
        except (URLError, OSError, ValueError):
            return False
        return isinstance(told, dict) and told.get("errcode") == 0

    def url(self, privacy: bool = False, *_args: Any, **_kwargs: Any) -> str:
        """The URL that makes this object again; with *privacy* without the key."""
        key = self.pprint(self._key, privacy, safe="")
        tls = "" if self._tls else "?tls=no"
        return f"{SCHEMA}://{key}@{self._server}{tls}"

    @staticmethod
    def parse_url(url: str) -> dict[str, Any] | None:
        """Arguments of the constructor out of a URL, or None if it is none."""
        found: dict[str, Any] | None = NotifyBase.parse_url(url, verify_host=False)
        if not found:
            return None
        host, port = found.get("host") or "", found.get("port")
        user = found.get("user")
        found["key"] = NotifyBase.unquote(user or host)
        found["server"] = f"{host}:{port}" if user and port else host if user else _HOST
        found["tls"] = (found.get("qsd") or {}).get("tls", "yes").lower() not in {"no", "false"}
        return found


def parts_of(text: str, most_bytes: int = _MOST_TEXT_BYTES) -> list[str]:
    """*text* in pieces of at most *most_bytes* of UTF-8, cut behind a line where there is one."""
    parts, rest = [], text
    while len(coded := rest.encode()) > most_bytes:
        fits = coded[:most_bytes].decode(errors="ignore")
        at = fits.rfind("\n") + 1 or len(fits)
        parts.append(rest[:at])
        rest = rest[at:]
    return [*parts, rest]
