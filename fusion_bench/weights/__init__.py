"""State dicts and checkpoint files: tensors only, no module and no task."""

from fusion_bench.weights.files import read_state_dict, write_state_dict
from fusion_bench.weights.state_dict import Experts, StateDict, check_compatible, check_finite, named_experts
from fusion_bench.weights.task_vectors import TaskVectors, add_task_vector, merge_tensors

__all__ = [
    "Experts",
    "StateDict",
    "TaskVectors",
    "add_task_vector",
    "check_compatible",
    "check_finite",
    "merge_tensors",
    "named_experts",
    "read_state_dict",
    "write_state_dict",
]
