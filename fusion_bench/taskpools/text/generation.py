"""Tasks that a model answers in words: by what it finds likeliest of the answers, or by what it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from fusion_bench.errors import FusionBenchError
from fusion_bench.modelpools.text_models import Seq2SeqPool
from fusion_bench.taskpools.batch import Batch
from fusion_bench.taskpools.text.config import TextTaskConfig
from fusion_bench.taskpools.text.examples import TextExamples, by_length

By: TypeAlias = Literal["likelihood", "generation"]
"""``likelihood``: of the answers, the one that the model finds likeliest. ``generation``: what it writes, greedily;
what is none of the answers is wrong."""

NO_ANSWER = -1


class GenerationTask(TextExamples):
    """Prompts made of an example's columns, and an answer for each class.

    Class scores are log-likelihoods in either way: losses and confidences, and ensembles, are of them.

    Args:
        task: its name.
        config: of its card, with ``template`` and ``answers``.
        pool: whose models answer.
        batch: examples a step.
        by: what counts as the prediction.
        max_new_tokens: that a model may write.

    Raises:
        FusionBenchError: no template or answers.
    """

    def __init__(
        self, task: str, config: TextTaskConfig, pool: Seq2SeqPool, *, batch: int, by: By, max_new_tokens: int
    ) -> None:
        super().__init__(task, config, batch=batch)
        if config.template is None or config.answers is None:
            raise FusionBenchError(
                f"{task!r} has no {'template' if config.template is None else 'answers'}",
                hint="a prompt with columns in braces, and what a model should write for each class",
            )
        self._pool, self._answers, self._most = pool, config.answers, max_new_tokens
        self.generates = by == "generation"
        self._ids: list[list[int]] | None = None

    @property
    def answer_ids(self) -> list[list[int]]:
        """The tokens of each answer, its end among them; the tokenizer is opened when they are first needed.

        Raises:
            FusionBenchError: answers of equal tokens.
        """
        if self._ids is None:
            found = self._pool.targets(self._answers)
            alike = next((a for a, ids in zip(self._answers, found, strict=True) if found.count(ids) > 1), None)
            if alike is not None:
                raise FusionBenchError(
                    f"{self.task!r}: the answer {alike!r} has the same tokens as another, by the tokenizer of pool "
                    f"{self._pool.name!r}",
                    hint="choose answers of words that the tokenizer knows",
                )
            self._ids = found
        return self._ids

    def encoded(self, texts: Mapping[str, list[str]]) -> Mapping[str, Tensor]:
        return self._pool.tokens(self.config.prompts(texts))

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Log-likelihood of each class' answer, ``(b, classes)``: see ``log_likelihoods``."""
        return by_length(batch, lambda tokens: log_likelihoods(model, tokens, self.answer_ids))

    def generate(self, model: nn.Module, batch: Batch) -> Tensor:
        """The class whose answer a model writes, greedily and stripped of blanks; -1 where it writes none of them.

        Returns:
            int64 ``(b,)``.

        Raises:
            FusionBenchError: an answer that is longer than what a model may write.
        """
        longest = max(map(len, self.answer_ids))
        if longest > self._most:
            raise FusionBenchError(
                f"an answer of {self.task!r} has {longest} tokens, and max_new_tokens is {self._most}",
                hint=f"max_new_tokens: {longest}",
            )
        index = {answer.strip(): label for label, answer in enumerate(self._answers)}

        def write(tokens: Mapping[str, Tensor]) -> Tensor:
            said = [index.get(text.strip(), NO_ANSWER) for text in written(model, tokens, self._pool, self._most)]
            return torch.tensor(said, dtype=torch.int64, device=tokens["input_ids"].device)

        return by_length(batch, write)


def written(model: nn.Module, tokens: Mapping[str, Tensor], pool: Seq2SeqPool, most: int) -> list[str]:
    """What a model writes for each of some inputs, greedily.

    Args:
        most: tokens that it may write.
    """
    with torch.no_grad():
        ids = model.generate(**tokens, max_new_tokens=most, do_sample=False, num_beams=1)  # type: ignore[operator]
    return pool.words(ids)


def log_likelihoods(model: nn.Module, tokens: Mapping[str, Tensor], answers: Sequence[Sequence[int]]) -> Tensor:
    """log p(y | x) = Σ_t log p(y_t | y_<t, x) of every answer y for every input x, the end of the answer included.

    The encoder runs once; the decoder once for each answer, with the answer before it (teacher forcing).

    Args:
        model: an encoder-decoder of transformers.
        tokens: ``input_ids`` and ``attention_mask``, int64 ``(b, longest)``.
        answers: token ids, C answers.

    Returns:
        float32 ``(b, C)``, in nats, not divided by lengths.
    """
    states = model.get_encoder()(**tokens, return_dict=True)  # type: ignore[operator]
    count, device = len(tokens["input_ids"]), tokens["input_ids"].device
    found = []
    for answer in answers:
        written = torch.tensor([list(answer)], device=device).expand(count, -1)
        before = model.prepare_decoder_input_ids_from_labels(labels=written)  # type: ignore[operator]
        scores = model(
            encoder_outputs=states,
            attention_mask=tokens["attention_mask"],
            decoder_input_ids=before,
            use_cache=False,
        ).logits
        each = scores.float().log_softmax(dim=-1).gather(-1, written.unsqueeze(-1)).squeeze(-1)
        found.append(each.sum(dim=-1))
    return torch.stack(found, dim=-1)
