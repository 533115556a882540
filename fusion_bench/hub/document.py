"""``docs/pools.md``, made of the YAML files: ``python -m fusion_bench.hub.document > docs/pools.md``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fusion_bench import registry
from fusion_bench.disk import byte_text
from fusion_bench.hub.cards import with_cards
from fusion_bench.hub.places import is_commit
from fusion_bench.hub.pool_sources import Pool, read_pool
from fusion_bench.memory import BUDGET

_HEAD = """# Pools

Made by `python -m fusion_bench.hub.document` from the YAML files in `fusion_bench/config`; do not edit by hand.

- What there is, and what of it is on this machine: `fusion_bench pools list`, `fusion_bench pools show NAME`.
- Get one: `fusion_bench pools fetch NAME` (in parallel, resumes, verifies sums). `HF_ENDPOINT`, `HF_HUB_OFFLINE`,
  `HF_HOME` and a token are heeded. Folders that you have: `FUSION_BENCH_MODELS=/data/hub` finds `/data/hub/owner/name`.
- Look whether every id and revision is still there, without weights: `fusion_bench pools check NAME` or `--all`;
  `--pin` writes the commits and sums that it found beside the YAML, and what is pinned is what is used.
- A case whose pool is not here is skipped, and says which command fetches it. `pytest bench -k NAME --dry-run` prints
  what its cases would read, hold and write.
- Your own models: `fusion_bench pools new NAME --base FOLDER --expert TASK=FOLDER …` writes the YAML once the
  checkpoints fit together. By hand it is the same few lines as in `fusion_bench/config`, with paths instead of ids.

Revisions: the files that ship were written without access to the hub. The commits in them are those that public records
of others state for what they had fetched: for the CLIP towers, their adapters and data sets that is
`artifact/upstream_revisions.json` of `minsik-choi126/actnull`, for the rest commits that several repositories name, or
the hub's own page as it is stored elsewhere. They were not looked up by us. *pinned* counts the models that have one;
`pools check` says of each whether it is there, and `--pin` writes those of the others down.
"""

_MEMORY = """
*Memory* is of a merging case: two models as they are fused (the result and one that is read or evaluated), and what the
engine takes, 512 MB at most; data and activations come on top. Time of merging: docs/performance.md; of evaluation it
depends on the device, and `pytest bench` says how much is left.
"""

_DIFFERS = """
## What differs from the published tables

- **Data and processor.** The published numbers pin neither: the zero-shot rows of one page differ by up to two points
  between two tables (EuroSAT 46.0 and 45.0). Pin them with `pools check --pin` before you compare to a tenth.
- **Pictures** are resized with Pillow (shorter side, bicubic, longer side rounded down), cropped and kept as bytes: to
  the bit what transformers' `CLIPImageProcessorPil` makes; its torchvision twin differs by one level of 255 in about
  one value of 150 (`pytest tests/taskpools/test_zero_shot.py -k processor`).
- **Validation** is a tenth of the training split, drawn once with seed 0; λ is chosen there. The published λ were read
  off the test sets.
- **Adaptation** is another tenth, without labels; test-time methods of the literature adapt on the test split itself.
- **Corruptions** are made here, at a severity that the YAML says. The published splits do not say theirs, and their
  `pixelate` is a picture of 32 x 32.
- **Class names and prompts** are those of the literature, misspellings included (`assets/image_tasks`); that they stand
  in the order of the data's labels is checked when the data is opened.
"""


def document() -> str:
    """The page, as Markdown.

    Example:
        >>> "| `clip_vit_b32_ta8` |" in document()
        True
    """
    models = [read_pool("modelpool", name) for name in registry.names("modelpool")]
    tasks = [read_pool("taskpool", name) for name in registry.names("taskpool")]
    parts = [
        _HEAD,
        "\n## Model pools\n\n",
        _table(
            ("name", "what", "models", "pinned", "download", "memory", "licence", "task pools", "published"),
            (_model_row(pool) for pool in models),
        ),
        _MEMORY,
        "\n## Task pools\n\n",
        _table(("name", "what", "tasks", "test examples", "data"), (_task_row(pool) for pool in tasks)),
        _DIFFERS,
    ]
    return "".join(parts)


def _model_row(pool: Pool) -> tuple[str, ...]:
    places = {source.place for source in pool.sources.values()}
    size = pool.config.get("bytes")
    download = (
        "shipped" if places <= {"package", "path"} else "its base: a Python package" if "hub" not in places else "?"
    )
    count = "" if set(pool.sources) == {"path"} else str(len(pool.sources))
    of_hub = [source for source in pool.written.values() if source.place == "hub"]
    pinned = sum(is_commit(source.revision) for source in of_hub if source.revision)
    return (
        f"`{pool.name}`",
        pool.about.partition(". docs/")[0],
        count,
        str(pinned) if of_hub else "",
        f"about {byte_text(int(size))}" if size else download,
        f"about {byte_text(2 * pool.model_bytes + BUDGET)}" if pool.model_bytes else "",
        str(pool.config.get("licence", "see each repository" if "hub" in places else "LICENSES.md")),
        ", ".join(f"`{name}`" for name in pool.config.get("taskpools", ())),
        str(len(pool.published) or ""),
    )


def _task_row(pool: Pool) -> tuple[str, ...]:
    config = pool.config
    tasks = with_cards(config.get("tasks", ()), config.get("cards"), where=pool.name)
    cards = [card for card in tasks.values() if isinstance(card, Mapping)] if isinstance(tasks, Mapping) else []
    sizes = [card.get("test_size") for card in cards]
    known = sum(size for size in sizes if size)
    count = f"{known:,}{' and more' if None in sizes else ''}" if known else ""
    data = ", ".join(dict.fromkeys(str(card["data"]) for card in cards if "data" in card))
    return (f"`{pool.name}`", pool.about.partition(". docs/")[0], str(len(tasks)), count, data or "shipped")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


if __name__ == "__main__":
    print(document(), end="")
