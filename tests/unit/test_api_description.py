"""The API's description is true: generated requests, wrong ones too, get only what it says.

``API_EXAMPLES`` sets how many requests are made in all; ``make test`` makes 300. Requests that name
a job get one that is there, more often than not: what a name that nobody knows is answered is soon
told.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CheckFunction, load_all_checks
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.unit.api_scene import HEADERS, STANDINGS, JobsThatStand, everything

EXAMPLES = int(os.environ.get("API_EXAMPLES", "300"))
FIELDS: dict[str, dict[str, Any]] = {
    "/v1/audio/speech": {"model": "tts-1", "voice": "alto", "instructions": None},
    "/v1/audio/dialogue": {"model": "tts-1", "voice": "alto", "instructions": None},
    "/v1/jobs": {"input": "A ship. It sails.", "voice": "sim-1", "voices": {}, "options": {}},
    "/v1/jobs/{job_id}/segments/{number}/retry": {"voice": None, "voices": {}},
}
Operation = schemathesis.APIOperation[Any, Any, Any, Any]
ENDLESS = ("/v1/jobs/{job_id}/audio", "/v1/jobs/{job_id}/events")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with everything(tmp_path_factory.mktemp("jobs")) as served:
        yield served


@pytest.fixture(scope="module")
def api(url: str) -> schemathesis.BaseSchema:
    load_all_checks()
    # A parameter that nobody knows is ignored, as everywhere on the web.
    config = schemathesis.Config.from_dict({"generation": {"allow-extra-parameters": False}})
    return schemathesis.openapi.from_url(f"{url}/openapi.json", headers=HEADERS, config=config)


@dataclass
class Asked:
    """Who asks, and what was answered.

    Args:
        jobs: That there are.
        session: Connections.
        statuses: Of all answers, by operation.
    """

    jobs: JobsThatStand
    session: requests.Session
    statuses: dict[str, list[int]] = field(default_factory=dict)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_every_answer_is_described(
    api: schemathesis.BaseSchema, url: str, mode: schemathesis.GenerationMode
) -> None:
    described = list(api.get_all_operations())
    operations = [found.ok() for found in described if isinstance(found, Ok)]
    assert len(operations) == len(described)
    rich = [found for found in operations if found.body or any(parameters_of(found))]
    assert len(rich) >= 20
    each = EXAMPLES // (len(rich) * len(schemathesis.GenerationMode))
    # What takes nothing can't be asked wrongly.
    asked = operations if mode is schemathesis.GenerationMode.POSITIVE else rich
    with requests.Session() as session:
        asking = Asked(JobsThatStand(url), session)
        for operation in asked:
            hold(operation, mode, each, asking)
    told = {status for answers in asking.statuses.values() for status in answers}
    assert not told & {500, 502}
    if mode is schemathesis.GenerationMode.POSITIVE:
        of_jobs = [found for name, found in asking.statuses.items() if "{job_id}" in name]
        assert sum(min(found) < 400 for found in of_jobs) > len(of_jobs) / 2, "no job was found"
    print_answers(asking.statuses)


def print_answers(statuses: dict[str, list[int]]) -> None:
    for name, answers in statuses.items():
        counts = {status: answers.count(status) for status in sorted(set(answers))}
        print(f"{sum(counts.values()):5d} {name}: {counts}")


def parameters_of(operation: Operation) -> Iterator[object]:
    """What a request to it can get wrong beside its body."""
    for place in (operation.path_parameters, operation.query, operation.headers):
        yield from place


def hold(
    operation: Operation,
    mode: schemathesis.GenerationMode,
    examples: int,
    asking: Asked,
) -> None:
    """Send requests to one operation and check each answer against its description."""

    # Which voices and names there are, what a text may be and what a job is ready for, no schema
    # can say: what fits it may still be refused.
    told = operation.body or "{job_id}" in operation.path
    right = mode is schemathesis.GenerationMode.POSITIVE
    excluded: list[CheckFunction] = [positive_data_acceptance] if told else []
    answers = asking.statuses.setdefault(operation.label, [])

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=operation.as_strategy(generation_mode=mode),
        names=names_of(operation),
        known=st.booleans(),
    )
    def check(case: schemathesis.Case[Any], names: dict[str, object], known: bool) -> None:
        if "job_id" in names:
            names = {**names, "job_id": asking.jobs.one(str(names["job_id"]))}
        if not right:  # a number that is wrong is to stay so
            names = {name: value for name, value in names.items() if name != "number"}
        if names:
            case.path_parameters = {**case.path_parameters, **names}
        # As JSON has them; a form has text in their place.
        completed = known and right and case.media_type == "application/json"
        if completed and isinstance(case.body, dict):
            case.body = {**case.body, **FIELDS.get(operation.path, {})}
        answer = case.call(session=asking.session, headers=HEADERS, timeout=60)
        answers.append(answer.status_code)
        case.validate_response(answer, excluded_checks=excluded, headers=HEADERS)

    check()


def names_of(operation: Operation) -> st.SearchStrategy[dict[str, object]]:
    """Names in the path that are there, or none."""
    # What follows a job that is paused goes on for as long as it is.
    places = [it for it in STANDINGS if it != "paused" or operation.path not in ENDLESS]
    there: dict[str, st.SearchStrategy[object]] = {
        "job_id": st.sampled_from(places),
        "number": st.integers(0, 1),
        "voice_id": st.sampled_from(["alto", "Tom", "alloy"]),
        "model": st.sampled_from(["fake-1", "tts-1"]),
    }
    named = {name: one for name, one in there.items() if f"{{{name}}}" in operation.path}
    known = st.fixed_dictionaries(named)
    return st.one_of(known, known, known, st.just({})) if named else st.just({})


def test_its_examples_are_spoken(url: str) -> None:
    described = requests.get(f"{url}/openapi.json", timeout=10).json()
    for name, path in (("SpeechRequest", "speech"), ("DialogueRequest", "dialogue")):
        examples = described["components"]["schemas"][name]["examples"]
        assert examples
        for example in examples:
            answer = requests.post(
                f"{url}/v1/audio/{path}", json=example, headers=HEADERS, timeout=30
            )
            assert (answer.status_code, len(answer.content) > 1000) == (200, True), answer.text


def test_it_names_the_key_and_the_open_routes(url: str) -> None:
    described = requests.get(f"{url}/openapi.json", timeout=10).json()
    assert "security" not in described["paths"]["/healthz"]["get"]
    assert described["paths"]["/v1/audio/speech"]["post"]["security"]
    assert described["components"]["securitySchemes"]
    for methods in described["paths"].values():
        for operation in methods.values():
            assert "422" not in operation["responses"]
            for status, answer in operation["responses"].items():
                bare = int(status) in {204, 304}
                assert ("content" in answer) is not bare, (operation["operationId"], status)


def test_what_stands_before_the_routes_is_told_of_each(url: str) -> None:
    described = requests.get(f"{url}/openapi.json", timeout=10).json()
    for methods in described["paths"].values():
        for method, operation in methods.items():
            statuses = set(operation["responses"])
            assert {"413", "431"} <= statuses
            assert method == "get" or "403" in statuses
            assert "requestBody" not in operation or "415" in statuses
    for path in ("/v1/models", "/healthz"):
        answer = requests.get(f"{url}{path}", data=bytes(3 << 20), headers=HEADERS, timeout=30)
        assert answer.status_code == 413
    text = {**HEADERS, "content-type": "text/plain", "origin": url}
    for headers, status in ((text, 415), ({**HEADERS, "origin": "https://evil.example"}, 403)):
        answer = requests.post(f"{url}/v1/jobs", data=b"{}", headers=headers, timeout=30)
        assert answer.status_code == status


def test_what_is_too_long_is_sent_to_jobs(url: str) -> None:
    body = {"model": "tts-1", "voice": "alto"}
    for text in ("x" * 5001, "x" * 3_000_000):
        said = {**body, "input": text}
        answer = requests.post(f"{url}/v1/audio/speech", json=said, headers=HEADERS, timeout=30)
        assert answer.status_code == 413
        assert "POST /v1/jobs" in answer.json()["error"]["message"]
