"""XML from strangers, read by expat with everything off that could hurt.

A document type may be named, as EPUB 2 does, but not defined: no entity of a file's own is ever
expanded, nothing outside the file is read, and nesting is bounded. The named characters of HTML
(``&nbsp;``) are put in beforehand, since XHTML may use them.
"""

from __future__ import annotations

import codecs
import re
from html.entities import html5
from typing import Final, Protocol
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from serve_app.errors import InvalidInputError

MAX_DEPTH: Final = 256

_DECLARED = re.compile(rb"""\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_NO_CHARSETS: Final = frozenset(
    {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
)
"""Python's own codecs for other ends; two of them take minutes for a megabyte."""

_NAMED = re.compile(r"&([A-Za-z][A-Za-z0-9]{0,31};)")
_OWN: Final = frozenset({"amp;", "lt;", "gt;", "quot;", "apos;"})


class Target(Protocol):
    """What takes elements as they come; names are local, but for ``epub:type``."""

    def start(self, tag: str, attrs: dict[str, str], /) -> object:
        """An element begins."""

    def end(self, tag: str, /) -> object:
        """An element ends."""

    def data(self, data: str, /) -> object:
        """Text."""


def read_tree(name: str, data: bytes) -> Element:
    """A small file as a tree with local names; errors are those of :func:`feed`."""
    builder = TreeBuilder()
    feed(name, data, builder)
    return builder.close()


def feed(name: str, data: bytes, target: Target) -> None:
    """Read *data* into *target*.

    Raises:
        InvalidInputError: It is not well formed, defines entities, or nests too deep.
    """
    text = _NAMED.sub(_character, _decoded(name, data))
    parser = expat.ParserCreate("utf-8", namespace_separator="}")
    parser.buffer_text = True
    depth = 0

    def start(tag: str, attrs: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise _broken(name, f"elements nest deeper than {MAX_DEPTH}")
        target.start(_local(tag), {_local(key): value for key, value in attrs.items()})

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        target.end(_local(tag))

    def doctype(_name: str, _system: str | None, _public: str | None, has_subset: int) -> None:
        if has_subset:
            raise _broken(name, "it defines a document type of its own")

    def undefined(entity: str, _is_parameter: bool) -> None:
        raise _broken(name, f"the entity &{entity}; is not defined")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = target.data
    parser.StartDoctypeDeclHandler = doctype
    parser.SkippedEntityHandler = undefined
    try:
        parser.Parse(text.encode(errors="replace"), True)
    except expat.ExpatError as error:
        raise _broken(name, str(error)) from error


def _decoded(name: str, data: bytes) -> str:
    declared = _DECLARED.match(data[:400].removeprefix(codecs.BOM_UTF8))
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    else:
        encoding = declared[1].decode("ascii") if declared else "utf-8"
    try:
        legal = codecs.lookup(encoding).name.replace("_", "-") not in _NO_CHARSETS
        text = data.removeprefix(codecs.BOM_UTF8).decode(encoding) if legal else None
    except (LookupError, UnicodeError) as error:
        raise _broken(name, f"it is not {encoding} as it claims ({error})") from error
    if text is None:
        raise _broken(name, f"{encoding} is no character set")
    return text.removeprefix("\ufeff")


def _character(found: re.Match[str]) -> str:
    if found[1] in _OWN or found[1] not in html5:
        return found[0]
    return "".join(f"&#{ord(char)};" for char in html5[found[1]])


def _local(name: str) -> str:
    space, _, local = name.rpartition("}")
    return f"epub:{local}" if space.endswith("/2007/ops") else local


def _broken(name: str, why: str) -> InvalidInputError:
    return InvalidInputError(
        f"{name} can't be read as XML: {why}. Repair the file, for example by converting it anew.",
        "file",
    )
