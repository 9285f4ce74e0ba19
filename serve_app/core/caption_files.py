"""Captions as files: SRT, WebVTT and JSON.

SRT can't mark an estimate; WebVTT gives the voice the class ``estimated`` or ``aligned``, JSON a
field of each name. Names stand before a line where the speaker changes, if there is more than one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from serve_app.core.captions import Caption


def to_srt(captions: Iterable[Caption], *, names: bool) -> str:
    """An SRT file.

    Args:
        captions: In order.
        names: Say who speaks where the speaker changes.
    """
    return "\n".join(
        f"{number}\n{_time(caption.start_ms, ',')} --> {_time(caption.end_ms, ',')}\n"
        # An arrow would read as another line of times; SRT knows no escape.
        + "\n".join(_named(caption, names=names)).replace("-->", "->")
        + "\n"
        for number, caption in enumerate(captions, 1)
    )


def to_vtt(captions: Iterable[Caption]) -> str:
    """A WebVTT file; each caption names its speaker."""
    head = (
        "WEBVTT\n\nNOTE\nThe speech is made by a machine. Captions of the class 'estimated' begin "
        "or end at an estimated time, those of the class 'aligned' where a recogniser heard them.\n"
    )
    return head + "".join(
        f"\n{_time(caption.start_ms, '.')} --> {_time(caption.end_ms, '.')}\n"
        f"<v{_mark(caption)} {_escaped(caption.speaker)}>"
        + "\n".join(map(_escaped, caption.lines))
        + "</v>\n"
        for caption in captions
    )


def to_json(captions: Iterable[Caption]) -> str:
    """A JSON object with a list of captions; times in seconds."""
    listed = [
        {
            "start_s": caption.start_ms / 1000,
            "end_s": caption.end_ms / 1000,
            "speaker": caption.speaker,
            "text": caption.text,
            "lines": caption.lines,
            "estimated": caption.estimated,
            "aligned": caption.aligned,
            "segment": caption.segment,
        }
        for caption in captions
    ]
    return json.dumps({"object": "captions", "captions": listed}, ensure_ascii=False)


def _named(caption: Caption, *, names: bool) -> Sequence[str]:
    if not (names and caption.named):
        return caption.lines
    return (f"{caption.speaker}: {caption.lines[0]}", *caption.lines[1:])


def _mark(caption: Caption) -> str:
    return ".estimated" if caption.estimated else ".aligned" if caption.aligned else ""


def _time(at_ms: int, point: str) -> str:
    minutes, rest_ms = divmod(at_ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    seconds, millis = divmod(rest_ms, 1000)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{millis:03d}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
