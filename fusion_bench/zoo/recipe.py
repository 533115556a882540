"""What a build is made of: one frozen record per size, ``full`` for the pool that ships and ``toy`` for the test."""

from __future__ import annotations

from dataclasses import dataclass, field

from fusion_bench.zoo.pretrain import Schedule

#: Pixels are standardised with one mean and deviation for all channels.
PIXELS = (0.25, 0.35)


@dataclass(frozen=True)
class Tower:
    """A ConvNeXt small enough for two cores; kernels shrink with the maps they see."""

    depths: tuple[int, ...] = (1, 2, 4, 1)
    dims: tuple[int, ...] = (32, 96, 176, 288)
    kernel_size: tuple[int, ...] = (5, 5, 3, 3)
    patch_size: int = 2
    embed_dim: int = 128

    def vision_cfg(self) -> dict[str, object]:
        """The entry ``vision_cfg`` of the pool's ``model.json``."""
        return {
            "kind": "convnext",
            "depths": list(self.depths),
            "dims": list(self.dims),
            "kernel_size": list(self.kernel_size),
            "patch_size": self.patch_size,
        }


@dataclass(frozen=True)
class FineTuning:
    """Steps, batch size and rate of the fine-tuning of one expert (and, times ``multitask``, of the joint model)."""

    steps: int = 400
    batch: int = 96
    rate: float = 3e-4
    weight_decay: float = 0.01
    multitask: float = 4.0


@dataclass(frozen=True)
class Recipe:
    name: str = "clip_mini"
    seed: int = 0
    tower: Tower = field(default_factory=Tower)
    pretraining: Schedule = field(default_factory=lambda: Schedule(steps=9000))
    text_steps: int = 1500
    fine_tuning: FineTuning = field(default_factory=FineTuning)
    shots: int = 4
    held_out: int = 400
    adaptation: int = 500
    shipped_training: int = 2100
    tasks: tuple[str, ...] = ("mnist", "fashion", "animals", "letters", "hangul", "radicals", "scripts", "artists")
    workers: int = 2
