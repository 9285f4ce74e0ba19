"""EPUB 2 and 3: the pages in reading order, and the chapters that its contents name.

The package file says which pages there are and in which order (the spine); pages that stand
outside of it (``linear="no"``) are left out, and told. Chapters are those of the navigation (EPUB
3) or the NCX (EPUB 2); without either, the headings. A protected book is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element

from serve_app.core.text import clean
from serve_app.documents_script import Block, Document, Start, compose, headings_of
from serve_app.documents_xhtml import Page
from serve_app.documents_xml import feed, read_tree
from serve_app.documents_zip import MAX_ENTRIES, Archive, resolve

_CONTAINER: Final = "META-INF/container.xml"
_PROTECTION: Final = "META-INF/encryption.xml"
_PAGES: Final = frozenset({"application/xhtml+xml", "text/html", "application/x-dtbook+xml"})
_NCX: Final = "application/x-dtbncx+xml"


@dataclass(frozen=True, slots=True)
class _Item:
    """A file of the book."""

    path: str
    kind: str
    properties: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Package:
    """What the package file says."""

    title: str | None
    items: dict[str, _Item]
    spine: list[_Item]
    ncx: str | None
    aside: int


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of the contents."""

    title: str
    path: str
    fragment: str
    level: int


def read_epub(name: str, data: bytes) -> Document:
    """The words of an EPUB.

    Args:
        name: For messages.
        data: The file.
    Raises:
        InvalidInputError: It is broken, protected, or too large unpacked.
    """
    archive = Archive(name, data)
    package = _package(archive)
    _require_open(archive, package)
    blocks: list[Block] = []
    left_out: Counter[str] = Counter({"page outside of the reading order": package.aside})
    places: dict[str, tuple[int, dict[str, int]]] = {}
    for item in package.spine:
        if item.kind not in _PAGES:
            left_out[f"page of type {item.kind}"] += 1
            continue
        page = Page(blocks, left_out)
        first = len(blocks)
        feed(f"{item.path} in {name!r}", archive.read(item.path), page)
        page.flush()
        places.setdefault(item.path, (first, page.ids))
    starts = _starts(_contents(archive, package), places) or headings_of(blocks)
    text, chapters = compose(blocks, starts)
    notes = tuple(
        f"{count} {what}{'s are' if count > 1 else ' is'} left out."
        for what, count in left_out.items()
        if count
    )
    return Document(text, package.title, chapters, notes)


def _package(archive: Archive) -> _Package:
    container = read_tree(f"{_CONTAINER} in {archive.name!r}", archive.read(_CONTAINER))
    root = next(container.iter("rootfile"), None)
    path = resolve("", root.get("full-path", ""))[0] if root is not None else ""
    tree = read_tree(f"{path} in {archive.name!r}", archive.read(path))
    items = {
        item.get("id", ""): _Item(
            resolve(path, item.get("href", ""))[0],
            item.get("media-type", ""),
            frozenset(item.get("properties", "").split()),
        )
        for item in tree.iter("item")
    }
    spine = []
    aside = 0
    for ref in tree.iter("itemref"):
        linked = items.get(ref.get("idref", ""))
        if linked is None:
            raise archive.broken(f"its reading order names {ref.get('idref')!r:.99} and nothing is")
        if ref.get("linear") == "no":
            aside += 1
        else:
            spine.append(linked)
        if len(spine) + aside > MAX_ENTRIES:
            raise archive.broken(f"its reading order has more than {MAX_ENTRIES} pages")
    if not spine:
        raise archive.broken("it has no reading order")
    titles = (clean(found.text or "") for found in tree.iter("title"))
    order = next(tree.iter("spine"), None)
    ncx = items.get(order.get("toc", "")) if order is not None else None
    ncx = ncx or next((item for item in items.values() if item.kind == _NCX), None)
    return _Package(
        next(filter(None, titles), None), items, spine, ncx.path if ncx else None, aside
    )


def _require_open(archive: Archive, package: _Package) -> None:
    """Refuse a protected book; fonts alone may be scrambled."""
    if _PROTECTION not in archive:
        return
    tree = read_tree(f"{_PROTECTION} in {archive.name!r}", archive.read(_PROTECTION))
    locked = {resolve("", ref.get("URI", ""))[0] for ref in tree.iter("CipherReference")}
    if any(item.path in locked for item in package.spine):
        raise archive.broken("its pages are protected (DRM)")


def _contents(archive: Archive, package: _Package) -> list[_Entry]:
    """The lines of the contents, in their order."""
    for item in package.items.values():
        if "nav" in item.properties and item.path in archive:
            tree = read_tree(f"{item.path} in {archive.name!r}", archive.read(item.path))
            navs = list(tree.iter("nav"))
            named = [nav for nav in navs if "toc" in nav.get("epub:type", "").split()]
            for nav in (named or navs)[:1]:
                return list(_nav_entries(item.path, nav, 0))
    if package.ncx is not None and package.ncx in archive:
        tree = read_tree(f"{package.ncx} in {archive.name!r}", archive.read(package.ncx))
        return list(_ncx_entries(package.ncx, tree, 0))
    return []


def _nav_entries(base: str, parent: Element, level: int) -> Iterator[_Entry]:
    for child in parent:
        if child.tag == "a" and child.get("href"):
            yield _entry(base, "".join(child.itertext()), child.get("href", ""), level)
        else:
            yield from _nav_entries(base, child, level + (child.tag == "ol"))


def _ncx_entries(base: str, parent: Element, level: int) -> Iterator[_Entry]:
    for child in parent:
        if child.tag == "navPoint":
            title = "".join(child.findtext("navLabel/text", ""))
            target = child.find("content")
            if target is not None:
                yield _entry(base, title, target.get("src", ""), level + 1)
            yield from _ncx_entries(base, child, level + 1)
        elif child.tag == "navMap":
            yield from _ncx_entries(base, child, level)


def _entry(base: str, title: str, href: str, level: int) -> _Entry:
    path, fragment = resolve(base, href)
    return _Entry(" ".join(clean(title).split()), path, fragment, level)


def _starts(entries: list[_Entry], places: dict[str, tuple[int, dict[str, int]]]) -> list[Start]:
    """Where the chapters begin; of several at one place the outermost names it."""
    starts: dict[int, Start] = {}
    for entry in entries:
        if entry.path in places and entry.title:
            first, ids = places[entry.path]
            block = ids.get(entry.fragment, first)
            starts.setdefault(block, Start(block, entry.title, entry.level))
    return [starts[block] for block in sorted(starts)]
