"""Writing the pool and its tasks: Parquet of texts, task cards, licences."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_bench.zoo.minilm.recipe import BASE_PACKAGE, TextRecipe
from fusion_bench.zoo.minilm.texts import TASKS, Texts, TextTask

_TASKS = """# Licences of the task pool text6

Texts were cut out of the sources by `fusion_bench zoo build minilm_lora`; nothing else was changed.

| task | source | licence |
| --- | --- | --- |
{rows}

Names of cities: <https://www.geonames.org>, <https://creativecommons.org/licenses/by/4.0/>; names that several
countries have were left out. The notices that the other licences ask for are below.

## WordNet 3.0

{wordnet}

## vaderSentiment

{vader}

## Unicode data files

Modified: of emoji-test.txt, names and groups only. {unicode_line}

{unicode}
"""

_MODELS = f"""# Licences of the pool minilm_lora

The adapters were trained by `fusion_bench zoo build minilm_lora` on the texts of `text6` (see its LICENSES.md) and are
released under the Apache License 2.0, like the suite. The base is not part of it:
sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), as the Python package `{BASE_PACKAGE}` (MIT) brings it.
"""


def write_split(path: Path, texts: Texts, classes: list[str], *, labelled: bool) -> None:
    """One split as Parquet that ``datasets`` reads: text, label (unless unlabelled), cluster."""
    import pyarrow.parquet as pq
    from datasets import ClassLabel, Dataset, Features, Value

    columns: dict[str, Any] = {"text": list(texts.texts)}
    features: dict[str, Any] = {"text": Value("string")}
    if labelled:
        columns["label"] = list(texts.labels)
        features["label"] = ClassLabel(names=classes)
    columns["cluster"] = list(texts.clusters)
    features["cluster"] = Value("string")
    path.parent.mkdir(parents=True, exist_ok=True)
    data = Dataset.from_dict(columns, features=Features(features))
    table = data.with_format("arrow")[:].replace_schema_metadata(data.features.arrow_schema.metadata)
    pq.write_table(table, path, compression="zstd")


def write_task(folder: Path, task: TextTask, splits: Mapping[str, Texts]) -> None:
    """``task.json`` and the splits of a task."""
    classes = list(task.classes.values())
    for name, texts in splits.items():
        write_split(folder / f"{name}.parquet", texts, classes, labelled=name != "adaptation")
    card = {
        "name": task.name,
        "title": task.title,
        "classes": classes,
        "templates": list(task.templates),
        "cluster": task.cluster,
        "licence": task.licence,
        "source": task.source,
        "texts": {name: len(texts) for name, texts in splits.items()},
    }
    (folder / "task.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n")


def write_beside(models: Path, tasks: Path, sources: Path, recipe: TextRecipe, base_sum: str) -> None:
    """Licences, and what the adapters belong to."""
    rows = "\n".join(f"| {task.name} | {task.source} | {task.licence} |" for task in TASKS)
    debian = sources / "usr/share/doc"
    stanza = (debian / "wordnet-base/copyright").read_text().partition("License: WordNet3.0\n")[2].partition("\n\n")[0]
    unicode = (debian / "unicode-data/copyright").read_text().partition("COPYRIGHT AND PERMISSION NOTICE")[2]
    header = (sources / "usr/share/unicode/emoji/emoji-test.txt").read_text(encoding="utf-8")
    text = _TASKS.format(
        rows=rows,
        wordnet="\n".join(line.strip().removeprefix(".") for line in stanza.splitlines()),
        vader=next(sources.glob("vaderSentiment-*.dist-info/LICENSE.txt")).read_text().strip(),
        unicode_line=next(line for line in header.splitlines() if "©" in line).removeprefix("# "),
        unicode="\n".join(line.rstrip() for line in unicode.strip().splitlines()),
    )
    (tasks / "LICENSES.md").write_text(text, encoding="utf-8")
    (models / "LICENSES.md").write_text(_MODELS)
    base = {"package": BASE_PACKAGE, "sha256": base_sum, "logit_scale": recipe.scale, "max_tokens": recipe.tokens}
    (models / "base.json").write_text(json.dumps(base, indent=1) + "\n")
