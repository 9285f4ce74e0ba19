"""Without a service, the command line shows the cards that this machine's driver tells of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.driver.build import build, cards, environment, write_state
from tests.processes import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

CARDS = 8


def test_gpus_without_a_service_shows_this_machine_s_cards(tmp_path: Path) -> None:
    state = tmp_path / "cards.state"
    write_state(state, cards(CARDS))
    command = Path(sys.executable).with_name("vibevoice-serve")
    shown = subprocess.run(
        [command, "gpus", "--once", "--url", f"http://127.0.0.1:{free_port()}"],
        env={**environment(build(tmp_path), state), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert "cards of this machine" in shown
    for card in cards(CARDS):
        assert f"{card.temp} C" in shown
    assert "simulated" not in shown
