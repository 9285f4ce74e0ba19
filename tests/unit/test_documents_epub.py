"""EPUB: reading order, chapters, and what strangers may put into one."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.script import NARRATOR, parse
from serve_app.core.text import clean
from serve_app.documents import Document, read_document
from serve_app.documents_xml import MAX_DEPTH
from serve_app.documents_zip import MAX_ENTRIES, MAX_FILE_BYTES, MAX_TOTAL_BYTES
from serve_app.errors import InvalidInputError
from tests.unit import texts
from tests.unit.epub_files import CONTAINER, epub, page, paragraphs, zipped
from tests.unit.texts import heard, no_deadline

XML_TEXT = st.text(
    st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\ufffe\uffff[]\\"),
    max_size=60,
)


def read(data: bytes) -> Document:
    return read_document("book.epub", data)


def spoken(document: Document) -> list[str]:
    script = parse(document.text)
    assert script.speakers == (NARRATOR,)
    return [part.text for turn in script.turns for part in turn.paragraphs]


def chapters(document: Document) -> list[tuple[str, int, str]]:
    """Title, level and the line each begins with."""
    lines = document.text.split("\n")
    return [(found.title, found.level, lines[found.line]) for found in document.chapters]


@no_deadline
@given(st.lists(st.lists(st.one_of(texts.spoken, XML_TEXT), max_size=4), min_size=1, max_size=3))
def test_every_word_is_spoken_in_order_and_by_one_voice(pages: list[list[str]]) -> None:
    pages = [*pages, ["The end."]]
    data = epub({f"p{at}.xhtml": page(paragraphs(texts)) for at, texts in enumerate(pages)})
    said = "".join(map(heard, spoken(read(data))))
    assert said == heard(clean("\n".join(text for texts in pages for text in texts)))


def test_what_the_eye_needs_is_left_out_and_told() -> None:
    body = (
        "<h1>Note: one</h1><p>It<a epub:type='noteref' href='#n'>1</a> was <i>good</i>&nbsp;&amp; "
        "<ruby>漢<rp>(</rp><rt>hàn</rt><rp>)</rp></ruby>.<br/>Bob: hi</p><script>no()</script>"
        "<svg xmlns='http://www.w3.org/2000/svg'><text>no</text></svg><img src='x.png' alt='x'/>"
        "<div>loose<p>inner</p>tail</div><table><tr><td>a</td><td>b</td></tr></table>"
        "<p>wrapped\n   line<span epub:type='pagebreak' title='7'>7</span>&eacute;</p>"
    )
    document = read(epub({"a.xhtml": page(body), "b c.xhtml": page("<p>x</p>")}))
    assert spoken(document) == [
        "Note: one",
        "It was good & 漢. Bob: hi",
        "loose",
        "inner",
        "tail",
        "a b",
        "wrapped lineé",
        "x",
    ]
    assert document.title == "A Book"
    assert document.notes == ("1 mark of a note is left out.", "2 pictures are left out.")


def test_chapters_are_those_of_the_navigation() -> None:
    nav = (
        '<li><a href="a.xhtml">Part <b>One</b></a><ol><li><a href="a.xhtml#c2">Two</a></li></ol>'
        '</li><li><a href="b%20c.xhtml">Three</a></li><li><a href="gone.xhtml">Gone</a></li>'
        '<li><a href="a.xhtml">Again</a></li>'
    )
    pages = {
        "a.xhtml": page("<p>Start.</p><section id='c2'><p>Second.</p></section>"),
        "b c.xhtml": page("<h2>3</h2><p>Third.</p>"),
    }
    document = read(epub(pages, nav=nav))
    assert chapters(document) == [
        ("Part One", 1, "Start."),
        ("Two", 2, "Second."),
        ("Three", 1, "3"),
    ]


def test_chapters_of_epub_2_and_of_headings() -> None:
    point = "<navPoint><navLabel><text>{}</text></navLabel><content src='{}'/>{}</navPoint>"
    inner = point.format("Two", "b.xhtml", "")
    pages = {"a.xhtml": page("<h1>I</h1><p>x</p>"), "b.xhtml": page("<h3>II</h3><p>y</p>")}
    by_ncx = read(epub(pages, ncx=point.format("One", "a.xhtml", inner)))
    assert chapters(by_ncx) == [("One", 1, "I"), ("Two", 2, "II")]
    assert chapters(read(epub(pages))) == [("I", 1, "I"), ("II", 3, "II")]


def test_pages_aside_are_left_out_and_told() -> None:
    pages = {"a.xhtml": page("<p>Main.</p>"), "b.xhtml": page("<p>Aside.</p>")}
    data = epub(pages, spine='<itemref idref="p0"/><itemref idref="p1" linear="no"/>')
    document = read(data)
    assert spoken(document) == ["Main."]
    assert document.notes == ("1 page outside of the reading order is left out.",)


def test_old_document_types_and_encodings_are_read() -> None:
    doctype = '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" "http://a.example/x.dtd">'
    latin = page("<p>café</p>", doctype=doctype).replace(
        '<?xml version="1.0"?>', '<?xml version="1.0" encoding="iso-8859-1"?>'
    )
    wide = page("<p>故乡&hellip;</p>")
    data = epub({"a.xhtml": latin.encode("latin-1"), "b.xhtml": wide.encode("utf-16")})
    assert spoken(read(data)) == ["café", "故乡…"]


BOMB = '<!DOCTYPE html [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (page("<p>&b;</p>", doctype=BOMB), "document type of its own"),
        (page("<p>&b;</p>"), "undefined entity"),
        (page("<p>x</b>"), "mismatched tag"),
        (page("<div>" * (MAX_DEPTH + 1) + "</div>" * (MAX_DEPTH + 1)), "nest deeper"),
        (b'<?xml version="1.0" encoding="utf-8"?><html>\xff</html>', "as it claims"),
        (b'<?xml version="1.0" encoding="x-none"?><html/>', "x-none as it claims"),
        (b'<?xml version="1.0" encoding="undefined"?><html/>', "undefined is no character set"),
        (b'<?xml version="1.0" encoding="Punycode"?><html/>-a', "is no character set"),
        (b'<?xml version="1.0" encoding="unicode-escape"?><html/>', "is no character set"),
        (
            page("<p>&x;</p>", doctype='<!DOCTYPE html SYSTEM "file:///etc/passwd">'),
            "&x; is not defined",
        ),
    ],
)
def test_broken_or_hostile_pages_are_refused_by_name(content: str | bytes, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says) as caught:
        read(epub({"a.xhtml": content}))
    assert "OEBPS/a.xhtml in 'book.epub'" in caught.value.message


def test_a_page_that_unpacks_to_too_much_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="too large unpacked"):
        read(epub({"a.xhtml": b" " * (MAX_FILE_BYTES + 1)}))


def test_all_pages_together_are_bounded() -> None:
    large = page("<!--" + " " * (MAX_FILE_BYTES - 400) + "-->").encode()
    count = MAX_TOTAL_BYTES // len(large) + 1
    with pytest.raises(InvalidInputError, match="too large unpacked"):
        read(epub({f"{at}.xhtml": large for at in range(count)}))


def test_a_size_that_lies_is_found_out() -> None:
    data = bytearray(epub({"a.xhtml": page("<p>x</p>" * 1000)}))
    entry = data.index(b"OEBPS/a.xhtml", data.index(b"PK\x01\x02")) - 46
    struct.pack_into("<I", data, entry + 24, 10)
    with pytest.raises(InvalidInputError, match=r"damaged|XML"):
        read(bytes(data))


def test_too_many_entries_are_refused_before_they_are_listed() -> None:
    with pytest.raises(InvalidInputError, match=f"more than {MAX_ENTRIES} entries"):
        read(b"PK\x01\x02" * (MAX_ENTRIES + 1))


def test_paths_can_t_leave_the_archive() -> None:
    for path in ("../../etc/passwd", "/etc/passwd", "file:///etc/passwd"):
        data = zipped({"META-INF/container.xml": CONTAINER.replace("OEBPS/book.opf", path)})
        with pytest.raises(InvalidInputError, match="which is not in it"):
            read(data)


def test_damage_inside_the_archive_is_told() -> None:
    whole = bytearray(epub({"a.xhtml": page(paragraphs(["some text to pack"] * 50))}))
    place = whole.index(b"OEBPS/a.xhtml") + 20
    whole[place] ^= 0xFF
    with pytest.raises(InvalidInputError, match="damaged"):
        read(bytes(whole))


def test_other_ways_of_packing_are_refused() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("META-INF/container.xml", CONTAINER)
    with pytest.raises(InvalidInputError, match="packed in a way"):
        read(packed.getvalue())


@pytest.mark.parametrize("flag", [0x01, 0x20, 0x40])
def test_encryption_and_patches_are_refused(flag: int) -> None:
    data = bytearray(epub({"a.xhtml": page("<p>x</p>")}))
    entry = data.index(b"OEBPS/a.xhtml", data.index(b"PK\x01\x02")) - 46
    struct.pack_into("<H", data, entry + 8, flag)
    with pytest.raises(InvalidInputError, match=r"encrypted, or packed|damaged"):
        read(bytes(data))


def test_a_protected_book_is_refused_but_not_one_with_protected_fonts() -> None:
    def locked(path: str) -> bytes:
        reference = f"<e><CipherReference URI='{path}'/></e>"
        return epub({"a.xhtml": page("<p>x</p>")}, more={"META-INF/encryption.xml": reference})

    with pytest.raises(InvalidInputError, match="DRM"):
        read(locked("OEBPS/a.xhtml"))
    assert spoken(read(locked("OEBPS/font.otf"))) == ["x"]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "META-INF/container.xml"),
        ({"META-INF/container.xml": "<container/>"}, "which is not in it"),
        (
            {"META-INF/container.xml": CONTAINER, "OEBPS/book.opf": "<package/>"},
            "no reading order",
        ),
    ],
)
def test_a_book_without_its_parts_says_which(files: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        read(zipped(files))


def test_a_reading_order_of_nothing_is_told() -> None:
    with pytest.raises(InvalidInputError, match="'p9'"):
        read(epub({"a.xhtml": page("")}, spine='<itemref idref="p9"/>'))


def test_a_reading_order_without_end_is_refused() -> None:
    order = '<itemref idref="p0"/>' * (MAX_ENTRIES + 1)
    with pytest.raises(InvalidInputError, match=f"more than {MAX_ENTRIES} pages"):
        read(epub({"a.xhtml": page("<p>x</p>")}, spine=order))
