"""Running a model over a task of the harness, in smaller batches where memory does not do."""

from __future__ import annotations

import copy
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from fusion_bench.errors import FusionBenchError
from fusion_bench.progress import Counted, uncounted
from fusion_bench.taskpools.harness.answers import Answers
from fusion_bench.taskpools.harness.library import SEEDS, quiet, seeded
from fusion_bench.taskpools.harness.opened import OpenTask
from fusion_bench.taskpools.placement import NoRoom, is_out_of_memory
from fusion_bench.taskpools.steps import Steps

if TYPE_CHECKING:
    from torch import nn

#: Draws for standard errors that have no closed form: they are known to two parts in a hundred then.
RESAMPLES = 1000


def run(
    model: nn.Module,
    opened: OpenTask,
    tokenizer: Any,
    *,
    batch: int,
    chat: bool,
    device: str,
    steps: Steps,
    fits: MutableMapping[str, int],
    counted: Counted = uncounted,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the harness reports of a model: its numbers by ``metric,filter``, and its record of every example.

    Args:
        model: a causal language model of transformers on ``device``, or one whose layers come there when they are
            called. Nothing is written to it.
        batch: examples at once, at most.
        chat: whether prompts go through the tokenizer's chat template.
        fits: by device, how many examples memory sufficed for; kept up to date.
        counted: told how many examples are answered; from the start again where a batch did not fit.

    Raises:
        NoRoom: not even one example fits. The size is forgotten: with fewer weights there, more may.
        FusionBenchError: another kind of model, or a task that the harness cannot run.
    """
    from transformers import PreTrainedModel

    if not isinstance(model, PreTrainedModel):
        raise FusionBenchError(
            f"{opened.name!r} is run by lm-eval, which takes models of transformers, no {type(model).__name__}",
            hint="use an algorithm that makes one model of the experts' architecture, or leave the task out",
        )
    while True:
        size = min(batch, fits.get(device, batch))
        found = _attempt(model, opened, tokenizer, size, chat, device, steps, counted)
        if found is not None:
            return found
        if size == 1:
            fits.pop(device, None)
            raise NoRoom(
                f"evaluating {opened.name!r}: {device} runs out of memory with one example at a time",
                hint="use a device with more memory, or smaller models",
            )
        fits[device] = size // 2
        _let_go(device)


def _attempt(
    model: Any,
    opened: OpenTask,
    tokenizer: Any,
    size: int,
    chat: bool,
    device: str,
    steps: Steps,
    counted: Counted,
) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    """None where memory did not suffice."""
    import torch
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    half = steps.precision(device) == "bfloat16"
    task = opened.task
    try:
        with quiet() as aloud, seeded(device):
            wrapped = HFLM(
                pretrained=model,
                backend="causal",
                tokenizer=copy.deepcopy(tokenizer),  # it is given a token to pad with
                batch_size=size,
                mixed_precision_dtype="bfloat16" if half else None,
                softmax_dtype="float32",
            )
            wrapped.set_cache_hook(Answers(opened, counted, aloud))
            wrapped._device = torch.device(device)  # else where its first weight lies, which may come only when needed
            task.set_fewshot_seed(SEEDS["fewshot"])  # else a second model would get other examples in its prompts
            with torch.inference_mode():
                found: Any = evaluate(
                    wrapped,
                    {"tasks": {opened.name: task}},
                    limit=opened.limit,
                    bootstrap_iters=RESAMPLES,
                    log_samples=True,
                    apply_chat_template=chat,
                    fewshot_as_multiturn=True,
                )
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None
    except (AssertionError, ValueError) as error:  # so it tells of prompts that are too long, and of wrong settings
        text = " ".join(str(error).split())
        raise FusionBenchError(
            f"lm-eval cannot evaluate {opened.name!r}: {text or type(error).__name__}",
            hint="the task asks for more than these models can do, or its YAML is wrong",
        ) from error
    finally:
        task._instances = None  # requests and answers of all examples, which it would hold until the next model
    (results,), (samples,) = found["results"].values(), found["samples"].values()
    return dict(results), list(samples)


def _let_go(device: str) -> None:
    import torch

    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
