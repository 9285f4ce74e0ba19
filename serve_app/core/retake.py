"""A later take held against what of an earlier one has left, without keeping the audio."""

from __future__ import annotations

import hashlib

from serve_app.core.audio import BYTES_PER_S
from serve_app.errors import TakeMismatchError

_DIGEST_BYTES = 16


class Outgoing:
    """What of a part has left, and the check of each later take against it.

    Nothing may leave between :meth:`restart` and the moment at which the new take has caught up;
    what :meth:`skip` returns is what may leave next.
    """

    def __init__(self) -> None:
        self._sent = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        self.sent_bytes = 0
        self._owed_bytes = 0
        self._again = hashlib.blake2b(digest_size=_DIGEST_BYTES)

    def leave(self, pcm: bytes) -> None:
        """Note that *pcm* has been handed to the listener."""
        self._sent.update(pcm)
        self.sent_bytes += len(pcm)

    def restart(self) -> None:
        """A new take begins; it owes what had left."""
        self._owed_bytes = self.sent_bytes
        self._again = hashlib.blake2b(digest_size=_DIGEST_BYTES)

    @property
    def caught_up(self) -> bool:
        """The current take has reached what had left."""
        return self._owed_bytes == 0

    def skip(self, pcm: bytes) -> bytes:
        """Return what of the take's next bytes is new.

        Raises:
            TakeMismatchError: The take differs from what has left.
        """
        if self.caught_up:
            return pcm
        known = pcm[: self._owed_bytes]
        self._again.update(known)
        self._owed_bytes -= len(known)
        if self.caught_up and self._again.digest() != self._sent.digest():
            raise TakeMismatchError(
                "A second take of a segment differs from the part already sent "
                f"({self.sent_bytes / BYTES_PER_S:.1f} s): the stream ends here. Send the request "
                "again; if it recurs, the engine is not deterministic on these cards."
            )
        return pcm[len(known) :]
