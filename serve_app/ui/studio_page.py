"""The studio's page: the only module that imports Gradio.

Nothing on it comes from another host: no font, no analytics, no content delivery network.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

import gradio as gr
from fastapi import FastAPI

from serve_app.core.script import MAX_SPEAKERS, parse
from serve_app.errors import EmptyInputError, ServeError
from serve_app.ui import studio_html as html
from serve_app.ui.recordings import Order, Recordings
from serve_app.ui.speech_api import SpeechApi

AUTO: Final = "auto"
FORMATS: Final = ("mp3", "flac", "wav")

Login = Callable[[str, str], Awaitable[bool]]
"""Whether a name and a password may come in."""

_LOGIN: Final = "Any name; as the password an API key of the speech service."
_AUTOMATIC: Final = ("Automatic", AUTO)

_REFRESH_S: Final = 0.5
_FONT: Final = ("system-ui", "Segoe UI", "Roboto", "Liberation Sans", "sans-serif")
_MONO: Final = ("ui-monospace", "Consolas", "Liberation Mono", "monospace")


class Desk:
    """What the page's buttons do.

    Args:
        api: The speech service.
        recordings: Where speech goes.
    """

    def __init__(self, api: SpeechApi, recordings: Recordings) -> None:
        self._api, self._recordings = api, recordings

    async def open(self, script: str) -> list[Any]:
        """Ask for the voices when a page is opened: voices, trouble, then as :meth:`scan`."""
        try:
            voices = await self._api.voices()
        except ServeError as error:
            return [(), html.error_box(error.message), *self.scan(script, {}, ())]
        return [voices, "", *self.scan(script, {}, voices)]

    def scan(
        self, script: str, chosen: Mapping[str, str], voices: tuple[tuple[str, str], ...]
    ) -> list[Any]:
        """Find the speakers: their names, a line about them, and a dropdown for each."""
        try:
            speakers = parse(script).speakers
            line = html.cast_line(speakers, len(script))
        except EmptyInputError:
            speakers, line = (), ""
        except ServeError as error:
            speakers, line = (), html.error_box(error.message)
        choices = [_AUTOMATIC, *voices]
        return [speakers, line, *_dropdowns(speakers, chosen, choices)]

    async def speak(
        self,
        script: str,
        audio_format: str,
        chosen: Mapping[str, str],
        request: gr.Request,
    ) -> AsyncGenerator[list[Any], None]:
        """Speak, and show how it goes: player, progress, the two buttons."""
        base = request.request.scope.get("root_path", "").rstrip("/")
        try:
            cast = {name: chosen.get(name, AUTO) for name in parse(script).speakers}
            order = Order(script, {n: v for n, v in cast.items() if v != AUTO}, audio_format)
            recording = await self._recordings.start(_page(request), order)
        except ServeError as error:
            yield ["", html.error_box(error.message), *_buttons(speaking=False)]
            return
        status, player = recording.status, ""
        yield [player, html.take(base, recording, status), *_buttons(speaking=True)]
        while not status.ended:
            status = await recording.changed(_REFRESH_S)
            heard = gr.skip()
            if not player and status.size:
                heard = player = html.audio_player(base, recording)
            yield [heard, html.take(base, recording, status), gr.skip(), gr.skip()]
        yield [gr.skip(), gr.skip(), *_buttons(speaking=False)]

    async def stop(self, request: gr.Request) -> None:
        """Stop what this page has running; :meth:`speak` then shows it."""
        await self._recordings.stop(_page(request))


def _page(request: gr.Request) -> str:
    return str(request.session_hash)


def _buttons(*, speaking: bool) -> list[Any]:
    return [gr.update(interactive=not speaking), gr.update(interactive=speaking)]


def _dropdowns(
    speakers: tuple[str, ...], chosen: Mapping[str, str], choices: list[tuple[str, str]]
) -> list[Any]:
    known = {voice for _, voice in choices}
    shown = [
        gr.update(
            label=f"Voice of {name}",
            choices=choices,
            value=chosen[name] if chosen.get(name) in known else AUTO,
            visible=True,
        )
        for name in speakers
    ]
    hidden = [gr.update(visible=False)] * (MAX_SPEAKERS - len(shown))
    return shown + hidden


@dataclass(frozen=True, slots=True)
class _Widgets:
    """The parts of the first tab that do or show something."""

    example: gr.Dropdown
    script: gr.Textbox
    cast_line: gr.HTML
    voices: tuple[gr.Dropdown, ...]
    audio_format: gr.Radio
    speak: gr.Button
    stop: gr.Button
    player: gr.HTML
    progress: gr.HTML


def build_page(desk: Desk, examples: Mapping[str, str], monitor_url: str) -> gr.Blocks:
    """Lay out the page and wire its parts to *desk*."""
    with gr.Blocks(
        title="Studio · vibevoice-serve", analytics_enabled=False, fill_width=True
    ) as page:
        gr.HTML(html.HEADING)
        with gr.Tab("Speak"), gr.Row(equal_height=False):
            widgets = _lay_out(examples)
            _wire(page, desk, widgets, examples)
        with gr.Tab("Monitor"):
            gr.HTML(html.monitor_frame(monitor_url))
        page.unload(desk.stop)
    return page


def _lay_out(examples: Mapping[str, str]) -> _Widgets:
    first = next(iter(examples), None)
    with gr.Column(scale=3):
        example = gr.Dropdown(list(examples), value=first, label="Example", elem_id="example")
        script = gr.Textbox(
            examples.get(first or "", ""),
            label="Script",
            info="Prose, or lines 'Name: text' of up to four speakers; [pause 1.5s] pauses.",
            lines=14,
            max_lines=22,
            elem_id="script",
        )
        cast_line = gr.HTML(elem_id="cast")
    with gr.Column(scale=2):
        with gr.Row():
            voices = tuple(
                gr.Dropdown(
                    [_AUTOMATIC], value=AUTO, visible=False, elem_classes="voice", min_width=180
                )
                for _ in range(MAX_SPEAKERS)
            )
        audio_format = gr.Radio(FORMATS, value=FORMATS[0], label="File format", elem_id="format")
        with gr.Row():
            speak = gr.Button("Speak", variant="primary", elem_id="speak", min_width=120)
            stop = gr.Button("Stop", interactive=False, elem_id="stop", min_width=120)
        player = gr.HTML(elem_id="player")
        progress = gr.HTML(elem_id="progress")
    return _Widgets(example, script, cast_line, voices, audio_format, speak, stop, player, progress)


def _wire(page: gr.Blocks, desk: Desk, widgets: _Widgets, examples: Mapping[str, str]) -> None:
    voices, speakers, chosen = gr.State(()), gr.State(()), gr.State({})
    script, progress = widgets.script, widgets.progress
    scanned = [speakers, widgets.cast_line, *widgets.voices]
    common: dict[str, Any] = {
        "show_progress": "hidden",
        "api_visibility": "private",
        "concurrency_limit": None,
    }
    page.load(desk.open, [script], [voices, progress, *scanned], **common)
    widgets.example.input(
        lambda title: examples.get(title, ""), [widgets.example], [script], **common
    )
    script.change(
        desk.scan, [script, chosen, voices], scanned, trigger_mode="always_last", **common
    )
    for place, dropdown in enumerate(widgets.voices):
        dropdown.input(_chooser(place), [speakers, chosen, dropdown], [chosen], **common)
    widgets.speak.click(
        desk.speak,
        [script, widgets.audio_format, chosen],
        [widgets.player, progress, widgets.speak, widgets.stop],
        **common,
    )
    widgets.stop.click(desk.stop, None, None, queue=False, **common)


def _chooser(place: int) -> Callable[[Sequence[str], dict[str, str], str], dict[str, str]]:
    """Notes the voice chosen in the dropdown at *place*, under its speaker's name."""

    def choose(speakers: Sequence[str], chosen: dict[str, str], voice: str) -> dict[str, str]:
        return {**chosen, speakers[place]: voice} if place < len(speakers) else chosen

    return choose


def mount_page(app: FastAPI, page: gr.Blocks, login: Login | None = None) -> None:
    """Serve *page* at the root of *app*, to those whom *login* knows, or to everybody."""
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        auth=login,
        auth_message=_LOGIN if login is not None else None,
        theme=_theme(),
        css=(resources.files("serve_app.ui") / "studio.css").read_text(encoding="utf-8"),
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        max_file_size="1kb",
        show_error=True,
    )


def _theme() -> gr.themes.Base:
    """Fonts of the system only, and secondary text dark enough to be read."""
    quiet = {"": "*neutral_600", "_dark": "*neutral_300"}
    names = ("body_text_color_subdued", "block_info_text_color", "block_label_text_color")
    theme = gr.themes.Default(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.slate,
        font=_FONT,
        font_mono=_MONO,
    )
    return theme.set(**{name + mode: value for name in names for mode, value in quiet.items()})
