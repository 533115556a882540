"""What the analyses of weights show: their tables, and the few numbers that go into a run as metrics."""

from __future__ import annotations

import itertools

import numpy as np

from fusion_bench.analysis import ancestry, geometry, signs, spectra, subspaces
from fusion_bench.analysis.deltas import mean_pair, off_diagonal
from fusion_bench.analysis.subject import Findings, Subject
from fusion_bench.analysis.table import Table
from fusion_bench.modelpools.base import BASE, MULTITASK


def show_cosines(subject: Subject) -> Findings:
    """Cosines over the model and by layer."""
    found = geometry.cosine_matrix(subject.base, subject.experts)
    names, pairs = found.names, list(itertools.combinations(range(len(found.names)), 2))
    tables = {
        "cosines": Table.of(
            "cosines between task vectors",
            "cosine",
            names,
            names,
            found.whole,
            centre=0.0,
            digits=3,
            note="⟨Δᵢ, Δⱼ⟩ / (‖Δᵢ‖ ‖Δⱼ‖), Δᵢ = θᵢ − θ₀. Near 0: the experts move in directions of their own.",
        )
    }
    if pairs:
        tables["layers"] = Table.of(
            "cosines by layer",
            "cosine",
            list(found.layers),
            [f"{names[i]} · {names[j]}" for i, j in pairs],
            [[matrix[i, j] for i, j in pairs] for matrix in found.layers.values()],
            row_axis="layer",
            centre=0.0,
            low=-1.0,
            high=1.0,
            note="The same within each layer. A layer with few weights has large cosines by chance.",
        )
    others = off_diagonal(found.whole)
    metrics = {"cosine/mean": found.mean}
    if others.size:
        metrics |= {"cosine/smallest": float(others.min()), "cosine/largest": float(others.max())}
    return Findings(tables, metrics)


def show_norms(subject: Subject) -> Findings:
    """Norms relative to the base, by layer."""
    found = geometry.task_vector_norms(subject.base, subject.experts)
    relative = found.relative_layers
    tables = {
        "norms": Table.of(
            "norms of task vectors",
            "‖Δ‖ / ‖θ₀‖",
            [*relative, "whole model"],
            found.names,
            [*relative.values(), found.relative],
            row_axis="layer",
            low=0.0,
            digits=3,
            note="How far fine-tuning moved each layer, relative to the norm of the base's weights in it.",
        )
    }
    metrics = {f"relative_norm/{n}": float(v) for n, v in zip(found.names, found.relative, strict=True)}
    return Findings(tables, {**metrics, "relative_norm/mean": float(found.relative.mean())})


def show_signs(subject: Subject) -> Findings:
    """Sign conflict by layer, and of pairs of experts."""
    found = signs.sign_conflict(subject.base, subject.experts)
    parts = {**found.layers, "whole model": found.whole}
    tables = {
        "conflict": Table.of(
            "sign conflict by layer",
            "share",
            list(parts),
            ("in conflict", "weighted", "cancelled"),
            [[part.share, part.weighted, part.cancelled] for part in parts.values()],
            row_axis="layer",
            low=0.0,
            high=1.0,
            digits=3,
            note="in conflict: of the entries that two or more experts move, those that are moved both up and down "
            f"(random signs: {found.chance:.3f}); weighted: the same, an entry counting Σ|Δᵢ|; cancelled: "
            "1 − Σ|ΣΔᵢ| / ΣΣ|Δᵢ|, what is lost when the task vectors are added up.",
        ),
        "pairs": Table.of(
            "sign conflict of pairs",
            "share of opposite signs",
            found.names,
            found.names,
            found.pairs,
            centre=0.5 if len(found.names) > 1 else None,
            digits=3,
            note="Of the entries that both experts move, the share they move in opposite directions; random signs: ½.",
        ),
    }
    whole = found.whole
    metrics = {
        "sign_conflict/share": whole.share,
        "sign_conflict/weighted": whole.weighted,
        "sign_conflict/cancelled": whole.cancelled,
    }
    return Findings(tables, metrics)


def show_spectra(subject: Subject) -> Findings:
    """The mean spectrum of each expert, effective and stable ranks of every matrix."""
    found = spectra.singular_spectra(subject.base, subject.experts, progress=subject.progress)
    at, profile = found.profile()
    effective, stable = found.effective_ranks(), found.stable_ranks()
    shares = {name: ranks / min(found.shapes[name]) for name, ranks in effective.items()}
    tables = {
        "spectrum": Table.of(
            "singular values of task vectors",
            "σ / σ₁, mean over matrices",
            found.names,
            at.tolist(),
            profile,
            column_axis="position in the spectrum: 0 the largest singular value, 1 the smallest",
            view="lines",
            low=0.0,
            high=1.0,
            note="The slower a line falls, the more directions fine-tuning used.",
        ),
        "effective_rank": Table.of(
            "effective rank of task vectors",
            "effective rank / full rank",
            [f"{name}  {m}×{n}" for name, (m, n) in found.shapes.items()],
            found.names,
            list(shares.values()),
            row_axis="matrix",
            low=0.0,
            high=1.0,
            note="exp of the entropy of σ / Σσ (Roy and Vetterli 2007); 1 where all singular values are equal.",
        ),
        "stable_rank": Table.of(
            "stable rank of task vectors",
            "stable rank",
            [f"{name}  {m}×{n}" for name, (m, n) in found.shapes.items()],
            found.names,
            list(stable.values()),
            row_axis="matrix",
            low=0.0,
            digits=1,
            note="‖Δ‖F² / ‖Δ‖₂²: how many directions as strong as the strongest hold the energy.",
        ),
    }
    means = subspaces.mean_over(shares)
    metrics = {f"effective_rank/{name}": float(value) for name, value in zip(found.names, means, strict=True)}
    metrics |= {
        "effective_rank/mean": float(means.mean()),
        "stable_rank/mean": float(subspaces.mean_over(stable).mean()),
    }
    return Findings(tables, metrics)


def show_subspaces(subject: Subject) -> Findings:
    """Overlaps and alignment ratios, means over matrices."""
    overlap = subspaces.subspace_overlap(subject.base, subject.experts, progress=subject.progress)
    alignment = subspaces.subspace_alignment(subject.base, subject.experts, progress=subject.progress)
    names = overlap.names
    tables: dict[str, Table] = {}
    metrics: dict[str, float] = {}
    sides = (("left", overlap.left, overlap.left_chance), ("right", overlap.right, overlap.right_chance))
    for side, values, chance in sides:
        mean, by_chance = subspaces.mean_over(values), mean_pair(subspaces.mean_over(chance))
        tables[f"{side}_overlap"] = Table.of(
            f"overlap of {side} singular subspaces",
            "overlap",
            names,
            names,
            mean,
            low=0.0,
            high=1.0,
            note=f"‖UᵢᵀUⱼ‖F² / min(kᵢ, kⱼ), k directions holding {subspaces.ENERGY:.0%} of ‖Δ‖F²; random subspaces "
            f"have {by_chance:.3f}. Mean over matrices.",
        )
        metrics |= {f"overlap/{side}": mean_pair(mean), f"overlap/{side}_chance": by_chance}
    pairs, merged = subspaces.mean_over(alignment.pairs), subspaces.mean_over(alignment.merged)
    expected = float(subspaces.mean_over(alignment.merged_chance).mean())
    tables["alignment"] = Table.of(
        "subspace alignment ratio",
        "share of the norm kept",
        names,
        (*names, "sum of all"),
        np.column_stack([pairs, merged]),
        row_axis="task vector",
        column_axis="projected on the subspace of",
        low=0.0,
        high=1.0,
        note=f"‖U UᵀΔ‖F / ‖Δ‖F, U leaving out {subspaces.EPSILON:.0%} of the norm (Marczak et al. 2025); a random "
        f"subspace of the sum's dimension keeps {expected:.3f}. Mean over matrices.",
    )
    metrics |= {"alignment/mean": float(merged.mean()), "alignment/chance": expected}
    return Findings(tables, metrics, {"energy": subspaces.ENERGY, "epsilon": subspaces.EPSILON})


def show_kinship(subject: Subject) -> Findings:
    """Distances among the pool's models and to a stranger; each model as the common ancestor."""
    pool = subject.pool
    models = subject.experts | ({MULTITASK: pool.state_dict(MULTITASK)} if pool.has_multitask else {})
    stranger = "stranger"
    candidates = {BASE: subject.base, **models, stranger: ancestry.shuffled(subject.base)}
    found = ancestry.kinship(models, candidates)
    tables = {
        "distance": Table.of(
            "distances between weights",
            "relative distance",
            found.models,
            found.candidates,
            found.distance,
            column_axis="distance to",
            low=0.0,
            high=ancestry.UNRELATED,
            digits=3,
            note="‖θ − b‖ / root mean square of ‖θ‖ and ‖b‖, over matrices: 0 the same, √2 ≈ 1.41 unrelated. "
            "The stranger is the base with the entries of each tensor shuffled.",
        ),
        "ancestor": Table.of(
            "who is the common ancestor",
            "cosine; distance",
            found.candidates,
            ("mean cosine", "mean distance"),
            np.column_stack([found.offset, found.distance.mean(axis=0)]),
            row_axis="candidate",
            low=0.0,
            high=ancestry.UNRELATED,
            digits=3,
            note="cosine between the ways from the candidate to two models: near 0 from their common ancestor, about ½ "
            "from one of them, 1 from a stranger; distance as in the other table.",
        ),
    }
    base = found.candidates.index(BASE)
    metrics = {f"distance/{name}": float(row[base]) for name, row in zip(found.models, found.distance, strict=True)}
    metrics |= {f"offset/{name}": float(found.offset[found.candidates.index(name)]) for name in (BASE, stranger)}
    return Findings(tables, metrics, {"stranger_seed": 0})
