"""Plain text: which encoding it has, told by evidence, and where its chapters are.

In this order:

1. A byte order mark: UTF-8, UTF-16, UTF-32.
2. Valid UTF-8. Text that is UTF-8 but for a few bytes is damaged, and said so.
3. GB18030, if it decodes, its bytes above 127 stand in pairs of GB 2312, as nearly all of everyday
   Chinese does, and the second ones are spread as there. Cyrillic and Greek fail this; the Korean
   and the Japanese EUC can't be told from it.
4. Latin-1 in the form that Windows writes (1252), if bytes above 127 are rare, as they are in
   Western European languages.

Anything else is refused by name: a wrong guess would be spoken as nonsense.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

from serve_app.core.chapters import gutenberg_body, gutenberg_title, headings
from serve_app.core.text import clean
from serve_app.documents_script import Document
from serve_app.errors import InvalidInputError

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_KINDS: Final = (
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP, EPUB or office file"),
    (b"\xd0\xcf\x11\xe0", "an old office file"),
    (b"{\\rtf", "an RTF file"),
    (b"\x1f\x8b", "a gzip file"),
)
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_HIGH = re.compile(rb"[\x80-\xff]")
_PAIR = re.compile(rb"(?:[\xa1-\xa9\xb0-\xf7][\xa1-\xfe])+")
_MIN_PAIRED: Final = 0.8
_MAX_WESTERN: Final = 0.25
_LETTERS_FROM: Final = 0xC0
_MIN_LOW: Final = 0.08
_FEW: Final = 8


def read_text(name: str, data: bytes, *, body_only: bool) -> Document:
    """A plain text as it is; its labels and pauses are those of a script.

    Args:
        name: For messages.
        data: In one of the encodings above.
        body_only: Leave out Project Gutenberg's header and footer.
    Raises:
        InvalidInputError: It is not text, or its encoding can't be told.
    """
    text = clean(decode(name, data))
    title = gutenberg_title(text)
    notes: tuple[str, ...] = ()
    if body_only:
        lines = text.split("\n")
        body = gutenberg_body(lines)
        if len(body) < len(lines):
            text = clean("\n".join(lines[body.start : body.stop]).strip("\n"))
            notes = ("Project Gutenberg's header and footer are left out.",)
    return Document(text, title, headings(text), notes)


def decode(name: str, data: bytes) -> str:
    """The text of *data*; its encoding is told as the module says.

    Raises:
        InvalidInputError: It is not text, or its encoding can't be told.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return data[len(mark) :].decode(_ordered(mark, encoding))
            except UnicodeDecodeError as error:
                raise _damaged(name, encoding, data, error.start + len(mark)) from error
    _require_text(name, data)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if _is_damaged("utf-8", data, 4):
            raise _damaged(name, "utf-8", data, error.start) from error
    high = len(_HIGH.findall(data))
    paired = sum(map(len, _PAIR.findall(data)))
    if paired >= _MIN_PAIRED * high and _spread(data):
        try:
            return data.decode("gb18030")
        except UnicodeDecodeError as error:
            if _is_damaged("gb18030", data, 20):
                raise _damaged(name, "gb18030", data, error.start) from error
    if high <= _MAX_WESTERN * len(data):
        return _western(data)
    raise InvalidInputError(
        f"The encoding of {name!r} can't be told: it is not UTF-8, and reads neither as GB18030 "
        "nor as Latin-1. Save it as UTF-8.",
        "file",
    )


def _ordered(mark: bytes, encoding: str) -> str:
    """The codec that reads what follows *mark*."""
    if encoding == "utf-8":
        return encoding
    return f"{encoding}-{'le' if mark[0] == 0xFF else 'be'}"


def _require_text(name: str, data: bytes) -> None:
    for magic, kind in _KINDS:
        if data.startswith(magic):
            raise InvalidInputError(
                f"{name!r} is {kind}, not text. Save it as plain text in UTF-8.", "file"
            )
    found = _BINARY.search(data)
    if found is not None:
        raise InvalidInputError(
            f"{name!r} is not text: byte {found.start()} is 0x{found[0][0]:02x}. Save it as plain "
            "text in UTF-8 (UTF-16 needs its byte order mark).",
            "file",
        )


def _is_damaged(encoding: str, data: bytes, good_for_bad: int) -> bool:
    """Whether so many signs beyond ASCII fit an encoding for each that does not."""
    text = data.decode(encoding, errors="replace")
    bad = text.count("\ufffd")
    good = sum(1 for char in text if char > "\x7f") - bad
    return good >= good_for_bad * bad


def _spread(data: bytes) -> bool:
    """Whether second bytes are spread as in Chinese; those of an alphabet are letters, so high."""
    second = b"".join(run[1::2] for run in _PAIR.findall(data))
    low = sum(1 for byte in second if byte < _LETTERS_FROM)
    return len(second) < _FEW or low >= _MIN_LOW * len(second)


def _damaged(name: str, encoding: str, data: bytes, at: int) -> InvalidInputError:
    line = data.count(b"\n", 0, at) + 1
    return InvalidInputError(
        f"{name!r} is {encoding.upper()} but damaged at byte {at} (line {line}). Save it again as "
        "UTF-8.",
        "file",
    )


def _western(data: bytes) -> str:
    """Windows-1252, whose five unused bytes are the control characters of Latin-1."""
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")
