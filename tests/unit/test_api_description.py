"""The API's description is true: generated requests, wrong ones too, get only what it says.

``API_EXAMPLES`` sets how many requests are made in all; ``make test`` makes 300.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS, load_all_checks

from serve_app.access import Access
from serve_app.core.limits import KeyLimits
from serve_app.ingress.http import create_app
from serve_app.keys import ApiKey, KeyRing, digest_of
from serve_app.voice_desk import VoiceDesk
from serve_app.voice_roster import LibraryReplicas, VoiceRoster
from serve_app.voices import VoiceLibrary
from tests.browser.serving import serving
from tests.unit.fake_replicas import FakeReplicas
from tests.unit.ingress_stage import ENGINE, Known, service

EXAMPLES = int(os.environ.get("API_EXAMPLES", "300"))
KEY = "vvs-described"
HEADERS = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    ring = KeyRing([ApiKey("tester", digest_of(KEY), admin=True, limits=KeyLimits())])
    roster = VoiceRoster(VoiceLibrary("memory://described"))
    engine = replace(ENGINE, library_languages=("en",))
    built = service(
        FakeReplicas(),
        voices=VoiceDesk(roster),
        listed=LibraryReplicas(Known(engine=engine), roster),
    )
    with serving(lambda _url: create_app(built, Access(ring))) as served:
        yield served.url


@pytest.fixture(scope="module")
def api(url: str) -> schemathesis.BaseSchema:
    load_all_checks()
    # A parameter that nobody knows is ignored, as everywhere on the web.
    config = schemathesis.Config.from_dict({"generation": {"allow-extra-parameters": False}})
    return schemathesis.openapi.from_url(f"{url}/openapi.json", headers=HEADERS, config=config)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_every_answer_is_described(
    api: schemathesis.BaseSchema, mode: schemathesis.GenerationMode
) -> None:
    operations = [found.ok() for found in api.get_all_operations()]
    rich = [found for found in operations if found.body or any(parameters_of(found))]
    assert len(rich) >= 8
    each = EXAMPLES // (len(rich) * len(schemathesis.GenerationMode))
    # What takes nothing can't be asked wrongly.
    asked = operations if mode is schemathesis.GenerationMode.POSITIVE else rich
    with requests.Session() as session:
        for operation in asked:
            hold(operation, mode, each, session)


def parameters_of(operation: schemathesis.APIOperation) -> Iterator[object]:
    """What a request to it can get wrong beside its body."""
    for place in (operation.path_parameters, operation.query, operation.headers):
        yield from place


def hold(
    operation: schemathesis.APIOperation,
    mode: schemathesis.GenerationMode,
    examples: int,
    session: requests.Session,
) -> None:
    """Send requests to one operation and check each answer against its description."""

    # Which voices and names there are, and what a text may be, no schema can say: a body that fits
    # it may still be refused.
    excluded = [CHECKS.get_one("positive_data_acceptance")] if operation.body else []

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(
            session=session, headers=HEADERS, timeout=30, excluded_checks=excluded
        )

    check()


def test_it_names_the_key_and_the_open_routes(url: str) -> None:
    described = requests.get(f"{url}/openapi.json", timeout=10).json()
    assert "security" not in described["paths"]["/healthz"]["get"]
    assert described["paths"]["/v1/audio/speech"]["post"]["security"]
    assert described["components"]["securitySchemes"]
    for methods in described["paths"].values():
        for operation in methods.values():
            assert "422" not in operation["responses"]
            for status, answer in operation["responses"].items():
                assert answer["content"], (operation["operationId"], status)
