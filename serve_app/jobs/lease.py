"""Who owns the jobs of a store: one runner at a time, known by a number that only grows.

``owner/NUMBER.json`` is made by whoever owns the store from then on, and rewritten by it while it
lives. The highest number owns. To take over, a runner waits until the highest file says that it
was released, or belongs to a process of this machine that is gone, or has not changed for
``ttl_s`` on the waiter's own clock; then it tries to create the next number, which only one of
several can. No two machines' clocks are compared.

Where the store can't tell the first of several (see ``Folder.excludes``), whoever made the file is
a candidate only: it owns once it has read its own word back a while later, and loses if it reads
another's. An owner reads its file before it renews it, for the same reason.

The number is written into the name of every file that a runner writes later, and where two
runners wrote the same thing the higher number counts. So a runner that was stopped and wakes up
can do no harm, even in the moment before it notices.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from serve_app.errors import NotReadyError
from serve_app.jobs.folder import Folder

_FOLDER: Final = "owner"
_SURE_SHARE: Final = 0.6
"""Part of the time to live for which an owner may write without having renewed."""
_SETTLE_SHARE: Final = 0.2
"""Part of it for which a candidate waits; several may have made the same file until then."""


class LeaseLostError(NotReadyError):
    """Another runner owns the store now; this one has to stop, and the other will answer."""


class Lease:
    """The right to run a store's jobs. Methods but :attr:`epoch` block; call them from a thread.

    Args:
        folder: The store.
        clock: Monotonic seconds.
        ttl_s: How long an owner may be silent.
        proc: Where the machine shows its processes.
    """

    def __init__(
        self,
        folder: Folder,
        clock: Callable[[], float],
        *,
        ttl_s: float = 10.0,
        proc: Path = Path("/proc"),
    ) -> None:
        self._folder, self._clock, self._ttl_s, self._proc = folder, clock, ttl_s, proc
        self._holder = _holder(proc, os.getpid())
        self._number: int | None = None
        self._nonce = ""
        self._candidate: tuple[int, float] | None = None
        self._beat = 0
        self._sure_until_s = 0.0
        self._seen: tuple[bytes, float] | None = None

    @property
    def epoch(self) -> int:
        """The owner's number, if it is sure to own the store now.

        Raises:
            LeaseLostError: It does not own it.
            NotReadyError: It could not renew its lease for too long, but may still own it.
        """
        if self._number is None:
            raise LeaseLostError("this runner does not own the job store")
        if self._clock() > self._sure_until_s:
            raise NotReadyError("the lease on the job store could not be renewed; trying again")
        return self._number

    def acquire(self) -> bool:
        """Try to become the owner; ask again while it says no.

        Raises:
            NotReadyError: The store can't be reached.
        """
        newest = self._newest()
        if self._candidate is not None:
            number, made_s = self._candidate
            if newest == number and self._is_own(number):
                return self._settled(number, made_s)
            self._candidate = None
        if newest and not self._is_free(newest):
            return False
        self._nonce, asked_s = uuid.uuid4().hex, self._clock()
        if not self._folder.create(_path(newest + 1), self._content()):
            return False
        if self._folder.excludes:
            return self._own(newest + 1, asked_s)
        self._candidate = (newest + 1, asked_s)
        return False

    def _settled(self, number: int, made_s: float) -> bool:
        """A candidate becomes the owner once nobody can overwrite it any more."""
        if self._clock() - made_s < _SETTLE_SHARE * self._ttl_s:
            return False
        self._candidate = None
        return self._own(number, made_s)

    def _own(self, number: int, asked_s: float) -> bool:
        self._number, self._sure_until_s = number, asked_s + _SURE_SHARE * self._ttl_s
        for older in self._numbers():
            if older < number - 1:
                self._folder.remove(_path(older))
        return True

    def renew(self) -> None:
        """Say that the owner lives; several times within ``ttl_s``.

        Raises:
            LeaseLostError: Another runner has taken over.
            NotReadyError: The store can't be reached or is full.
        """
        if self._number is None:
            raise LeaseLostError("this runner does not own the job store")
        asked_s = self._clock()
        if self._newest() > self._number or not self._is_own(self._number):
            self._number = None
            raise LeaseLostError("another runner has taken over the job store")
        self._beat += 1
        self._folder.write(_path(self._number), self._content())
        self._sure_until_s = asked_s + _SURE_SHARE * self._ttl_s

    def release(self) -> None:
        """Let the next runner take over at once.

        Raises:
            NotReadyError: The store can't be reached or is full.
        """
        number, self._number = self._number, None
        if number is not None and self._newest() == number and self._is_own(number):
            self._folder.write(_path(number), self._content(released=True))

    def _is_own(self, number: int) -> bool:
        """Whether nobody else has written the file; one that is gone is nobody's."""
        try:
            return bool(_parsed(self._folder.read(_path(number))).get("nonce") == self._nonce)
        except FileNotFoundError:
            return True

    def _is_free(self, number: int) -> bool:
        try:
            data = self._folder.read(_path(number))
        except FileNotFoundError:
            return False
        now = self._clock()
        if self._seen is None or self._seen[0] != data:
            self._seen = (data, now)
        held = _parsed(data)
        if held.get("released") or self._is_dead(held.get("holder")):
            return True
        return now - self._seen[1] >= self._ttl_s

    def _is_dead(self, holder: Any) -> bool:
        """True if *holder* was a process among those seen here, and is gone."""
        if not isinstance(holder, dict) or not self._holder["space"]:
            return False
        if holder.get("space") != self._holder["space"]:
            return False
        return _holder(self._proc, int(holder["pid"])) != holder

    def _numbers(self) -> list[int]:
        names = self._folder.files(_FOLDER)
        return sorted(int(name[:8]) for name in names if name[:8].isdigit())

    def _newest(self) -> int:
        return max(self._numbers(), default=0)

    def _content(self, *, released: bool = False) -> bytes:
        said = {"holder": self._holder, "nonce": self._nonce, "beat": self._beat}
        return json.dumps(said | {"released": released}).encode()


def _path(number: int) -> str:
    return f"{_FOLDER}/{number:08d}.json"


def _parsed(data: bytes) -> dict[str, Any]:
    """What an owner said; nothing if it died while it wrote."""
    try:
        said = json.loads(data)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _holder(proc: Path, pid: int) -> dict[str, Any]:
    """A process by its number, its start, and the boot and name space in which both mean it."""
    try:
        boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
        space = f"{boot} {(proc / 'self/ns/pid').readlink()}"
        # The name stands in brackets and may hold anything; the 20th field behind it is the start.
        fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
        started, is_zombie = fields[19], fields[0] == "Z"
    except (OSError, IndexError):
        return {"space": "", "pid": pid, "started": ""}
    return {"space": space, "pid": pid, "started": "" if is_zombie else started}
