"""k8s/Dockerfile, read instruction by instruction: there is no Docker daemon where tests run."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest
from packaging.specifiers import SpecifierSet

from serve_app.transport import best_transport
from tests.manifests import ROOT, pod_templates, render


class Instruction(NamedTuple):
    name: str
    value: str


def instructions(text: str) -> list[Instruction]:
    """Instructions of a Dockerfile; comments dropped, continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [Instruction(*line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def ignored(path: str, patterns: list[str]) -> bool:
    """Whether .dockerignore keeps *path* out of the build: the last pattern that fits decides."""
    verdict = False
    for pattern in patterns:
        if fnmatch.fnmatch(path, pattern.removeprefix("!")):
            verdict = not pattern.startswith("!")
    return verdict


@pytest.fixture(scope="module")
def dockerfile() -> list[Instruction]:
    return instructions((ROOT / "k8s" / "Dockerfile").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def project() -> dict[str, object]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: dict[str, object] = tomllib.load(file)["project"]
    return found


def values(dockerfile: list[Instruction], name: str) -> list[str]:
    return [i.value for i in dockerfile if i.name == name]


def defaults(dockerfile: list[Instruction]) -> dict[str, str]:
    """Build arguments and their defaults."""
    pairs = (value.partition("=") for value in values(dockerfile, "ARG"))
    return {name: default for name, _, default in pairs}


def requirements_of(dockerfile: list[Instruction], extras: str) -> list[str]:
    """What the image's own command makes of pyproject.toml."""
    (run,) = (value for value in values(dockerfile, "RUN") if "tomllib" in value)
    found = re.match(r'python -c "([^"]+)" "\$\{EXTRAS\}" > ', run)
    assert found
    command = [sys.executable, "-c", found[1], extras]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.split("\n")[:-1]


def test_what_is_copied_exists_and_is_not_ignored(dockerfile: list[Instruction]) -> None:
    patterns = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    patterns = [pattern for pattern in patterns if pattern and not pattern.startswith("#")]
    sources = [source for value in values(dockerfile, "COPY") for source in value.split()[:-1]]
    assert {"pyproject.toml", "constraints.txt", "serve_app", "telemetry"} <= {*sources}
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [source for source in sources if ignored(source, patterns)] == []
    assert ignored("tests", patterns)
    assert ignored(".git", patterns)


def test_it_runs_as_the_user_of_the_pods(dockerfile: list[Instruction]) -> None:
    user, _, group = values(dockerfile, "USER")[-1].partition(":")
    assert int(user) > 0
    for _, template in [*pod_templates(render("k8s/base")), *pod_templates(render("k8s/models"))]:
        security = template["spec"]["securityContext"]
        assert (security["runAsUser"], security["runAsGroup"]) == (int(user), int(group))
    # Nothing is installed after the user has changed.
    names = [i.name for i in dockerfile]
    assert "RUN" not in names[names.index("USER") :]


def test_the_base_is_pinned_and_fits(
    dockerfile: list[Instruction], project: dict[str, object]
) -> None:
    assert dockerfile[0].name == "ARG"
    assert values(dockerfile, "FROM") == ["${BASE}"]
    found = re.fullmatch(r"python:(\d+\.\d+\.\d+)-slim-bookworm", defaults(dockerfile)["BASE"])
    assert found
    assert found[1] in SpecifierSet(str(project["requires-python"]))
    # The tests ran on this one; wheels and pins are of its series.
    assert found[1].split(".")[:2] == [str(part) for part in sys.version_info[:2]]


def test_it_has_what_kuberay_runs(dockerfile: list[Instruction]) -> None:
    runs = values(dockerfile, "RUN")
    assert any(re.search(r"apt-get install .*\bwget\b", run) for run in runs)
    # bash is in the base. A PATH of its own would be lost in a login shell.
    assert not [value for value in values(dockerfile, "ENV") if "PATH=" in value]
    assert not [run for run in runs if "venv" in run]


def test_its_packages_are_those_of_the_project(
    dockerfile: list[Instruction], project: dict[str, object]
) -> None:
    extras = project["optional-dependencies"]
    assert isinstance(extras, dict)
    assert isinstance(project["dependencies"], list)
    default = defaults(dockerfile)["EXTRAS"]
    assert requirements_of(dockerfile, default) == [*project["dependencies"], *extras[default]]
    assert requirements_of(dockerfile, "") == project["dependencies"]
    installs = [part for run in values(dockerfile, "RUN") for part in run.split("&&")]
    installs = [part for part in installs if "pip install" in part]
    assert len(installs) == 2
    # What is not pinned by the constraints is our own code alone.
    assert [i for i in installs if "--constraint constraints.txt" not in i] == [
        i for i in installs if "--no-deps ." in i
    ]


def test_ray_is_pinned_to_the_version_of_the_manifests(project: dict[str, object]) -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    (pin,) = re.findall(r"^ray==(.+)$", pins, re.MULTILINE)
    (service,) = (m for m in render("k8s/base") if m["kind"] == "RayService")
    assert service["spec"]["rayClusterConfig"]["rayVersion"] == pin
    assert isinstance(project["dependencies"], list)
    (wanted,) = (d for d in project["dependencies"] if d.startswith("ray["))
    assert pin in SpecifierSet(wanted.partition("]")[2])


@pytest.mark.skipif(best_transport() == "proxy", reason="Ray brings no HAProxy along here")
def test_it_holds_the_haproxy_that_the_pods_are_told_of(
    dockerfile: list[Instruction], tmp_path: Path
) -> None:
    (run,) = (value for value in values(dockerfile, "RUN") if "transport" in value)
    *command, folder = run.split()
    assert command == ["python", "-m", "serve_app.transport"]
    maps = (m["data"] for m in render("k8s/base") if m["kind"] == "ConfigMap")
    (environment,) = (data for data in maps if "RAY_SERVE_ENABLE_HA_PROXY" in data)
    named = PurePosixPath(environment["RAY_SERVE_HAPROXY_BINARY_PATH"])
    assert named.parent == PurePosixPath(folder)
    arguments = [sys.executable, *command[1:], str(tmp_path)]
    subprocess.run(arguments, cwd=ROOT, check=True, timeout=30)
    version = subprocess.run(
        [tmp_path / named.name, "-v"], check=True, capture_output=True, timeout=30
    )
    assert version.stdout.startswith(b"HAProxy")
    # Another user starts it than the one who wrote it.
    assert all(made.stat().st_mode & 0o044 == 0o044 for made in tmp_path.iterdir())


def test_nothing_secret_and_nothing_fetched_by_hand(dockerfile: list[Instruction]) -> None:
    assert not values(dockerfile, "ADD")
    for instruction in dockerfile:
        assert not re.search(r"token|password|secret|api_?key", instruction.value, re.IGNORECASE)
        assert "://" not in instruction.value
