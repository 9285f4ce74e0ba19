"""The stand-in driver, compiled once, and processes that see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.driver.build import build, environment
from tests.driver.nvml_child import NvmlChild


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "cards.state"


@pytest.fixture
def start(library: Path, state: Path) -> Iterator[Callable[..., NvmlChild]]:
    """Starts children, with more environment variables; the state should stand before."""
    started: list[NvmlChild] = []

    def begin(**variables: str) -> NvmlChild:
        started.append(NvmlChild({**environment(library, state), **variables}))
        return started[-1]

    yield begin
    for child in started:
        child.stop()
