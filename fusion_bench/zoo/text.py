"""Stage two: a text tower learns where the (locked) image tower puts what a caption says.

Locked-image tuning (Zhai et al., 2022, arXiv:2111.07991): the image features are computed once, the text tower is
trained with the contrastive loss against them. Negatives come from the caption's own domain, so that the words of one
domain do not end up parallel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.progress import Progress, silent


def vocabulary_of(captions: Sequence[str], *, minimum: int = 5, always: Sequence[str] = ()) -> list[str]:
    """Words that occur often enough, and every word of ``always``, in alphabetical order.

    Example:
        >>> vocabulary_of(["red car", "red bus"], minimum=2, always=["a bus"])
        ['a', 'bus', 'red']
    """
    words, counts = np.unique([w for caption in captions for w in caption.lower().split()] or [""], return_counts=True)
    kept = {str(w) for w, n in zip(words, counts, strict=True) if n >= minimum}
    kept |= {w for text in always for w in text.lower().split()}
    return sorted(kept - {""})


def align_text(
    clip: Any,
    features: Tensor,
    tokens: Tensor,
    domains: np.ndarray,
    *,
    steps: int,
    seed: int,
    batch: int = 256,
    rate: float = 2e-3,
    weights: dict[str, float],
    progress: Progress = silent,
) -> float:
    """Train ``clip``'s text tower in place; returns the learnt ``logit_scale`` (not in log).

    Args:
        features: unit image features ``(n, d)``.
        tokens: ``(n, m, context)``: for each picture, m wordings of its caption.
        domains: ``(n,)`` names; a batch is drawn from one domain.
        weights: how often each domain is drawn.
    """
    torch.manual_seed(seed)
    for parameter in clip.visual.parameters():
        parameter.requires_grad_(False)
    trained = [p for p in clip.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=rate, weight_decay=0.05, betas=(0.9, 0.98))
    rows = {name: np.flatnonzero(domains == name) for name in weights}
    names = list(weights)
    chance = np.array([weights[name] for name in names])
    for step in range(steps):
        rng = np.random.default_rng([seed, step])
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 50, 2 * (1 - step / steps))
        pool = rows[names[int(rng.choice(len(names), p=chance / chance.sum()))]]
        drawn = torch.from_numpy(pool[rng.integers(len(pool), size=min(batch, 4 * len(pool)))])
        wording = torch.from_numpy(rng.integers(tokens.shape[1], size=len(drawn)))
        said = tokens[drawn, wording]
        unique, which = said.unique(dim=0, return_inverse=True)  # one column per distinct caption
        text = F.normalize(clip.encode_text(unique), dim=-1)
        logits = clip.logit_scale.exp().clamp(max=100) * features[drawn] @ text.T
        present = torch.zeros(len(drawn), len(unique)).scatter_(1, which[:, None], 1.0)
        to_image = -(logits.T.log_softmax(1) * (present.T / present.sum(0)[:, None])).sum(1).mean()
        loss = 0.5 * F.cross_entropy(logits, which) + 0.5 * to_image
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        progress("text", step + 1, steps)
    clip.eval()
    return float(clip.logit_scale.detach().exp().clamp(max=100))


@torch.inference_mode()
def text_head(clip: Any, tokenizer: Any, classes: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Zero-shot directions ``(classes, d)``: the mean over templates of unit text features, made unit again."""
    parts = []
    for template in templates:
        tokens = tokenizer([template.format(name) for name in classes])
        parts.append(F.normalize(clip.encode_text(tokens), dim=-1))
    return F.normalize(torch.stack(parts).mean(0), dim=-1)
