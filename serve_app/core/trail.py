"""What a log may tell of an error: its type and where it came up, never what it was about.

A message may quote a user's text, and so may those of other libraries.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Final

_FRAMES_TOLD: Final = 12


def trail(error: BaseException) -> str:
    """An error and its causes by type and place, innermost frame last, without their messages."""
    places = " > ".join(
        f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)[-_FRAMES_TOLD:]
    )
    cause = error.__cause__ or error.__context__
    told = f"{type(error).__name__} at {places or 'an unknown place'}"
    return told if cause is None or error.__suppress_context__ else f"{told}, after {trail(cause)}"
