"""The text pool: relatives of a word, and variants of an emoji, are in one split; the licences' notices ship."""

from __future__ import annotations

import pytest

from fusion_bench.datasets import locate, open_split
from fusion_bench.zoo.minilm.readers import drawing, families, stem
from fusion_bench.zoo.minilm.splits import SPLITS


def homes(task: str) -> dict[str, list[str]]:
    return {
        split: [str(text) for text in open_split(locate("package://text6") / task, split, column="text").texts()]
        for split in SPLITS
    }


def test_variants_of_an_emoji_are_in_one_split() -> None:
    """Counted without the recipe's rule: of names that are 'man ...' or 'woman ...', the rest."""
    home: dict[str, str] = {}
    compared = 0
    for split, texts in homes("emoji").items():
        for text in texts:
            first, _, rest = text.partition(" ")
            if first in ("man", "woman", "person", "men", "women", "people") and ":" not in text and rest:
                compared += rest in home
                assert home.setdefault(rest, split) == split, text
    assert compared > 50  # the check saw pairs


def test_words_of_one_family_are_in_one_split() -> None:
    """Counted without the recipe's rule: a word and the same word with an ending."""
    home = {text: split for split, texts in homes("sentiment").items() for text in texts}
    pairs = [
        (word, word + ending)
        for word in home
        for ending in ("s", "d", "r", "y", "ed", "er", "es", "ly", "ing", "ness", "ful", "ment")
        if word + ending in home
    ]
    pairs += [
        (word, word[:-1] + end)
        for word in home
        if word[-1] in "ey"
        for end in ("ing", "y", "ily", "iness")
        if word[:-1] + end in home
    ]
    assert len(pairs) > 500
    assert [pair for pair in pairs if home[pair[0]] != home[pair[1]]] == []


@pytest.mark.parametrize(
    "group",
    [("hate", "hated", "hating", "hateful"), ("ease", "easy", "easily", "easiness"), ("cried", "cries", "crying")],
)
def test_families_are_joined(group: tuple[str, ...]) -> None:
    assert len(set(families([*group, "moat"]).values())) == 2


def test_families_do_not_depend_on_the_order() -> None:
    words = ["angry", "angrily", "angers", "ease", "easy", "calm", "calmly"]
    assert families(words) == families(words[::-1])


def test_a_stem_keeps_three_letters() -> None:
    assert all(len(stem(word)) >= 3 for word in ("eased", "used", "lies", "ally", "ness"))


@pytest.mark.parametrize(
    ("name", "same"),
    [("woman student", "student"), ("old woman", "older person"), ("man: bald", "girl"), ("Mx Claus", "Santa Claus")],
)
def test_a_drawing_has_no_gender(name: str, same: str) -> None:
    assert drawing(name) == drawing(same)


def test_a_drawing_keeps_words_that_only_look_like_it() -> None:
    assert drawing("snowman") == "snowman"
    assert drawing("Japanese “secret” button") != drawing("Japanese “open” button")


def test_the_notices_that_licences_ask_for_ship() -> None:
    text = (locate("package://text6") / "LICENSES.md").read_text(encoding="utf-8")
    for part in (
        "Copyright (c) 2016 C.J. Hutto", "The above copyright notice and this permission notice shall be included",
        "© 2022 Unicode", "this permission notice appear with all copies", "WordNet 3.0 Copyright 2006",
        "creativecommons.org/licenses/by/4.0",
    ):  # fmt: skip
        assert part in text
