"""The pool ``roberta_base_glue`` with tiny weights: ids, folders and files as their repositories have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from fusion_bench.hub.pool_sources import read_pool
from tests.helpers.tiny_text import GLUE, WORDS, random_model, roberta_config

POOL = "roberta_base_glue"
TASKS = (*sorted(GLUE), "stsb")
#: Answers an example: STS-B's head gives one number.
OUTPUTS = {**{task: len(classes) for task, (_, classes) in GLUE.items()}, "stsb": 1}
LONGEST = 128  # tokens; positions begin after that of the padding, 1


def expert_folder(root: Path, task: str) -> Path:
    """Where an expert lies below what ``FUSION_BENCH_MODELS`` names."""
    source = read_pool("modelpool", POOL).sources[task]
    return root / source.id / str(source.subfolder)


def write_release(root: Path) -> Path:
    """Base and experts, each of them saved as its publisher did, with what lies beside the weights."""
    from transformers import RobertaForMaskedLM, RobertaForSequenceClassification

    base = root / read_pool("modelpool", POOL).sources["base"].id
    _write_tokenizer(base)
    config = _config(base)
    model = random_model(RobertaForMaskedLM, config, seed=0)
    model.save_pretrained(base)
    torch.save(_as_of_old(model, pooler=True), base / "pytorch_model.bin")
    _write_tokenizer(base)  # transformers' own files of it, with the configuration there
    for seed, task in enumerate(TASKS, 1):
        folder = expert_folder(root, task)
        regression = {"problem_type": "regression"} if OUTPUTS[task] == 1 else {}
        own = _config(base, num_labels=OUTPUTS[task], **regression)
        own.save_pretrained(folder)
        expert = random_model(RobertaForSequenceClassification, own, seed=seed)
        torch.save(_as_of_old(expert), folder / "pytorch_model.bin")
        torch.save({"not": Path("tensors")}, folder / "training_args.bin")  # which nobody may open
        _write_tokenizer(folder)
        (folder / "trainer_state.json").write_text(json.dumps({"best_metric": 0.9, "epoch": 3.0}))
    return root


def _config(base: Path, **changes: Any) -> Any:
    """RoBERTa's own but for its size: one type of token, two positions that no token has."""
    vocabulary = json.loads((base / "vocab.json").read_text())
    positions = {"max_position_embeddings": LONGEST + 2, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
    return roberta_config(vocab_size=len(vocabulary), **positions, **changes)


def _as_of_old(model: Any, *, pooler: bool = False) -> dict[str, torch.Tensor]:
    """The state dict as versions of 2020 to 2023 saved it: position ids among it, and tied tensors under every name."""
    state = dict(model.state_dict())
    state["roberta.embeddings.position_ids"] = torch.arange(LONGEST + 2)[None]
    if pooler:
        state |= {"roberta.pooler.dense.weight": torch.ones(16, 16), "roberta.pooler.dense.bias": torch.ones(16)}
    return state


def _write_tokenizer(folder: Path) -> None:
    """Bytes in pairs as RoBERTa has them, learnt from few words."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    learner = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    learner.train_from_iterator([" ".join(WORDS)], vocab_size=330, min_frequency=1, special_tokens=special)
    learner.save_model(str(folder))
    RobertaTokenizerFast.from_pretrained(folder, model_max_length=512).save_pretrained(folder)
