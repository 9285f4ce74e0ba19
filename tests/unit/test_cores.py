"""The cores import nothing that could block, draw or phone home: by a list of what they may."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAY_IMPORT = {
    "serve_app/core": {"numpy", "sentencex", "serve_app.core", "serve_app.errors"},
    "telemetry/core": {"telemetry.core"},
    "serve_app/errors.py": set(),
}
SOURCES = [
    pytest.param(allowed, file, id=str(file.relative_to(ROOT)))
    for place, allowed in MAY_IMPORT.items()
    for file in (sorted((ROOT / place).rglob("*.py")) or [ROOT / place])
]


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported anywhere in a file, with the name taken from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            yield from (f"{start}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Name) and node.id in {"__import__", "importlib"}:
            yield node.id


def forbidden(source: str, allowed: set[str]) -> list[str]:
    free = allowed | (sys.stdlib_module_names - {"importlib"})
    return [
        name
        for name in imported(ast.parse(source))
        if not any(name == module or name.startswith(f"{module}.") for module in free)
    ]


@pytest.mark.parametrize(("allowed", "file"), SOURCES)
def test_a_core_imports_what_it_may(allowed: set[str], file: Path) -> None:
    assert forbidden(file.read_text(encoding="utf-8"), allowed) == []


@pytest.mark.parametrize(
    "source",
    [
        "import ray",
        "import numpy, torch.nn",
        "from serve_app import takes",
        "from serve_app.corelike import x",
        "def late():\n    from telemetry.nvml import read",
        "from . import anything",
        "import importlib",
        "__import__('ray')",
    ],
)
def test_anything_else_is_found(source: str) -> None:
    assert forbidden(source, MAY_IMPORT["serve_app/core"]) != []
