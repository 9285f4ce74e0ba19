"""Uploaded documents become scripts: .txt, .md, .epub and .srt.

What is read is spoken: letters and digits of the text are all in the script. What is not text
(pictures, code, times of subtitles) goes, and what a listener might miss is told in the notes.
Plain text, the paragraphs of Markdown and subtitles are scripts already: their labels and pauses
count (:mod:`serve_app.core.script`). The paragraphs of an EPUB, and the headings, lists, quotes
and tables of Markdown are prose: nothing in them becomes a label.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Final

from serve_app.documents_epub import read_epub
from serve_app.documents_markdown import read_markdown
from serve_app.documents_script import Document
from serve_app.documents_srt import read_srt
from serve_app.documents_text import read_text
from serve_app.errors import BodyTooLargeError, EmptyInputError, InvalidInputError

__all__ = ["MAX_DOCUMENT_BYTES", "Document", "read_document"]

MAX_DOCUMENT_BYTES: Final = 64 * 2**20
"""Room for the pictures of an illustrated book, which are not read; a novel is under 2 MiB."""

MAX_TEXT_BYTES: Final = 8 * 2**20
"""Of .txt and .srt: more than a hundred hours of speech."""

MAX_MARKDOWN_BYTES: Final = 2 * 2**20
"""Its reader takes 0.1 s for a novel, but 20 s for 1 MiB of nothing but brackets."""

_LIMITS: Final = {
    ".epub": MAX_DOCUMENT_BYTES,
    ".md": MAX_MARKDOWN_BYTES,
    ".markdown": MAX_MARKDOWN_BYTES,
}


def read_document(name: str, data: bytes, *, body_only: bool = False) -> Document:
    """Read a document; blocks, a novel takes a fraction of a second.

    Args:
        name: File name; its ending tells the kind.
        data: The file.
        body_only: Leave out Project Gutenberg's header and footer of a .txt file.
    Returns:
        A script, whose text may still be refused by the rules of scripts (too many speakers).
    Raises:
        BodyTooLargeError: The file is too large.
        EmptyInputError: It holds no text.
        InvalidInputError: Its kind is not read here, or it is broken; the message names the place.
    """
    shown = PurePath(name.replace("\\", "/")).name[-80:]
    kind = PurePath(shown).suffix.lower()
    limit = _LIMITS.get(kind, MAX_TEXT_BYTES)
    if len(data) > limit:
        raise BodyTooLargeError(
            f"{shown!r} has {len(data)} bytes; a {kind or 'text'} file may have {limit}. Send it "
            "in parts.",
            "file",
        )
    match kind:
        case ".txt" | ".text":
            document = read_text(shown, data, body_only=body_only)
        case ".md" | ".markdown":
            document = read_markdown(shown, data)
        case ".epub":
            document = read_epub(shown, data)
        case ".srt":
            document = read_srt(shown, data)
        case _:
            raise InvalidInputError(
                f"{shown!r} is of a kind that is not read here; send .txt, .md, .epub or .srt.",
                "file",
            )
    if not document.text.strip():
        raise EmptyInputError(f"{shown!r} holds no text to speak.", "file")
    return document
