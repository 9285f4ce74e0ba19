"""Nodes whose clocks are wrong: by how much, so that their readings can be told in one time.

The cluster has one history, in the time of whoever keeps it. A node that is set ten minutes ahead
would otherwise be drawn in the future, and once its clock is put right all that it tells is older
than what is known. Clocks that differ by less than an answer may take are taken as they are.
"""

from __future__ import annotations

from typing import Final

TOLERANCE_S: Final = 5.0
"""Differences up to this are not told from the time that an answer takes."""


class NodeClocks:
    """How far each node's clock is ahead; plain state.

    A difference that is known is held while it holds about, so that windows don't tremble.
    """

    def __init__(self) -> None:
        self._ahead_s: dict[str, float] = {}

    def heard(self, node: str, taken_at: float, now: float) -> None:
        """Take a node's Unix time, told in an answer that came at *now*."""
        seen_s = taken_at - now
        if abs(seen_s - self._ahead_s.get(node, 0.0)) <= TOLERANCE_S:
            return
        # Whole seconds: windows of a second stay windows of a second.
        self._ahead_s[node] = float(round(seen_s)) if abs(seen_s) > TOLERANCE_S else 0.0

    def ahead_s(self, node: str) -> float:
        """Seconds to take away from what a node tells; negative where its clock is behind."""
        return self._ahead_s.get(node, 0.0)

    def keep(self, nodes: set[str]) -> None:
        """Forget all other nodes."""
        self._ahead_s = {node: by_s for node, by_s in self._ahead_s.items() if node in nodes}
