"""Tiny language models with random weights, and GLUE's columns, in exactly the hub's formats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

WORDS = (
    "indicate if the following sentence is grammatically correct or not does premise logically imply contradict "
    "neutral to hypothesis answere with entailment contradiction acceptable unacceptable yes no provide text entail "
    "that true good bad cat dog sat ran on a mat red blue very not_equivalent equivalent it"
).split()
SIGNS = list(".,:;?!'\"")

#: GLUE's columns and classes as its repository has them.
GLUE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "cola": (("sentence",), ("unacceptable", "acceptable")),
    "mnli": (("premise", "hypothesis"), ("entailment", "neutral", "contradiction")),
    "mrpc": (("sentence1", "sentence2"), ("not_equivalent", "equivalent")),
    "qnli": (("question", "sentence"), ("entailment", "not_entailment")),
    "qqp": (("question1", "question2"), ("not_duplicate", "duplicate")),
    "rte": (("sentence1", "sentence2"), ("entailment", "not_entailment")),
    "sst2": (("sentence",), ("negative", "positive")),
}
_WORDS_OF_DATA = ("good", "bad", "cat", "dog", "sat", "ran", "on", "a", "mat", "red", "blue", "very", "it")


def tokenizer(special: Mapping[str, str], first: Sequence[str], *, single: str | None, pair: str | None = None) -> Any:
    """A tokenizer of words: ids of ``first``, then of all words and signs."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate([*first, *dict.fromkeys(WORDS), *SIGNS])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token=special["unk_token"]))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    if single is not None:
        names = [(token, vocabulary[token]) for token in first]
        made.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=names)
    return PreTrainedTokenizerFast(tokenizer_object=made, **special)


def t5_tokenizer() -> Any:
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return tokenizer(special, ["<pad>", "</s>", "<unk>"], single="$A </s>", pair="$A </s> $B </s>")


def gpt2_tokenizer() -> Any:
    end = "<|endoftext|>"
    return tokenizer({"bos_token": end, "eos_token": end, "unk_token": end}, [end], single=None)


def roberta_tokenizer() -> Any:
    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    first = ["<s>", "<pad>", "</s>", "<unk>"]
    return tokenizer(special, first, single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>")


def t5_config(**changes: Any) -> Any:
    from transformers import T5Config

    fields = {
        "vocab_size": len(t5_tokenizer()), "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2,
        "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1, "feed_forward_proj": "gated-gelu",
        "dropout_rate": 0.0,
    }  # fmt: skip
    return T5Config(**{**fields, **changes})


def gpt2_config(**changes: Any) -> Any:
    from transformers import GPT2Config

    fields = {"vocab_size": len(gpt2_tokenizer()), "n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2}
    return GPT2Config(**{**fields, "bos_token_id": 0, "eos_token_id": 0, **changes})


def roberta_config(**changes: Any) -> Any:
    from transformers import RobertaConfig

    fields = {
        "vocab_size": len(roberta_tokenizer()), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 70, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
    }  # fmt: skip
    return RobertaConfig(**{**fields, **changes})


def random_model(kind: Any, config: Any, *, seed: int, spread: float = 0.3) -> Any:
    """A model whose weights are normal, wide enough that no two inputs look alike."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = kind(config).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim > 1:
                    parameter.normal_(std=spread)
                elif not name.endswith("weight"):
                    parameter.normal_(std=0.05)
    return model


def taught(model: Any, tokenizer: Any, answer: str, *, steps: int = 40) -> Any:
    """An encoder-decoder that writes this answer to whatever it is asked."""
    ids = torch.tensor([tokenizer(text)["input_ids"] for text in ("good cat", "good it", "bad cat", "bad it")])
    target = torch.tensor([tokenizer(answer)["input_ids"]]).repeat(len(ids), 1)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    with torch.enable_grad():
        for _ in range(steps):
            loss = model(input_ids=ids, labels=target).loss
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval()


def sentences(count: int, *, seed: int, longest: int = 7) -> list[str]:
    """Texts of the vocabulary, of one to ``longest`` words."""
    generator = torch.Generator().manual_seed(seed)

    def draw(below: int) -> int:
        return int(torch.randint(below, (1,), generator=generator))

    return [" ".join(_WORDS_OF_DATA[draw(len(_WORDS_OF_DATA))] for _ in range(1 + draw(longest))) for _ in range(count)]


def write_glue(root: Path, tasks: Sequence[str], *, train: int = 60, test: int = 40, **changed: Any) -> Path:
    """``nyu-mll/glue`` below a folder: Parquet files, class names as features, a card with configurations.

    Args:
        root: of what the environment variable ``FUSION_BENCH_MODELS`` names.
        tasks: configurations to write.
        changed: class names of a task, in another order than GLUE's.
    """
    from datasets import ClassLabel, Dataset, Features, Value

    folder = root / "nyu-mll" / "glue"
    configs = []
    for number, task in enumerate(tasks):
        columns, classes = GLUE[task]
        classes = changed.get(task, classes)
        names = {column: Value("string") for column in columns}
        features = Features({**names, "label": ClassLabel(names=list(classes)), "idx": Value("int32")})
        validation = "validation_matched" if task == "mnli" else "validation"
        files = []
        for place, (split, size) in enumerate({"train": train, validation: test, "test": 10}.items()):
            texts = {c: sentences(size, seed=100 * number + 10 * place + at) for at, c in enumerate(columns)}
            labels = [-1] * size if split == "test" else [index % len(classes) for index in range(size)]
            data = Dataset.from_dict({**texts, "label": labels, "idx": list(range(size))}, features=features)
            path = folder / task / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            data.to_parquet(path)
            files.append({"split": split, "path": f"{task}/{split}-*"})
        configs.append({"config_name": task, "data_files": files})
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs})}---\n")
    return folder


def write_stsb(root: Path, labels: Any = None, *, test: int = 40) -> None:
    """STS-B beside the tasks of `write_glue`, its label a float32 as GLUE has it."""
    import numpy as np
    from datasets import Dataset, Features, Value

    folder = root / "nyu-mll" / "glue"
    kinds = {"sentence1": "string", "sentence2": "string", "label": "float32", "idx": "int32"}
    features = Features({column: Value(kind) for column, kind in kinds.items()})
    for place, (split, size) in enumerate({"train": 60, "validation": test, "test": 10}.items()):
        truth = np.random.default_rng(place).integers(0, 26, size) / 5 if split != "test" else np.full(size, -1.0)
        texts = {f"sentence{at}": sentences(size, seed=10 * place + at) for at in (1, 2)}
        own = list(truth if labels is None else labels[:size])
        content = {**texts, "label": own, "idx": list(range(size))}
        data = Dataset.from_dict(content, features=None if labels else features)
        (folder / "stsb").mkdir(parents=True, exist_ok=True)
        data.to_parquet(folder / "stsb" / f"{split}-00000-of-00001.parquet")
    card = folder / "README.md"
    configs = yaml.safe_load(card.read_text().split("---")[1])["configs"]
    splits = ("train", "validation", "test")
    files = [{"split": split, "path": f"stsb/{split}-*"} for split in splits]
    configs = [c for c in configs if c["config_name"] != "stsb"] + [{"config_name": "stsb", "data_files": files}]
    card.write_text(f"---\n{yaml.safe_dump({'configs': configs})}---\n")
