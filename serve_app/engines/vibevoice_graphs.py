"""Work of fixed shapes, recorded once on a card and replayed: CUDA graphs.

A frame is thousands of small kernels, and starting them one by one takes longer than they do. A
recorded frame starts as a whole. A recording repeats the same kernels on the same addresses: what
it reads and writes must live in buffers that stay, and no number of the host's may steer it.

``Direct`` computes as it goes. ``Recorded`` asks for a capture and replays; tests give it one that
records on a CPU what a card would. **The capture of CUDA itself was never run: there was no card.**
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from typing import Final, Protocol

import torch
from torch import Tensor

from serve_app.engines.vibevoice_shortage import is_memory

logger = logging.getLogger(__name__)

KEPT: Final = 64
"""Recordings kept: four widths of a batch at sixteen lengths."""

WARM_UPS: Final = 2
"""Runs before a recording, in which libraries choose kernels and set up their workspaces."""

Body = Callable[[], Tensor]
Capture = Callable[[Body], tuple[Callable[[], None], Tensor]]
"""Runs a body once or more and gives what repeats it, and the tensor it then leaves its result in.

Raises:
    RuntimeError: It can't be recorded.
"""
Captures = Callable[[], Capture]
"""Makes a capture whose recordings may share scratch memory with each other."""


class Runner(Protocol):
    """Runs the parts of a frame."""

    def width(self, rows: int) -> int:
        """Rows that are computed for so many."""
        ...

    def run(self, key: Hashable, body: Body) -> Tensor:
        """What *body* gives; it may be overwritten by the next run.

        Args:
            key: Of bodies that do the same to the same buffers.
            body: May be run more than once, with the same result.
        """
        ...

    def forget(self) -> None:
        """Buffers have moved: nothing recorded is true any more."""
        ...


class Direct:
    """Computes as it goes."""

    def width(self, rows: int) -> int:
        """See :class:`Runner`."""
        return rows

    def run(self, _key: Hashable, body: Body) -> Tensor:
        """See :class:`Runner`."""
        return body()

    def forget(self) -> None:
        """See :class:`Runner`."""


class Recorded:
    """Records each body once and replays it; computes as it goes if that fails.

    Args:
        captures: Makes what records bodies; called again after all recordings were forgotten.
        kept: Recordings kept, the latest used.
    """

    def __init__(self, captures: Captures, kept: int = KEPT) -> None:
        self._captures: Captures | None = captures
        self._capture: Capture | None = None
        self._kept = kept
        self._recordings: OrderedDict[Hashable, tuple[Callable[[], None], Tensor]] = OrderedDict()

    @property
    def count(self) -> int:
        """Recordings there are."""
        return len(self._recordings)

    def width(self, rows: int) -> int:
        """The next power of two: few shapes."""
        return 1 << (rows - 1).bit_length()

    def run(self, key: Hashable, body: Body) -> Tensor:
        """See :class:`Runner`.

        Raises:
            Exception: There is no memory for the recording
                (:func:`~serve_app.engines.vibevoice_shortage.is_memory`).
        """
        if key in self._recordings:
            self._recordings.move_to_end(key)
        elif self._captures is None or not self._record(self._captures, key, body):
            return body()
        replay, result = self._recordings[key]
        replay()
        return result

    def forget(self) -> None:
        """See :class:`Runner`."""
        self._recordings.clear()
        self._capture = None  # torch lets no one record into a pool that all others have left

    def _record(self, captures: Captures, key: Hashable, body: Body) -> bool:
        try:
            if self._capture is None:
                self._capture = captures()
            self._recordings[key] = self._capture(body)
        except RuntimeError as error:
            self.forget()
            if is_memory(error):
                raise
            logger.warning("frames can't be recorded and are computed one by one: %s", error)
            self._captures = None
            return False
        if len(self._recordings) > self._kept:
            self._recordings.popitem(last=False)
        return True


def runner(device: torch.device, *, cuda_graphs: bool) -> Runner:
    """``Recorded`` where it is wanted and there is a card, else ``Direct``."""
    if cuda_graphs and device.type == "cuda":
        return Recorded(partial(cuda_capture, device))
    return Direct()


def cuda_capture(device: torch.device) -> Capture:
    """Records on a card; all recordings of one capture share their scratch memory.

    They may, because they run one after another and leave nothing in it but a result that is
    read at once.
    """
    with torch.cuda.device(device):
        pool = torch.cuda.graph_pool_handle()
        # One stream: another one could not use the pool's memory again.
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def capture(body: Body) -> tuple[Callable[[], None], Tensor]:
        with torch.cuda.device(device):
            caller = torch.cuda.current_stream()
            stream.wait_stream(caller)
            # Around all of it: a recording that fails does not leave its stream.
            with torch.cuda.stream(stream):
                for _ in range(WARM_UPS):
                    body()
                graph = torch.cuda.CUDAGraph()
                # Other threads may ask the card for its memory meanwhile.
                with torch.cuda.graph(
                    graph, pool=pool, stream=stream, capture_error_mode="thread_local"
                ):
                    result = body()
            caller.wait_stream(stream)
        return graph.replay, result

    return capture
