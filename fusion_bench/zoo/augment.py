"""Random views of a batch of pictures, on tensors, from an explicit generator."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def augment(images: Tensor, generator: torch.Generator, *, colour: Tensor | None = None) -> Tensor:
    """Shift, scale, rotate, shear, and vary contrast and noise.

    Args:
        images: float ``(n, 3, h, w)`` in [0, 1].
        generator: the only source of randomness.
        colour: bool ``(n,)``: pictures that may also be inverted or have their channels permuted (icons; never glyph
            tasks, whose convention is light on black). None: none of them.

    Returns:
        float ``(n, 3, h, w)`` in [0, 1].
    """
    n = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, generator=generator) * (high - low) + low

    angle = uniform(-10, 10) * (math.pi / 180)
    scale_x, scale_y = uniform(0.85, 1.15), uniform(0.85, 1.15)
    cos, sin, shear = angle.cos(), angle.sin(), uniform(-0.12, 0.12)
    rows = [
        cos * scale_x,
        -sin * scale_y + shear,
        uniform(-0.14, 0.14),
        sin * scale_x,
        cos * scale_y,
        uniform(-0.14, 0.14),
    ]
    theta = torch.stack(rows, dim=1).view(n, 2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    out = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    out = out * uniform(0.75, 1.2).view(n, 1, 1, 1) + uniform(-0.06, 0.06).view(n, 1, 1, 1)
    out = out + torch.randn(out.shape, generator=generator) * uniform(0, 0.06).view(n, 1, 1, 1)
    out = out.clamp(0, 1)
    if colour is not None:
        invert = colour & (torch.rand(n, generator=generator) < 0.25)
        out = torch.where(invert.view(n, 1, 1, 1), 1 - out, out)
        if torch.rand((), generator=generator) < 0.5:
            permuted = out[:, torch.randperm(3, generator=generator)]
            out = torch.where(colour.view(n, 1, 1, 1), permuted, out)
    return out
