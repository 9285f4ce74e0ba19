"""The studio's parts that need no browser: settings, examples, pieces of HTML, what is imported."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.config import load_serve_file
from serve_app.core.script import parse
from serve_app.errors import ConfigError
from serve_app.ui import studio_html
from serve_app.ui.recordings import Order, Recording, Status
from serve_app.ui.speech_api import Progress, SpeechApi
from serve_app.ui.studio_settings import load_examples, parse_studio_settings

ROOT = Path(__file__).parents[2]


def progress(segments: int, done: int, **changes: Any) -> Progress:
    base: dict[str, Any] = {
        "status": "running",
        "segments": segments,
        "segments_done": done,
        "estimated_s": 10.0,
        "audio_s": 2.0,
        "elapsed_s": 1.0,
        "first_audio_s": 0.25,
        "retries": 0,
        "error": None,
    }
    return Progress(**{**base, **changes})


@functools.cache
def recording() -> Recording:
    return Recording("key", Order("Hello.", {}, "flac"), Path("/nowhere"), SpeechApi("http://none"))


@given(st.integers(1, 5000), st.data())
def test_cells_are_full_only_when_every_segment_is_done(segments: int, data: st.DataObject) -> None:
    done = data.draw(st.integers(0, segments))
    shown = studio_html.take("", recording(), Status("speaking", 1, progress(segments, done)))
    cells, full = len(re.findall("<i", shown)), shown.count("class=done")
    assert cells == min(segments, studio_html.MOST_CELLS)
    assert (full == cells) == (done == segments)
    assert f'aria-valuenow="{done}"' in shown


@given(st.text())
def test_no_text_becomes_markup(text: str) -> None:
    hostile = text + "<script>\"'"
    shown = [
        studio_html.error_box(hostile),
        studio_html.cast_line((hostile,), 3),
        studio_html.monitor_frame(hostile),
        studio_html.take("", recording(), Status("failed", 0, None, hostile)),
    ]
    assert all("<script>" not in markup for markup in shown)


def test_the_download_is_there_when_it_is_whole() -> None:
    speaking = studio_html.take("/studio", recording(), Status("speaking", 9, progress(2, 1)))
    complete = studio_html.take("/studio", recording(), Status("complete", 9, progress(2, 2)))
    assert "download" not in speaking
    assert 'href="/studio/recordings/key.flac?download=1"' in complete


def test_every_built_in_example_is_a_script() -> None:
    examples = load_examples([str(ROOT / "configs/examples/scene.txt")])
    assert set(examples) >= {"Lighthouse", "Radio hour", "Story", "Scene"}
    speakers = {title: len(parse(text).speakers) for title, text in examples.items()}
    assert speakers == {"Lighthouse": 2, "Radio hour": 3, "Story": 1, "Scene": 4}


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ConfigError, match="service_ur"):
        parse_studio_settings({"service_ur": "http://127.0.0.1:8000"})
    with pytest.raises(ConfigError, match=r"nowhere\.txt"):
        load_examples(["nowhere.txt"])


def test_the_config_serves_both() -> None:
    file = load_serve_file(ROOT / "configs" / "studio.yaml")
    speech, studio = file.raw["applications"]
    assert (speech["route_prefix"], studio["route_prefix"]) == ("/", "/studio")
    assert studio["import_path"] == "serve_app.ui.studio:build"
    settings = parse_studio_settings(studio["args"])
    assert settings.service_url == f"http://{file.host}:{file.port}"
    assert all((ROOT / name).is_file() for name in settings.example_files)


def test_gradio_and_plotly_are_imported_by_the_page_alone() -> None:
    code = (
        "import sys, serve_app.cli, serve_app.app, serve_app.ui.studio\n"
        "import serve_app.ingress.http, telemetry.report\n"
        "assert telemetry.report.find_plotly_js() is not None\n"
        "print(sorted({'gradio', 'plotly'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
