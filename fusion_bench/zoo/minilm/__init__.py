"""How the pool ``minilm_lora`` and its tasks ``text6`` are made: ``fusion_bench zoo build minilm_lora``."""

from fusion_bench.zoo.minilm.build import build
from fusion_bench.zoo.minilm.recipe import TextRecipe
from fusion_bench.zoo.minilm.texts import TASKS, Texts

__all__ = ["TASKS", "TextRecipe", "Texts", "build"]
