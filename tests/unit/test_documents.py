"""Plain text, Markdown and subtitles become scripts without losing a word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.chapter_times import locate
from serve_app.core.script import NARRATOR, parse
from serve_app.core.text import clean
from serve_app.documents import MAX_TEXT_BYTES, Document, read_document
from serve_app.documents_script import Block, compose, headings_of
from serve_app.errors import BodyTooLargeError, EmptyInputError, InvalidInputError
from tests.unit import texts
from tests.unit.texts import heard, no_deadline


def read(name: str, text: str) -> Document:
    return read_document(name, text.encode())


def said(document: Document) -> list[tuple[str, str]]:
    """Who says which paragraph."""
    return [
        (turn.speaker, paragraph.text)
        for turn in parse(document.text).turns
        for paragraph in turn.paragraphs
    ]


class TestEncodings:
    ENGLISH = "“Well!” thought Alice — it’s a naïve café."
    CHINESE = "我冒了严寒，回到相隔二千余里，别了二十余年的故乡去。\n“阿！”他说。"

    @pytest.mark.parametrize(
        "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030", "gb2312"]
    )
    def test_chinese_comes_back(self, encoding: str) -> None:
        document = read_document("a.txt", self.CHINESE.encode(encoding))
        assert document.text == self.CHINESE

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
    def test_english_comes_back(self, encoding: str) -> None:
        text = f"{self.ENGLISH} And so on, for a while."
        assert read_document("a.txt", text.encode(encoding)).text == text

    @pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
    def test_both_byte_orders_of_utf_16(self, mark: bytes) -> None:
        codec = "utf-16-le" if mark[0] == 0xFF else "utf-16-be"
        assert read_document("a.txt", mark + "Grüße, 故乡".encode(codec)).text == "Grüße, 故乡"

    def test_the_bytes_that_windows_leaves_out_don_t_stop_latin_1(self) -> None:
        assert read_document("a.txt", b"All is well, caf\xe9 and \x81 more.").text.startswith("All")

    @pytest.mark.parametrize(
        ("data", "says"),
        [
            (b"%PDF-1.7 ...", "is a PDF"),
            (b"PK\x03\x04 ...", "ZIP"),
            (b"abc\x00def", "byte 3 is 0x00"),
            ("Grüße aus Köln, schöne Stadt".encode("utf-16-le"), "byte order mark"),
            ("故乡的事情很多。".encode() + b"\xe6\x95\n" + "也好。".encode(), "line 1"),
            (CHINESE.encode("gb18030") + b"\xff", "GB18030 but damaged"),
            ("Привет, как дела? Всё хорошо.".encode("koi8-r"), "Save it as UTF-8"),
            ("吾輩は猫である。名前はまだ無い。".encode("shift-jis"), "Save it as UTF-8"),
            ("\ufeffabc".encode("utf-16-le") + b"\x00", "UTF-16 but damaged"),
        ],
    )
    def test_what_can_t_be_read_is_named(self, data: bytes, says: str) -> None:
        with pytest.raises(InvalidInputError, match=says) as caught:
            read_document("a.txt", data)
        assert caught.value.param == "file"

    @given(st.binary(max_size=300))
    def test_any_bytes_are_text_or_a_clear_error(self, data: bytes) -> None:
        for name in ("a.txt", "a.md", "a.srt", "a.epub"):
            try:
                document = read_document(name, data)
            except InvalidInputError as error:
                message = error.message
            else:
                message = name
                assert document.text == clean(document.text)
            assert name in message


class TestKinds:
    def test_an_unknown_kind_is_refused_with_those_that_are_read(self) -> None:
        with pytest.raises(InvalidInputError, match=r"\.txt, \.md, \.epub or \.srt"):
            read_document("C:\\books\\a.docx", b"text")

    def test_a_file_has_a_largest_size(self) -> None:
        with pytest.raises(BodyTooLargeError, match=str(MAX_TEXT_BYTES)):
            read_document("a.txt", b"a" * (MAX_TEXT_BYTES + 1))

    @pytest.mark.parametrize("name", ["a.txt", "a.md"])
    def test_an_empty_file_says_so(self, name: str) -> None:
        with pytest.raises(EmptyInputError, match=name):
            read_document(name, b" \n\n ")


class TestPlainText:
    @no_deadline
    @given(texts.written)
    def test_a_script_is_the_script_it_was(self, script: texts.Written) -> None:
        assert parse(read("a.txt", script.text).text) == parse(script.text)

    def test_the_real_play_keeps_its_speakers(self) -> None:
        play = texts.read("play_1.txt")
        assert read("play.TXT", play).text == clean(play)

    def test_gutenberg_s_header_goes_only_when_asked(self) -> None:
        book = (
            "The Project Gutenberg eBook of Alice\n\nTitle: Alice in Wonderland\n\n"
            "*** START OF THE PROJECT GUTENBERG EBOOK\nALICE IN WONDERLAND ***\n\n"
            "CHAPTER I\n\nAlice sat.\n\n*** END OF THE PROJECT GUTENBERG EBOOK ALICE ***\n\nLicence"
        )
        whole = read("a.txt", book)
        assert whole.title == "Alice in Wonderland"
        assert (whole.text, whole.notes) == (book, ())
        body = read_document("a.txt", book.encode(), body_only=True)
        assert body.text == "CHAPTER I\n\nAlice sat."
        assert body.title == "Alice in Wonderland"
        assert body.notes == ("Project Gutenberg's header and footer are left out.",)
        assert [found.title for found in body.chapters] == ["CHAPTER I"]


class TestMarkdown:
    def test_markup_goes_and_words_stay(self) -> None:
        document = read(
            "a.md",
            "# A *fine* day\n\nSome **bold** and `code` and [a link](http://a.example).\n"
            "One<br>more &amp; last.<!-- not said -->\n\n"
            "- first\n- Note: second\n\n3. third\n\n> Bob: quoted\n\n"
            "| Name | Age |\n|---|---|\n| Ann | 7 |\n\n![a cat](cat.png) seen\n\n"
            "```python\nprint()\n```\n\n    indented\n\n<div>\nkept\n</div>\n\n***\n\nThe end.\n",
        )
        assert said(document) == [
            (NARRATOR, text)
            for text in (
                "A fine day",
                "Some bold and code and a link. One more & last.",
                "first",
                "Note: second",
                "3. third",
                "Bob: quoted",
                "Name, Age",
                "Ann, 7",
                "seen",
                "kept",
                "The end.",
            )
        ]
        assert document.title == "A fine day"
        assert document.notes == ("1 picture is left out.", "2 code blocks are left out.")

    def test_headings_are_chapters_and_never_labels(self) -> None:
        document = read("a.md", "# Dune: one\n\nText.\n\n## Dune: two\n\nText.\n\nTop\n===\n\nx")
        assert [(found.title, found.level) for found in document.chapters] == [
            ("Dune: one", 1),
            ("Dune: two", 2),
            ("Top", 1),
        ]
        assert document.title is None
        lines = document.text.split("\n")
        assert [lines[found.line] for found in document.chapters] == [
            "\\Dune: one",
            "\\Dune: two",
            "Top",
        ]
        assert {speaker for speaker, _ in said(document)} == {NARRATOR}

    def test_a_script_in_markdown_keeps_its_labels(self) -> None:
        document = read("a.md", "**Lily:** Who is there?\n**Jeyes:** [pause 1s] Me.\n\nLily: Oh.")
        assert said(document) == [("Lily", "Who is there?"), ("Jeyes", "Me."), ("Lily", "Oh.")]

    def test_front_matter_gives_the_title(self) -> None:
        document = read("a.md", '---\ntitle: "A Tale"\ntags:\n  - x\n---\n\n# One\n\nText.\n')
        assert (document.title, document.text) == ("A Tale", "One\n\nText.")
        assert document.notes == ("The front matter is left out.",)

    def test_a_rule_at_the_top_is_no_front_matter(self) -> None:
        document = read("a.md", "---\nNot a field, but prose.\n\n---\n\nMore.")
        assert document.text == "Not a field, but prose.\n\nMore."

    @no_deadline
    @given(st.lists(st.sampled_from(("a", "I", "Ann", "故乡", "x9")), min_size=1), st.data())
    def test_text_without_markup_comes_back(self, words: list[str], data: st.DataObject) -> None:
        gaps = data.draw(
            st.lists(st.sampled_from([" ", "\n", "\n\n"]), min_size=len(words), max_size=len(words))
        )
        text = "".join(word + gap for word, gap in zip(words, gaps, strict=True))
        assert parse(read("a.md", text).text) == parse(text.strip())


class TestSubtitles:
    SRT = (
        "1\n00:00:01,000 --> 00:00:02,500\n<i>It was a dark</i>\nand stormy\n\n"
        "2\n00:00:02,600 --> 00:00:04,000 X1:40\nnight. {\\an8}Really\n\n"
        "3\n00:00:04,100 --> 00:00:05,000\nAll: is well.\n\n"
        "4\n00:00:09,000 --> 00:00:10,000\nLater &amp; on.\n- One?\n- Two!\n"
    )

    def test_lines_become_sentences_again(self) -> None:
        document = read("a.srt", self.SRT)
        assert document.text.split("\n\n") == [
            "It was a dark and stormy night. Really All: is well.",
            "Later & on.",
            "One?",
            "Two!",
        ]

    def test_labels_stay(self) -> None:
        srt = "\ufeff" + "".join(
            f"{n}\r\n00:00:0{n}.000 --> 00:00:0{n}.900\r\n{line}\r\n\r\n"
            for n, line in enumerate(("ANN: Hi.", "BOB: Ho", "so 3", "ANN: Bye."), 1)
        )
        assert said(read("a.srt", srt)) == [
            ("ANN", "Hi."),
            ("BOB", "Ho so 3"),
            ("ANN", "Bye."),
        ]

    def test_chinese_lines_join_without_a_space(self) -> None:
        srt = "1\n00:01,000 --> 00:02,000\n我的故乡\n\n2\n00:02,000 --> 00:03,000\n好得多了。"
        assert read("a.srt", srt).text == "我的故乡好得多了。"

    def test_text_without_times_is_refused(self) -> None:
        with pytest.raises(InvalidInputError, match="-->"):
            read("a.srt", "Just text.")

    @no_deadline
    @given(st.lists(texts.spoken, min_size=1, max_size=6))
    def test_no_word_is_lost(self, cues: list[str]) -> None:
        lines = [clean(cue).replace("\n", " ") for cue in cues]
        srt = "\n\n".join(
            f"{n}\n00:0{n}:00,000 --> 00:0{n}:01,000\n{line}" for n, line in enumerate(lines)
        )
        spoken = "".join(heard(text) for _, text in said(read("a.srt", srt)))
        assert spoken == heard("".join(lines))


LINES = st.one_of(
    texts.spoken,
    texts.messy,
    st.sampled_from(
        [
            "Note: this",
            "\\Ann: x",
            "[pause 1s] Ann: x",
            "[aside] Ann: [pause] y",
            "[a][b]",
            "[x] \\",
        ]
    ),
)


@no_deadline
@given(st.lists(st.tuples(LINES, st.integers(0, 3)), min_size=1, max_size=12))
def test_literal_blocks_have_no_labels_and_lose_nothing(drawn: list[tuple[str, int]]) -> None:
    drawn = [*drawn, ("So it ends.", 0)]
    blocks = [Block(text.replace("pause", "paws"), level) for text, level in drawn]
    text, chapters = compose(blocks, headings_of(blocks))
    assert text == clean(text)
    script = parse(text)
    assert script.speakers == (NARRATOR,)
    spoken = "".join(heard(part.text) for part in script.turns[0].paragraphs)
    assert spoken == heard(clean("\n".join(block.text for block in blocks)))
    locate(chapters, text, script)


@pytest.mark.parametrize(
    ("line", "paragraphs"),
    [
        ("[pause 1s] Ann: x", ["Ann: x"]),
        ("[Enter] Ann: x", ["[Enter] Ann: x"]),
        ("[Enter] [pause 1s] \\x", ["[Enter]", "\\x"]),
        ("[pause 1s]", []),
    ],
)
def test_a_label_behind_brackets_is_plain_too(line: str, paragraphs: list[str]) -> None:
    text, _ = compose([Block("One."), Block(line)], ())
    assert said(Document(text, None, ())) == [(NARRATOR, part) for part in ("One.", *paragraphs)]
