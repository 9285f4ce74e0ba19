"""The studio's own pieces of HTML, as plain functions of what is to be shown."""

from __future__ import annotations

from html import escape
from typing import Final

from serve_app.ui.recordings import Order, Recording, Status
from serve_app.ui.speech_api import Progress

MOST_CELLS: Final = 80

_PLAY_AT_ONCE: Final = 'oncanplay="this.oncanplay = null; this.play().catch(() => {})"'

HEADING: Final = (
    '<div class="heading"><h1>vibevoice-serve <span>studio</span></h1>'
    '<p class="ai-note"><strong>AI-generated voices.</strong> What you hear is made by a machine; '
    "say so wherever you share it.</p></div>"
)


def audio_player(base: str, recording: Recording) -> str:
    """A player that starts as soon as it can, and plays while the file grows.

    ``autoplay`` alone waits until the browser believes that it will never have to wait again.

    Args:
        base: Path under which the studio is reached, without a trailing slash.
        recording: What to play.
    """
    return (
        f'<audio controls preload="auto" aria-label="The speech" {_PLAY_AT_ONCE} '
        f'src="{escape(base)}/recordings/{recording.path.name}"></audio>'
    )


def error_box(message: str) -> str:
    """A message that screen readers say at once."""
    return f'<div class="trouble" role="alert">{escape(message)}</div>'


def cast_line(speakers: tuple[str, ...], characters: int) -> str:
    """Who was found in the script."""
    who = "1 speaker" if len(speakers) == 1 else f"{len(speakers)} speakers"
    return f'<p class="cast">{who}: {escape(", ".join(speakers))} · {characters:,} characters</p>'


def take(base: str, recording: Recording, status: Status) -> str:
    """Progress by segment, and the download once there is one."""
    parts = [_headline(status)]
    if status.progress is not None:
        parts += [_cells(status.progress), _numbers(status.progress)]
    if status.error is not None:
        parts.append(error_box(status.error))
    if status.state == "complete":
        parts.append(_download(base, recording.order, recording, status.size))
    return f'<div class="take" data-state="{status.state}">{"".join(parts)}</div>'


def _headline(status: Status) -> str:
    words = {
        "starting": "Starting: the first segment is being spoken …",
        "speaking": "Speaking …",
        "complete": "Done.",
        "failed": "Failed.",
        "stopped": "Stopped. What was spoken so far can still be heard.",
    }
    return f'<p class="headline">{words[status.state]}</p>'


def _cells(progress: Progress) -> str:
    """One cell a segment, or a share of them where there are many."""
    cells = min(progress.segments, MOST_CELLS)
    done = progress.segments_done * cells // max(progress.segments, 1)
    marks = "".join(f"<i{' class=done' if cell < done else ''}></i>" for cell in range(cells))
    return (
        '<div class="cells" role="progressbar" aria-label="Segments spoken" aria-valuemin="0" '
        f'aria-valuemax="{progress.segments}" aria-valuenow="{progress.segments_done}">'
        f"{marks}</div>"
    )


def _numbers(progress: Progress) -> str:
    parts = [
        f"segment {progress.segments_done} of {progress.segments}",
        f"{progress.audio_s:.1f} s of about {progress.estimated_s:.0f} s of audio",
    ]
    if progress.status == "complete":
        parts[1] = f"{progress.audio_s:.1f} s of audio"
    if progress.first_audio_s is not None:
        parts.append(f"first sound after {progress.first_audio_s:.2f} s")
    if progress.audio_s > 0 and progress.elapsed_s > 0:
        parts.append(f"{progress.audio_s / progress.elapsed_s:.1f} × real time")
    if progress.retries:
        parts.append(f"{progress.retries} spoken again")
    return f'<p class="numbers">{" · ".join(parts)}</p>'


def _download(base: str, order: Order, recording: Recording, size: int) -> str:
    url = f"{escape(base)}/recordings/{recording.path.name}?download=1"
    return (
        f'<a class="download" href="{url}" download>'
        f"Download {order.audio_format.upper()} ({size / 1e6:.1f} MB)</a>"
    )


def monitor_frame(url: str) -> str:
    """The monitor; a hidden frame is loaded when its tab is opened."""
    return f'<iframe class="monitor" src="{escape(url)}" title="Monitor" loading="lazy"></iframe>'
