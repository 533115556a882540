"""Task-vector analysis: what experts have in common before anything fuses them. docs/analysis.md.

Functions of state dicts (or of a model pool and its tasks) that return arrays, and `run_analysis`, which makes tables
and figures of them in a tracked run. ``pytest bench -k analysis`` runs them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusion_bench.lazy import late

if TYPE_CHECKING:
    from fusion_bench.analysis.ancestry import kinship
    from fusion_bench.analysis.geometry import cosine_matrix, task_vector_norms
    from fusion_bench.analysis.paths import loss_path
    from fusion_bench.analysis.run import run_analysis
    from fusion_bench.analysis.signs import sign_conflict
    from fusion_bench.analysis.spectra import singular_spectra
    from fusion_bench.analysis.subspaces import subspace_alignment, subspace_overlap
    from fusion_bench.analysis.transfer import cross_task

__all__ = [
    "cosine_matrix",
    "cross_task",
    "kinship",
    "loss_path",
    "run_analysis",
    "sign_conflict",
    "singular_spectra",
    "subspace_alignment",
    "subspace_overlap",
    "task_vector_norms",
]

__getattr__ = late(
    __name__,
    {
        "cosine_matrix": "geometry",
        "cross_task": "transfer",
        "kinship": "ancestry",
        "loss_path": "paths",
        "run_analysis": "run",
        "sign_conflict": "signs",
        "singular_spectra": "spectra",
        "subspace_alignment": "subspaces",
        "subspace_overlap": "subspaces",
        "task_vector_norms": "geometry",
    },
)
