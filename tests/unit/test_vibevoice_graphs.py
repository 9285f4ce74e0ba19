"""Frames that are recorded and replayed, with a recorder on the CPU in place of the card's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from serve_app.engines.vibevoice_frame import Device
from serve_app.engines.vibevoice_graphs import Direct, Recorded, cuda_capture, runner
from serve_app.engines.vibevoice_load import LoadedModel
from serve_app.engines.vibevoice_loop import Batch, Row
from serve_app.engines.vibevoice_prefill import Reader
from serve_app.engines.vibevoice_prompt import turns_of
from serve_app.engines.vibevoice_shortage import is_memory
from tests.tiny_vibevoice import ArrayVoices
from tests.vibevoice_engine import tiny
from tests.vibevoice_runs import SEGMENTS, Segment, distance, speak

SHORTAGES = (
    torch.OutOfMemoryError("planted"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
)


def _no_room(recorded: Recorded) -> None:
    with pytest.raises(RuntimeError) as raised:
        recorded.run("b", lambda: torch.zeros(1))
    assert is_memory(raised.value)


WAITS = {"_local_scalar_dense", "nonzero", "is_nonzero", "equal"}
"""Operations whose result the host needs before it can go on."""

FROM_THE_HOST = {"lift_fresh", "lift_fresh_copy"}
"""Tensors made of the host's numbers."""


class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch tells no types here
    """Writes down every operation, and does them again with the same tensors.

    Like a graph of CUDA it knows addresses and numbers, and no Python.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch tells no types here
        self._steps: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in WAITS | FROM_THE_HOST:
            raise AssertionError(f"{name} can't be recorded")
        result = func(*args, **kwargs)
        self._steps.append((func, args, kwargs, result))
        return result

    def replay(self) -> None:
        for func, args, kwargs, kept in self._steps:
            fresh = func(*args, **kwargs)
            for old, new in zip(tree_leaves(kept), tree_leaves(fresh), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def on_tape(body: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """What a capture on a card does: the body runs before, and once while it is recorded."""
    body()
    tape = Tape()
    with tape:
        result = body()
    return tape.replay, result


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return tiny()


class TestFrames:
    def test_replayed_to_the_same_bits(self, loaded: LoadedModel) -> None:
        """Segments come and go at their own lengths and settings, and buffers grow."""
        captures = mock.Mock(side_effect=on_tape)
        recorded = Recorded(lambda: captures)
        heard = speak(loaded, SEGMENTS, runner=recorded)
        direct = speak(loaded, SEGMENTS)
        assert all(np.array_equal(one, other) for one, other in zip(heard, direct, strict=True))
        assert 0 < recorded.count <= captures.call_count

    def test_few_shapes(self, loaded: LoadedModel) -> None:
        keys: set[Any] = set()
        runs = 0

        class Counting(Recorded):
            def run(self, key: Any, body: Callable[[], Tensor]) -> Tensor:
                nonlocal runs
                runs += 1
                keys.add(key)
                return super().run(key, body)

        crowd = [
            Segment(SEGMENTS[at % 3].lines, 6 + at % 5, seed=at, arrives=at) for at in range(12)
        ]
        speak(loaded, crowd, runner=Counting(lambda: on_tape))
        assert runs > 20
        assert {key[1] for key in keys} <= {1, 2, 4, 8}
        assert {key[2] for key in keys if key[0] == "think"} <= {256, 384}
        assert len(keys) <= 10

    def test_it_would_notice_buffers_that_move(self, loaded: LoadedModel) -> None:
        direct = speak(loaded, SEGMENTS)
        with mock.patch.object(Recorded, "forget"):
            heard = speak(loaded, SEGMENTS, runner=Recorded(lambda: on_tape))
        assert distance(heard, direct) > 1e-4

    def test_it_would_notice_a_number_of_the_hosts(self, loaded: LoadedModel) -> None:
        """Guidance as a Python number would be recorded, and stay what it was."""
        stock: Callable[..., Tensor] = Device._latents

        def frozen(self: Device, given: Tensor, *args: Any) -> Tensor:
            fixed = given.clone()
            fixed[:, self.latent] = float(self._told[0, self.latent])
            return stock(self, fixed, *args)

        with (
            mock.patch.object(Device, "_latents", frozen),
            pytest.raises(AssertionError, match="recorded"),
        ):
            speak(loaded, SEGMENTS, runner=Recorded(lambda: on_tape))

    def test_one_wait_for_the_device_a_frame(self, loaded: LoadedModel) -> None:
        class Waits(TorchDispatchMode):  # type: ignore[no-untyped-call] # nor here
            count = 0

            def __torch_dispatch__(
                self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
            ) -> Any:
                kwargs = kwargs or {}
                fetches = kwargs.get("device") is not None and kwargs.get("copy", False)
                self.count += func.overloadpacket.__name__ in WAITS or fetches
                return func(*args, **kwargs)

        with torch.inference_mode():
            reader = Reader(loaded, ArrayVoices())
            batch = Batch(loaded, reader.begin())
            for segment in SEGMENTS[1:4]:
                row = Row(20, torch.Generator().manual_seed(segment.seed), 1.3, segment.steps)
                batch.join(row, reader.read(reader.prompt(turns_of(segment.lines))))
            for _ in range(4):
                with Waits() as waits:  # type: ignore[no-untyped-call] # nor here
                    assert len(batch.sound()) == 3
                    batch.think()
                assert waits.count == 1


class TestRecorded:
    def test_a_body_that_can_not_be_recorded_is_run_as_it_is(self) -> None:
        refused = mock.Mock(side_effect=RuntimeError("operation not permitted"))
        recorded = Recorded(lambda: refused)
        results = [float(recorded.run("key", lambda: torch.tensor(2.5))) for _ in range(3)]
        assert results == [2.5] * 3
        assert recorded.count == 0

    @pytest.mark.parametrize("error", SHORTAGES, ids=str)
    def test_no_room_is_told_and_recording_goes_on(self, error: Exception) -> None:
        """In a pool of its own: what failed has left the one before with nobody in it."""
        made = []

        def captures() -> Any:
            made.append(mock.Mock(side_effect=[on_tape(lambda: torch.ones(1)), error]))
            return made[-1]

        recorded = Recorded(captures)
        for key in ("a", "b", "c"):
            recorded.run(key, lambda: torch.ones(1)) if key != "b" else _no_room(recorded)
        assert [each.call_count for each in made] == [2, 1]
        recorded.forget()
        assert recorded.run("a", lambda: torch.ones(1)) == 1
        assert len(made) == 3

    def test_a_failed_recording_that_hides_its_cause_is_a_lack_of_memory(self) -> None:
        def capture(_body: object) -> Any:
            try:
                raise SHORTAGES[0]
            finally:
                raise RuntimeError("operation failed due to a previous error during capture")

        _no_room(Recorded(lambda: capture))

    def test_the_longest_unused_goes(self) -> None:
        captures = mock.Mock(side_effect=on_tape)
        recorded = Recorded(lambda: captures, kept=2)
        counted = torch.zeros(1)

        def double() -> Tensor:
            return 2 * counted

        for key in ("a", "b", "a", "c", "a", "b"):
            counted.add_(1)
            assert recorded.run(key, double) == 2 * counted
            assert recorded.count <= 2
        assert captures.call_count == 4  # a, b, c, and b again

    @pytest.mark.parametrize("rows", range(1, 40))
    def test_width(self, rows: int) -> None:
        width = Recorded(lambda: on_tape).width(rows)
        assert rows <= width < 2 * rows
        assert width & (width - 1) == 0

    def test_only_where_there_is_a_card(self) -> None:
        assert isinstance(runner(torch.device("cpu"), cuda_graphs=True), Direct)
        assert isinstance(runner(torch.device("cuda"), cuda_graphs=False), Direct)

    def test_everything_happens_on_the_card_that_is_asked_for(self) -> None:
        """There is none here: torch's own functions write down which one is the current one."""
        card, seen = [0], []

        def noted(name: str) -> Callable[..., Any]:
            def call(*_args: Any, **_kwargs: Any) -> Any:
                seen.append((name, card[0]))
                return mock.MagicMock()

            return call

        @contextmanager
        def device(wanted: torch.device) -> Iterator[None]:
            before, card[0] = card[0], wanted.index
            yield
            card[0] = before

        names = ("graph_pool_handle", "Stream", "current_stream", "stream", "graph", "CUDAGraph")
        with ExitStack() as stack:
            stack.enter_context(mock.patch("torch.cuda.device", device))
            for name in names:
                stack.enter_context(mock.patch(f"torch.cuda.{name}", noted(name)))
            cuda_capture(torch.device("cuda", 3))(lambda: torch.ones(1))
        assert {name for name, _ in seen} == set(names)
        assert {where for _, where in seen} == {3}
