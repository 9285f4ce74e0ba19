from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.script import MAX_PAUSE_S, NARRATOR, Paragraph, Script, Turn, parse
from serve_app.core.text import clean, speakable
from serve_app.errors import EmptyInputError, InvalidInputError, ScriptError, TooManySpeakersError
from tests.unit import texts
from tests.unit.texts import Written

Plain = list[tuple[str, list[str]]]


def plain(script: Script) -> Plain:
    """Turns as names and texts."""
    return [(turn.speaker, [part.text for part in turn.paragraphs]) for turn in script.turns]


def pauses(script: Script) -> list[float | None]:
    return [part.pause_s for turn in script.turns for part in turn.paragraphs]


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        ("Hello.", [(NARRATOR, ["Hello."])]),
        ("One\nwrapped line.\n\nTwo.", [(NARRATOR, ["One wrapped line.", "Two."])]),
        ("One line.\nAnother line\nwrapped.", [(NARRATOR, ["One line.", "Another line wrapped."])]),
        ("“One!”\nTwo.", [(NARRATOR, ["“One!”", "Two."])]),
        ("One.\nstill one.\n\nTwo.", [(NARRATOR, ["One. still one.", "Two."])]),
        ("\n\nOne.\nTwo.\n\n", [(NARRATOR, ["One.", "Two."])]),
        ("Alice: Hi\nBob: Ho", [("Alice", ["Hi"]), ("Bob", ["Ho"])]),
        (
            "Alice: Hi.\nmore\n\nsecond\nBob: Ho",
            [("Alice", ["Hi. more", "second"]), ("Bob", ["Ho"])],
        ),
        ("Alice: a\nAlice: b", [("Alice", ["a"]), ("Alice", ["b"])]),
        ("Alice: a\nALICE: b", [("Alice", ["a"]), ("Alice", ["b"])]),
        ("Alice:\n\nHi\nBob:\nHo", [("Alice", ["Hi"]), ("Bob", ["Ho"])]),
        (
            "Night.\nAlice: Hi\nAlice: Ho",
            [(NARRATOR, ["Night."]), ("Alice", ["Hi"]), ("Alice", ["Ho"])],
        ),
        ("Night.\nNARRATOR: Day.", [(NARRATOR, ["Night."]), (NARRATOR, ["Day."])]),
        ("老王：走吧。\n小李：好。", [("老王", ["走吧。"]), ("小李", ["好。"])]),
        ("他说：“走吧。”\n然后走了。", [(NARRATOR, ["他说：“走吧。”", "然后走了。"])]),
        (
            "Speaker 1: a\nspeaker 2: b\nSPEAKER 2: c",
            [("Speaker 1", ["a"]), ("speaker 2", ["b"]), ("speaker 2", ["c"])],
        ),
        (
            "We met. Then\nhe left: why?\nWho knows.",
            [(NARRATOR, ["We met. Then he left: why?", "Who knows."])],
        ),
        ("It rained.\nIt snowed.\nBob: Ho", [(NARRATOR, ["It rained.", "It snowed.", "Bob: Ho"])]),
        ("It rained.\nAlice: Hi", [(NARRATOR, ["It rained.", "Alice: Hi"])]),
        (
            "It rained.\nAlice: Hi\nBob: Ho",
            [(NARRATOR, ["It rained."]), ("Alice", ["Hi"]), ("Bob", ["Ho"])],
        ),
        ("Breaking: he resigned.", [(NARRATOR, ["Breaking: he resigned."])]),
        ("Reminder: water.\nWe go.", [(NARRATOR, ["Reminder: water.", "We go."])]),
        ("The Hobbit: a tale.", [(NARRATOR, ["The Hobbit: a tale."])]),
        ("Speaker 1: Hi", [("Speaker 1", ["Hi"])]),
        ("narrator: Hi", [("narrator", ["Hi"])]),
        (
            "Alice (whispering): Hi\nAlice: Ho\nALICE （大声）：Hey",
            [("Alice", ["Hi"]), ("Alice", ["Ho"]), ("Alice", ["Hey"])],
        ),
        (
            "Guard (old): Hi\nGuard (young): Ho",
            [("Guard (old)", ["Hi"]), ("Guard (young)", ["Ho"])],
        ),
        (
            "**Alice:** Hi\n[00:05] *Bob*: Ho\n- Alice: Hey",
            [("Alice", ["Hi"]), ("Bob", ["Ho"]), ("Alice", ["Hey"])],
        ),
        ("SPEAKER_00: Hi\nSPEAKER_01: Ho", [("SPEAKER_00", ["Hi"]), ("SPEAKER_01", ["Ho"])]),
        ("- Pears: two\n- Plums: one", [(NARRATOR, ["- Pears: two - Plums: one"])]),
        ("Note: this.\nAnd that.", [(NARRATOR, ["Note: this.", "And that."])]),
        ("Alice: Hi\nNote: it", [(NARRATOR, ["Alice: Hi Note: it"])]),
        ("Alice: Hi\nAlice: Ho\nNote: it", [("Alice", ["Hi"]), ("Alice", ["Ho Note: it"])]),
        (
            "Alice: Hi\nAlice: Ho\n\\Bob: no label",
            [("Alice", ["Hi"]), ("Alice", ["Ho Bob: no label"])],
        ),
        ("\\Alice: no label", [(NARRATOR, ["Alice: no label"])]),
        ("Hello:", [(NARRATOR, ["Hello:"])]),
        ("Hi [laughs] there", [(NARRATOR, ["Hi [laughs] there"])]),
        ("At 10:30 we left.", [(NARRATOR, ["At 10:30 we left."])]),
    ],
)
def test_turns_by_example(text: str, turns: Plain) -> None:
    assert plain(parse(text)) == turns


@pytest.mark.parametrize(
    ("text", "texts_and_pauses", "final"),
    [
        ("One [pause] two", [("One", None), ("two", 1.0)], None),
        ("One [PAUSE 1.5s] two", [("One", None), ("two", 1.5)], None),
        ("One [pause 1,5s] two", [("One", None), ("two", 1.5)], None),
        ("One [pause ,5] two", [("One", None), ("two", 0.5)], None),
        ("One [pause 500ms] two", [("One", None), ("two", 0.5)], None),
        ("One [pause: 2] two", [("One", None), ("two", 2.0)], None),
        ("One [ pause .25 sec ] two", [("One", None), ("two", 0.25)], None),
        ("One [pause：3 seconds] two", [("One", None), ("two", 3.0)], None),
        ("One [pause 0] two", [("One", None), ("two", 0.0)], None),
        ("One [pause 1][pause 2s] [pause 30ms] two", [("One", None), ("two", 3.03)], None),
        ("[pause 2] One [pause 3]", [("One", 2.0)], 3.0),
        ("One\n\n[pause 2]\n\ntwo", [("One", None), ("two", 2.0)], None),
        ("One\n[pause 2]\ntwo", [("One", None), ("two", 2.0)], None),
        ("[pause 2] A: One\n[pause 1]\nB: [pause 1] two", [("One", 2.0), ("two", 2.0)], None),
        ("A: One [pause 1]\nB: two", [("One", None), ("two", 1.0)], None),
        (
            "One [pause -1] [pauses] [pause x] two",
            [("One [pause -1] [pauses] [pause x] two", None)],
            None,
        ),
    ],
)
def test_pauses_by_example(
    text: str, texts_and_pauses: list[tuple[str, float | None]], final: float | None
) -> None:
    script = parse(text)
    parts = [part for turn in script.turns for part in turn.paragraphs]
    assert [(part.text, part.pause_s) for part in parts] == texts_and_pauses
    assert script.final_pause_s == final


@pytest.mark.parametrize(
    ("text", "turns", "lengths", "final"),
    [
        ("One.\n\n* * *\n\nTwo.", [(NARRATOR, ["One. * * *", "Two."])], [None, None], None),
        ("* * *\n\nOne.", [(NARRATOR, ["* * * One."])], [None], None),
        ("One [pause 1] - ! [pause 2] two", [(NARRATOR, ["One - !", "two"])], [None, 3.0], None),
        ("... [pause 1] One", [(NARRATOR, ["... One"])], [1.0], None),
        ("One [pause 1] ...", [(NARRATOR, ["One ..."])], [None], 1.0),
        ("A: Hi\nB: ...\nA: Ho", [("A", ["Hi"]), ("A", ["Ho"])], [None, 0.5], None),
        ("A: Hi\nB:\nA: Ho", [("A", ["Hi"]), ("A", ["Ho"])], [None, 0.5], None),
        ("A: Hi\nB: [pause 2] - !\nB: ?\nA: Ho", [("A", ["Hi"]), ("A", ["Ho"])], [None, 3.0], None),
        ("A: Hi\nB: Ho\nA:", [("A", ["Hi"]), ("B", ["Ho"])], [None, None], 0.5),
    ],
)
def test_silence_by_example(
    text: str, turns: Plain, lengths: list[float | None], final: float | None
) -> None:
    script = parse(text)
    assert plain(script) == turns
    assert pauses(script) == lengths
    assert script.final_pause_s == final


def test_who_says_nothing_stays_in_the_list() -> None:
    assert parse("A: Hi\nB: ...\nC:\nA: Ho").speakers == ("A", "B", "C")


def test_many_silent_turns_are_no_error() -> None:
    assert pauses(parse("A: Hi\n" + "B: ...\n" * 100 + "A: Ho")) == [None, MAX_PAUSE_S]


def test_a_label_with_nothing_behind_it_is_spoken_unless_it_is_known() -> None:
    assert plain(parse("A: Hi\nA: Ho\nThe End:")) == [("A", ["Hi"]), ("A", ["Ho The End:"])]


def test_speakers_come_in_order_of_appearance() -> None:
    script = parse("Once.\nBob: a\nAlice: b\nbob: c\n老王：d")
    assert script.speakers == (NARRATOR, "Bob", "Alice", "老王")


@pytest.mark.parametrize(
    "text", ["", " \n\t", "...", "[pause 2s]", "Alice: ...\nAlice: - !", "😀", "\u3164"]
)
def test_nothing_to_speak(text: str) -> None:
    with pytest.raises(EmptyInputError, match="nothing to speak"):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "One [pause 31s] two",
        "One [pause 20][pause 20] two",
        "One [pause 20] ... [pause 20] two",
        f"One [pause {'9' * 400}] two",
        "A: Hi [pause 20]\nB: ...\n[pause 20]\nA: Ho",
    ],
)
def test_a_pause_too_long(text: str) -> None:
    with pytest.raises(ScriptError, match="limit of 30 s"):
        parse(text)


def test_too_many_speakers_are_all_named() -> None:
    text = "\n".join(f"{name}: hi\n{name}: ho" for name in ("Ann", "Bob", "Cy", "Di")) + "\nEve: x"
    with pytest.raises(TooManySpeakersError) as caught:
        parse(text)
    for part in ("Ann (2 turns)", "Di (2 turns)", "Eve (1 turn)", "limit is 4", "backslash"):
        assert part in str(caught.value)


def test_a_message_about_speakers_is_bounded() -> None:
    with pytest.raises(TooManySpeakersError) as caught:
        parse("\n".join(f"Name {number}: hi" for number in range(5000)))
    assert len(str(caught.value)) < 3000
    assert "5000 speakers" in str(caught.value)


def test_the_corpus() -> None:
    play = parse(texts.read("play_1.txt"))
    assert play.speakers == ("Farncombe", "Lily", "Jeyes", "Mrs. Upjohn")
    assert len(play.turns) == 202
    podcast = parse(texts.read("zh_dialogue.txt"))
    assert (podcast.speakers, len(podcast.turns)) == (("Speaker 1", "Speaker 2"), 7)
    for name, count in (("alice_excerpt.txt", 86), ("zh_prose.txt", 5)):
        script = parse(texts.read(name))
        assert script.speakers == (NARRATOR,)
        assert len(script.turns[0].paragraphs) == count
        assert texts.heard_in_script(script) == {NARRATOR: texts.heard(texts.read(name))}


def test_the_example_scene() -> None:
    text = (texts.EXAMPLES / "scene.txt").read_text(encoding="utf-8")
    script = parse(text)
    assert script.speakers == ("Farncombe", "Jeyes", "Lily", "Mrs. Upjohn")
    assert len(script.turns) == 40


def test_a_name_that_the_caller_knows_is_a_speaker() -> None:
    assert plain(parse("Alice: Hi", ["ALICE"])) == [("Alice", ["Hi"])]
    assert plain(parse("Alice (softly): Hi", ["Alice"])) == [("Alice", ["Hi"])]
    assert plain(parse("Alice: Hi", ["Bob"])) == [(NARRATOR, ["Alice: Hi"])]


PROSE = (
    "At 10:30 we left; by 11:15 it rained.",
    "See https://example.org/a_b:8000/c and http://localhost:8265/#/jobs.",
    "[docs]: https://example.org/path",
    "www.example.org/a: that is where it stands.",
    "10:30 Meeting: bring water.",
    "- Pears: two kilos.",
    "- Plums: one.",
    "* **Speed:** fast enough.",
    "> Caesar: I came.",
    "serve_app/core/label.py: the rules.",
    "max_tokens: 40, and/or more.",
    "他说：“走吧。”",
    "The others had only this to say: no.",
    "**He was right: it rained.**",
    "Note: nothing here is a name.",
    "C:\\temp is a folder; std::vector a class.",
)


@texts.no_deadline
@given(
    st.lists(st.sampled_from(PROSE), unique=True, min_size=1),
    st.sampled_from(["", "Breaking: the mayor resigned.", "**The Hobbit:** a tale.", "Q: why?"]),
    st.sampled_from(["\n", "\n\n"]),
)
def test_of_prose_with_colons_every_word_is_spoken(lines: list[str], first: str, gap: str) -> None:
    text = gap.join([first, *lines])
    assert texts.heard_in_script(parse(text)) == {NARRATOR: texts.heard(text)}


_DRESSES = ("{}:", "**{}:**", "**{}**:", "_{}_:", "[{}]:", "[00:01] {}:", "- {}:", "0:07 {}:")


@texts.no_deadline
@given(
    st.lists(
        st.tuples(st.sampled_from(texts.NAMES), st.sampled_from(_DRESSES), texts.spoken),
        min_size=1,
        max_size=4,
        unique_by=lambda turn: turn[0],
    )
)
def test_a_label_is_a_label_however_it_is_dressed(turns: list[tuple[str, str, str]]) -> None:
    dressed = [f"{dress.format(name)} {text}" for name, dress, text in turns] * 2
    bare = [f"{name}: {text}" for name, _, text in turns] * 2
    assert parse("\n".join(dressed)) == parse("\n".join(bare))


@texts.no_deadline
@given(texts.written)
def test_a_script_is_read_as_it_was_meant(written: Written) -> None:
    script = parse(written.text)
    assert len(script.turns) == len(written.turns)
    for turn, (name, paragraphs) in zip(script.turns, written.turns, strict=True):
        assert turn.speaker == name
        assert "".join(texts.heard(part.text) for part in turn.paragraphs) == "".join(
            map(texts.heard, paragraphs)
        )


@texts.no_deadline
@given(st.one_of(texts.wild, texts.messy))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        script = parse(text)
    except InvalidInputError:
        return
    assert script.turns
    assert {turn.speaker for turn in script.turns} <= set(script.speakers)
    for turn in script.turns:
        assert turn.paragraphs
        for part in turn.paragraphs:
            assert part.text == clean(part.text)
            assert "\n" not in part.text
            assert speakable(part.text)
            assert part.pause_s is None or 0 <= part.pause_s <= MAX_PAUSE_S


@texts.no_deadline
@given(st.text(alphabet=st.characters(exclude_characters="[:：", exclude_categories=["Cs"])))
def test_without_labels_and_pauses_nothing_is_lost(text: str) -> None:
    cleaned = clean(text)
    if speakable(cleaned):
        assert texts.heard_in_script(parse(text)) == {NARRATOR: texts.heard(cleaned)}


@texts.no_deadline
@given(texts.dialogues())
def test_a_backslash_disarms_every_label(written: Written) -> None:
    lines = [f"\\{line}" if line.strip() else line for line in written.text.splitlines()]
    script = parse("\n".join(lines))
    assert texts.heard_in_script(script) == {NARRATOR: texts.heard(written.text)}


@texts.no_deadline
@given(texts.written)
def test_reading_does_not_depend_on_line_ends(written: Written) -> None:
    unix = "\n".join(written.text.splitlines())
    assert parse(unix) == parse(unix.replace("\n", "\r\n")) == parse(f"\ufeff{unix}\n\n")


def test_records_are_plain() -> None:
    assert parse("A: Hi [pause] ho", ["A"]) == Script(
        (Turn("A", (Paragraph("Hi"), Paragraph("ho", 1.0))),), ("A",), None
    )
