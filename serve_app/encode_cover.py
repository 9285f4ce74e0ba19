"""A cover picture, taken as it is: looked at, never drawn again."""

from __future__ import annotations

import io
from typing import Final, cast

import av

from serve_app.encode_av import Picture
from serve_app.errors import InvalidInputError

MAX_COVER_BYTES: Final = 10 * 1024 * 1024
MAX_COVER_PIXELS: Final = 4096 * 4096
PARAM: Final = "cover"
"""Request field that a picture comes in."""

_READERS: Final = {b"\xff\xd8\xff": "jpeg_pipe", b"\x89PNG\r\n\x1a\n": "png_pipe"}


def cover_packet(picture: bytes) -> Picture:
    """The picture as the one packet of a video stream.

    Args:
        picture: A JPEG or PNG file.

    Raises:
        InvalidInputError: It is something else, broken or too large.
    """
    reader = next((name for mark, name in _READERS.items() if picture.startswith(mark)), None)
    if reader is None:
        raise InvalidInputError("the cover is neither a JPEG nor a PNG file", PARAM)
    if len(picture) > MAX_COVER_BYTES:
        raise InvalidInputError(
            f"the cover has {len(picture)} bytes, the limit is {MAX_COVER_BYTES}; make it smaller",
            PARAM,
        )
    try:
        return _packet(picture, reader)
    except (av.FFmpegError, StopIteration, ValueError) as error:
        raise InvalidInputError(
            f"the cover can't be read as a picture of at most {MAX_COVER_PIXELS} pixels", PARAM
        ) from error


def _packet(picture: bytes, reader: str) -> Picture:
    # One dictionary a stream, whatever the annotation of the library says.
    limits = cast("list[str]", [{"max_pixels": str(MAX_COVER_PIXELS)}])
    container = av.open(io.BytesIO(picture), "r", format=reader, stream_options=limits)
    stream = container.streams.video[0]
    if not (stream.width and stream.height):
        raise ValueError("no size")
    packet = next(container.demux(stream))
    packet.pts = packet.dts = 0
    return packet
