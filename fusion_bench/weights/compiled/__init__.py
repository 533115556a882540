"""Loops that numba compiles: over the entries of all models at once, and without Python's lock.

The first call for a type of entries compiles, which takes a second or two; the result is kept on disk. That cache knows
a function to be out of date by the file that it is in, not by what it calls in others, so a file of loops says in
``BUILT_ON`` what it was last compiled together with, and a test keeps that true.
"""

from fusion_bench.weights.compiled.elections import elect
from fusion_bench.weights.compiled.rounding import narrowed, stepped
from fusion_bench.weights.compiled.sums import add_up, magnitude_sums, pair_sums, vector
from fusion_bench.weights.compiled.surveys import survey
from fusion_bench.weights.compiled.terms import Terms

__all__ = ["Terms", "add_up", "elect", "magnitude_sums", "narrowed", "pair_sums", "stepped", "survey", "vector"]
