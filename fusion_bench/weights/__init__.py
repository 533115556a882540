"""State dicts and checkpoint files, and the engine that merges them: tensors only, no module and no task."""

from fusion_bench.weights.files import read_state_dict, write_state_dict
from fusion_bench.weights.fitting import check_compatible
from fusion_bench.weights.memory import merge_in_memory
from fusion_bench.weights.opening import open_checkpoint
from fusion_bench.weights.state_dict import Experts, StateDict, check_finite, named_experts
from fusion_bench.weights.task_vectors import add_task_vector

__all__ = [
    "Experts",
    "StateDict",
    "add_task_vector",
    "check_compatible",
    "check_finite",
    "merge_in_memory",
    "named_experts",
    "open_checkpoint",
    "read_state_dict",
    "write_state_dict",
]
