"""From lines to the tokens of a prompt.

The checkpoint's own chat template writes the prompt. Speakers become roles ``0..3`` in the order
in which they first speak, as the model was trained, and only voices that speak are shown to it.
Text can't leave its place: line breaks, which would begin another speaker's turn, become spaces,
and the brackets of control tokens are taken apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from serve_app.engines.base import Line
from serve_app.errors import EmptyInputError, TooManySpeakersError

MAX_SPEAKERS: Final = 4

_BREAKS = re.compile(r"[\s\x00-\x1f\x7f\x85\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Turns:
    """Who says what, ready for the template.

    Args:
        lines: ``(role, text)`` in order.
        voices: Voice of each role.
    """

    lines: tuple[tuple[str, str], ...]
    voices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the language model reads.

    Args:
        ids: Tokens, with one placeholder for each frame of a voice.
        voices: The voices whose frames stand there, in order.
        shared: So many tokens, up to the last voice, are the same in all prompts with these
            voices.
    """

    ids: tuple[int, ...]
    voices: tuple[str, ...]
    shared: int


def turns_of(lines: tuple[Line, ...]) -> Turns:
    """Name the roles and clean the text.

    Raises:
        EmptyInputError: There is nothing to say.
        TooManySpeakersError: More than four speak.
    """
    roles: dict[tuple[str, str], str] = {}
    said = []
    for line in lines:
        text = harmless(line.text)
        if text:
            role = roles.setdefault((line.speaker, line.voice), str(len(roles)))
            said.append((role, text))
    if not said:
        raise EmptyInputError("the segment has no text; send something to say", "input")
    if len(roles) > MAX_SPEAKERS:
        names = ", ".join(sorted({speaker for speaker, _ in roles}))
        raise TooManySpeakersError(
            f"{len(roles)} speakers ({names}) in one segment; VibeVoice has {MAX_SPEAKERS}", "input"
        )
    return Turns(tuple(said), tuple(voice for _, voice in roles))


def harmless(text: str) -> str:
    """*text* on one line and without control tokens."""
    one_line = _BREAKS.sub(" ", text).strip()
    return one_line.replace("<|", "< |").replace("|>", "| >")


class PromptWriter:
    """Writes prompts with a checkpoint's processor; for one caller at a time.

    Args:
        processor: transformers' ``VibeVoiceProcessor``.
    """

    def __init__(self, processor: Any) -> None:
        self._processor = processor

    def write(self, turns: Turns, frames_of: Callable[[str], int]) -> Prompt:
        """The prompt.

        Args:
            turns: Who says what.
            frames_of: Frames of a voice's recording.
        """
        text = self._processor.apply_chat_template(_messages(turns), tokenize=False)
        tokens = self._processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        placeholder = self._processor.audio_token_id
        voices = iter(turns.voices)
        ids: list[int] = []
        shared = 0
        for token in tokens:
            if token == placeholder:
                ids += [token] * frames_of(next(voices))
                shared = len(ids)
            else:
                ids.append(token)
        if any(True for _ in voices):
            raise ValueError("the chat template left voices out")
        return Prompt(tuple(ids), turns.voices, shared)


def _messages(turns: Turns) -> list[dict[str, Any]]:
    shown: set[str] = set()
    messages = []
    for role, text in turns.lines:
        content: list[dict[str, Any]] = [{"type": "text", "text": text}]
        if role not in shown:
            shown.add(role)
            content.append({"type": "audio", "audio": ""})
        messages.append({"role": role, "content": content})
    return messages
