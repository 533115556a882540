"""Tasks of lm-evaluation-harness with a few examples, and what a model answers, by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import yaml

from fusion_bench.registry import load_taskpool
from fusion_bench.taskpools.evaluate import evaluate
from tests.helpers.tiny_text import gpt2_tokenizer, sentences

SIZE = 14
WORDS = ("cat", "dog", "mat", "red", "blue")
UTILS = """
def share(said, wanted):
    return len(said & wanted) / len(said | wanted)


def overlap(doc, results):
    words = results[0].split()
    return {"overlap": share(set(words), set(doc["answer"].split())), "length": float(len(words))}
"""


@torch.inference_mode()
def written(model: Any, text: str, *, tokens: int = 3) -> list[str]:
    """What a model writes greedily, word by word, without a cache, padding or a batch."""
    own = gpt2_tokenizer()
    ids = own(text)["input_ids"]
    for _ in range(tokens):
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == own.eos_token_id:
            break
    return own.decode(ids[len(own(text)["input_ids"]) :], skip_special_tokens=True).split()


@torch.inference_mode()
def likelihood(model: Any, text: str, answer: str) -> float:
    """log p(answer | text) in nats, from the model's logits alone."""
    own = gpt2_tokenizer()
    before, ids = len(own(text)["input_ids"]), own(f"{text} {answer}")["input_ids"]
    logs = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return float(sum(logs[place - 1, ids[place]] for place in range(before, len(ids))))


def write(root: Path, rows: list[dict[str, Any]]) -> Path:
    """A folder of the harness' tasks, with their data beside them."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shots = [{"text": t, "answer": "red", "choices": ["red", "a"], "gold": 0} for t in sentences(9, seed=9, longest=2)]
    (root / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in shots))
    (root / "utils.py").write_text(UTILS)
    common = {
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {"test": str(root / "data.jsonl"), "train": str(root / "train.jsonl")},
            "cache_dir": str(root / "cache"),
        },
        "test_split": "test",
        "doc_to_text": "{{text}} ?",
        "metadata": {"version": 1},
    }
    mean = {"aggregation": "mean", "higher_is_better": True}
    choice = {
        **common, "task": "tiny_choice", "output_type": "multiple_choice", "doc_to_choice": "choices",
        "doc_to_target": "gold", "training_split": "train", "fewshot_split": "train",
        "metric_list": [
            {"metric": "acc", **mean}, {"metric": "acc_norm", **mean},
            {"metric": "brier_score", "aggregation": "brier_score", "higher_is_better": False},
        ],
    }  # fmt: skip
    generated = {
        **common, "output_type": "generate_until", "doc_to_target": "answer",
        "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 3, "do_sample": False},
    }  # fmt: skip
    first = [{"function": "regex", "regex_pattern": r"^\s*(\w+)"}, {"function": "take_first"}]
    last = [{"function": "regex", "regex_pattern": r"(\w+)", "group_select": -1}, {"function": "take_first"}]
    matched = {
        **generated, "task": "tiny_match", "metric_list": [{"metric": "exact_match", **mean}],
        "filter_list": [{"name": "first-word", "filter": first}, {"name": "last-word", "filter": last}],
    }  # fmt: skip
    corpus = {
        **choice, "task": "tiny_corpus",
        "metric_list": [{"metric": "acc", **mean}, {**mean, "metric": "mcc", "aggregation": "matthews_corrcoef"}],
    }  # fmt: skip
    overlap = {**generated, "task": "tiny_overlap"}
    lists = [{"metric": "overlap", **mean}, {"metric": "length", "aggregation": "mean", "higher_is_better": False}]
    rolling = {
        **common, "task": "tiny_rolling", "output_type": "loglikelihood_rolling", "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "word_perplexity", "aggregation": "weighted_perplexity", "higher_is_better": False}],
    }  # fmt: skip
    unsafe = {**matched, "task": "tiny_unsafe", "unsafe_code": True}
    remote = {**matched, "task": "tiny_remote", "metric_list": [{"metric": "cer", **mean}]}
    zero = {**choice, "task": "tiny_zero", "num_fewshot": 0}
    long = {**matched, "task": "tiny_long", "generation_kwargs": {"until": ["."], "max_gen_toks": 100}}
    tagged = {**choice, "task": "tiny_tagged", "tag": "tiny_tag"}
    group = {"group": "tiny_group", "task": ["tiny_choice", "tiny_match"]}
    for one in (choice, corpus, matched, rolling, unsafe, remote, zero, long, tagged, group):
        (root / f"{one.get('task') if 'group' not in one else 'group'}.yaml").write_text(yaml.safe_dump(one))
    text = yaml.safe_dump({**overlap, "metric_list": lists})
    (root / "tiny_overlap.yaml").write_text(f"{text}process_results: !function utils.overlap\n")
    return root


def taskpool(folder: Path | None, tasks: Any = None, **options: Any) -> Any:
    named = tasks or {
        "choice": {"task": "tiny_choice"},
        "norm": {"task": "tiny_choice", "metric": "acc_norm"},
        "first": {"task": "tiny_match"},
        "last": {"task": "tiny_match", "filter": "last-word"},
        "overlap": {"task": "tiny_overlap"},
    }
    path = {} if folder is None else {"include_path": str(folder)}
    return load_taskpool({"type": "lm_evaluation", "name": "mine", "tasks": named, "batch_size": 4, **path, **options})


def found(folder: Path, pool: Any, name: str = "base", tasks: Any = None, **options: Any) -> Any:
    return evaluate(pool.model(name), taskpool(folder, tasks, **options).bind(pool))
