"""The data sets that presets of language models name, with a few rows, laid out and typed as the hub has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.helpers.tiny_text import sentences

ROWS = 6
_LETTERS = ("A", "B", "C", "D")


def write_all(root: Path) -> None:
    """Folders by id below ``root``, which FUSION_BENCH_MODELS may name."""
    from datasets import List, Value

    text, texts = Value("string"), List(Value("string"))
    arc = {"id": text, "question": text, "choices": {"text": texts, "label": texts}, "answerKey": text}
    _carded(root / "allenai" / "ai2_arc", "ARC-Challenge", ("train", "validation", "test"), _arc, arc)
    _carded(root / "openai" / "gsm8k", "main", ("train", "test"), _gsm8k, {"question": text, "answer": text})
    kinds = ("activity_label", "ctx_a", "ctx_b", "ctx", "source_id", "split", "split_type", "label")
    swag = {"ind": Value("int32"), "endings": texts, **dict.fromkeys(kinds, text)}
    _carded(root / "Rowan" / "hellaswag", "data", ("train", "validation", "test"), _hellaswag, swag, name="default")
    options = ("a", "b", "c", "d")
    mmlu = dict.fromkeys(("instruction", *(f"option_{one}" for one in options), "answer", "id"), text)
    for language in ("fr", "es", "de", "ru"):  # of these the hub has JSON lines, and in another branch Parquet
        for name, row, features in (
            ("m_mmlu", _choices, mmlu), ("m_arc", _choices, {**mmlu, "option_e": text}),
            ("m_hellaswag", _hellaswag, {**swag, "ind": Value("int64")}),
        ):  # fmt: skip
            splits = ("val",) if name == "m_hellaswag" else ("train", "val", "test")
            for split in splits:
                file = root / "alexandrainst" / name / language / split / "0000.parquet"
                _save(file, row, split, features)


def _carded(folder: Path, subset: str, splits: tuple[str, ...], row: Any, features: Any, name: str = "") -> None:
    for split in splits:
        _save(folder / subset / f"{split}-00000-of-00001.parquet", row, split, features)
    files = [{"split": split, "path": f"{subset}/{split}-*"} for split in splits]
    configs = [{"config_name": name or subset, "data_files": files}]
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs})}---\n")


def _save(file: Path, row: Any, split: str, features: dict[str, Any]) -> None:
    from datasets import Dataset, Features

    file.parent.mkdir(parents=True, exist_ok=True)
    words = sentences(ROWS, seed=len(split), longest=4)
    made = [row(place, words[place], split) for place in range(ROWS)]
    Dataset.from_list([{key: one.get(key) for key in features} for one in made], Features(features)).to_parquet(file)


def _arc(place: int, text: str, split: str) -> dict[str, Any]:
    choices = {"text": [f"{text} {letter}" for letter in _LETTERS], "label": list(_LETTERS)}
    return {"id": f"Mercury_{place}", "question": f"{text}?", "choices": choices, "answerKey": _LETTERS[place % 4]}


def _gsm8k(place: int, text: str, split: str) -> dict[str, Any]:
    return {
        "question": f"{text}, how many?",
        "answer": f"{text} {place} + 1 = <<{place}+1={place + 1}>>\n#### {place + 1}",
    }


def _hellaswag(place: int, text: str, split: str) -> dict[str, Any]:
    return {
        "ind": place, "activity_label": "Cats", "ctx_a": text, "ctx_b": "it", "ctx": f"{text} it", "source_id": "x~1",
        "endings": [f"{text} {word}." for word in ("red", "blue", "mat", "dog")], "split": split,
        "split_type": "indomain", "label": str(place % 4) if split != "test" else "",
    }  # fmt: skip


def _choices(place: int, text: str, split: str) -> dict[str, Any]:
    options = {f"option_{letter.lower()}": f"{text} {letter}" for letter in _LETTERS}
    return {"id": str(place), "instruction": f" {text}?", **options, "answer": _LETTERS[place % 4]}
