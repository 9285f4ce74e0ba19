"""Sends messages through apprise: e-mail, WeCom, and whatever else it has a URL for.

Each channel has a thread and a bounded queue of its own, so that a dead mail server delays neither
the other channels nor anything else: :meth:`Notifier.post` only puts the message into the queues.
A message that can't be sent is tried again a few times, with growing waits; what a full queue or
the last try drops is counted. Channels' URLs hold passwords: they never reach a log or an error.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import apprise
from apprise.manager_plugins import NotificationManager

from telemetry.core.channels import ChannelCount
from telemetry.core.messages import Message
from telemetry.wecom import SCHEMA, WeComRobot

logger = logging.getLogger(__name__)

QUEUE_MESSAGES: Final = 100
WAITS_S: Final = (2.0, 10.0, 60.0)
"""Waits between the tries of one message."""


class ChannelError(ValueError):
    """A channel that can't be set up; the message names it and never its URL."""


@dataclass(frozen=True, slots=True)
class Channel:
    """Where messages go.

    Args:
        name: For logs.
        url: An apprise URL, ``mailtos://user:password@host`` or ``wecombot://KEY``; a secret.
    """

    name: str
    url: str

    def __repr__(self) -> str:
        return f"Channel({self.name!r}, url=...)"


Send = Callable[[Message], bool]


def sender(channel: Channel) -> Send:
    """A function that sends one message and says whether it was taken; it blocks.

    Raises:
        ChannelError: apprise can't read the channel's URL.
    """
    # In their debug logs apprise writes whole URLs, and urllib3 paths, which hold webhooks' keys.
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.WARNING)
    NotificationManager().add(WeComRobot, schemas=SCHEMA, force=True)
    server = apprise.Apprise()
    if not server.add(channel.url):
        raise ChannelError(
            f"The alert channel {channel.name!r} has a URL that apprise can't read; see its list "
            "of services for the form, such as mailtos://user:password@host or wecombot://KEY."
        )

    def send(message: Message) -> bool:
        kind = apprise.NotifyType.FAILURE if message.urgent else apprise.NotifyType.INFO
        return bool(server.notify(body=message.body, title=message.title, notify_type=kind))

    return send


def readable(channels: Iterable[Channel]) -> tuple[Channel, ...]:
    """The channels whose URL apprise can read; of the others the log tells the name."""
    found = []
    for channel in channels:
        try:
            sender(channel)
        except ChannelError as error:
            logger.warning("nothing is sent there: %s", error)
        else:
            found.append(channel)
    return tuple(found)


class _Line:
    """One channel's queue and thread.

    Args:
        name: For logs.
        send: Sends.
        waits_s: Waits between the tries of one message.
        before: What a line of the same name has counted.
    """

    def __init__(
        self, name: str, send: Send, waits_s: tuple[float, ...], before: ChannelCount | None
    ) -> None:
        self.name, self._send, self._waits_s = name, send, waits_s
        self._queue: queue.Queue[Message | None] = queue.Queue(QUEUE_MESSAGES)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._count = replace(before or ChannelCount(name), waiting=0, failing=False)
        self._thread = threading.Thread(target=self._run, name=f"alerts-{name}", daemon=True)
        self._thread.start()

    def put(self, message: Message) -> None:
        try:
            self._queue.put_nowait(message)
        except queue.Full:
            self._add(dropped=1)

    def count(self) -> ChannelCount:
        with self._lock:
            return replace(self._count, waiting=self._queue.qsize())

    def stop(self) -> None:
        """Let the message that is being sent be the last one; those behind it are dropped."""
        self._stop.set()
        with suppress(queue.Empty):
            while True:
                self._add(dropped=self._queue.get_nowait() is not None)
        with suppress(queue.Full):  # the thread looks at the event after each message
            self._queue.put_nowait(None)

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _add(self, *, dropped: int | bool) -> None:
        with self._lock:
            self._count = replace(self._count, dropped=self._count.dropped + dropped)

    def _run(self) -> None:
        while not self._stop.is_set():
            message = self._queue.get()
            if message is None:
                return
            taken = self._try(message)
            with self._lock:
                self._count = replace(
                    self._count,
                    sent=self._count.sent + taken,
                    failed=self._count.failed + (not taken),
                    failing=not taken,
                )
            if not taken:
                logger.warning("the alert channel %r took no message: %s", self.name, message.title)

    def _try(self, message: Message) -> bool:
        for wait_s in (*self._waits_s, None):
            try:
                if self._send(message):
                    return True
            except Exception as error:  # noqa: BLE001 - plugins raise what they like
                logger.warning("the alert channel %r: %s", self.name, type(error).__name__)
            if wait_s is None or self._stop.wait(wait_s):
                break
        return False


class Notifier:
    """Sends each message to every channel.

    Messages may be posted and counts be read from any thread; one thread adopts and closes.

    Args:
        channels: Names differ.
        waits_s: Waits between the tries of one message.
        open_channel: Makes the function that sends.
    Raises:
        ChannelError: A channel can't be set up; none is left running.
    """

    def __init__(
        self,
        channels: Iterable[Channel],
        *,
        waits_s: tuple[float, ...] = WAITS_S,
        open_channel: Callable[[Channel], Send] = sender,
    ) -> None:
        self._waits_s, self._open_channel = waits_s, open_channel
        self._lines: dict[Channel, _Line] = {}
        self._past: dict[str, ChannelCount] = {}
        self.adopt(channels)

    def adopt(self, channels: Iterable[Channel], timeout_s: float = 5.0) -> None:
        """Send to these channels from now on.

        A channel that stays keeps what waits in it, and what it has counted; one that goes takes
        no message behind the one that is being sent. A name that comes back counts on.

        Args:
            channels: Names differ.
            timeout_s: Longest wait for the last messages of those that go.
        Raises:
            ChannelError: A channel can't be set up; nothing has changed then.
        """
        wanted = tuple(channels)
        senders = {one: self._open_channel(one) for one in wanted if one not in self._lines}
        stays = {one: line for one, line in self._lines.items() if one in wanted}
        goes = [line for one, line in self._lines.items() if one not in wanted]
        self._lines = stays
        _end(goes, timeout_s)
        self._past |= {line.name: line.count() for line in goes}
        started = {
            one: _Line(one.name, send, self._waits_s, self._past.get(one.name))
            for one, send in senders.items()
        }
        self._lines = {one: (stays | started)[one] for one in wanted}

    def post(self, message: Message) -> None:
        """Queue a message for every channel; returns at once."""
        for line in self._lines.values():
            line.put(message)

    @property
    def counts(self) -> tuple[ChannelCount, ...]:
        """What became of the messages, by channel."""
        return tuple(line.count() for line in self._lines.values())

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop the threads; what is still queued is dropped."""
        _end(list(self._lines.values()), timeout_s)


def _end(lines: list[_Line], timeout_s: float) -> None:
    for line in lines:
        line.stop()
    for line in lines:
        line.join(timeout_s / len(lines))
