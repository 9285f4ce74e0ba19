"""A lack of memory, told apart from other failures.

torch raises OutOfMemoryError for its own allocations only. Libraries below it allocate too, and
their refusals come as plain errors with a text; a recording that is ended by one comes as an error
of its own, with the refusal as its context.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch

_REFUSALS: Final = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUDA driver error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "DEVICE_ALLOCATION_FAILED",
    "HOST_ALLOCATION_FAILED",
)
"""Of torch on a CPU, CUDA, cuBLAS and cuDNN."""


def is_memory(error: BaseException) -> bool:
    """Whether *error*, or one that it came from, says that memory ran out."""
    return any(
        isinstance(one, torch.OutOfMemoryError | MemoryError)
        or any(refusal in str(one) for refusal in _REFUSALS)
        for one in _chain(error)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
