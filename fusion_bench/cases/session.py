"""What the cases of one process share: loaded pools, bound tasks, logits of the pool's own models, the store."""

from __future__ import annotations

import json
import os
import uuid
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from fusion_bench import registry
from fusion_bench.cases.case import Case
from fusion_bench.cases.compose import CONFIG_NAME, compose_case
from fusion_bench.cases.fingerprint import code_hash
from fusion_bench.cases.provenance import provenance
from fusion_bench.cases.startup import start_up
from fusion_bench.cases.storage import announcement, model_bytes
from fusion_bench.metrics.below_base import below_base
from fusion_bench.metrics.predictions import Predictions
from fusion_bench.modelpools.base import ModelPool
from fusion_bench.modelpools.view import restricted
from fusion_bench.progress import Progress, silent
from fusion_bench.taskpools.base import TaskAdapter, TaskPool
from fusion_bench.taskpools.evaluate import LogitCache, evaluate
from fusion_bench.taskpools.steps import Steps, Wish

if TYPE_CHECKING:
    from fusion_bench.tracking.store import Store


class Bound:
    """A model pool with a task pool bound to it, and the logits of the pool's own models.

    Of the model pool only what the task pool's protocol lets a case read: the experts of its main trial.

    Args:
        steps: how batches of these pools are run.
    """

    def __init__(self, modelpool: ModelPool, taskpool: TaskPool, steps: Steps) -> None:
        self.steps = steps
        self.trials = taskpool.trials(modelpool.expert_names)
        self.modelpool, self.taskpool = restricted(modelpool, self.trials[0].experts), taskpool
        self.adapters: dict[str, TaskAdapter] = dict(taskpool.bind(self.modelpool))
        self.cache = LogitCache(self.modelpool.owns)

    def size(self) -> int:
        """Bytes of tensors held."""
        return self.modelpool.bytes_held() + self.cache.bytes_held()


class Session:
    """Opened once a process; a context manager.

    Args:
        config_dir: the user's folder of YAML.
        plugins: the user's modules.
        tracking_uri: of the store; None for the default; ``""`` to track nothing.
        config_name: the root configuration.
        save_models: "none", "best" (of this session, per experiment) or "all"; None keeps the models of small pools.
        resume: reuse finished runs with the same fingerprint.
        precision: that models are evaluated in, see `Steps`: "auto", "float32" or "bfloat16".
        memory: bytes of models and logits kept between cases; the least recently used pool goes first. Default: a
            quarter of the machine's memory.
        name: tag of all runs of this session.
    """

    def __init__(
        self,
        *,
        config_dir: Path | None = None,
        config_name: str = CONFIG_NAME,
        plugins: Sequence[str] = (),
        tracking_uri: str | None = None,
        save_models: str | None = None,
        resume: bool = False,
        precision: Wish = "auto",
        memory: int | None = None,
        name: str | None = None,
        source: str = "fusion_bench",
    ) -> None:
        import psutil

        self.config_dir, self.config_name, self.plugins = config_dir, config_name, tuple(plugins)
        self.save_models, self.resume, self.source = save_models, resume, source
        self.name = name or os.environ.get("FUSION_BENCH_SESSION") or uuid.uuid4().hex[:12]
        self.code = code_hash()
        self.provenance = provenance()
        self._memory = memory if memory is not None else psutil.virtual_memory().total // 4
        self._precision = Steps(precision).wish
        self._steps: dict[str, Steps] = {}
        self._warned: set[tuple[str, str]] = set()
        self._bound: OrderedDict[str, Bound] = OrderedDict()
        self._configs: dict[Case, dict[str, Any]] = {}
        self._uri = tracking_uri
        self._store: Store | None = None

    @property
    def store(self) -> Store | None:
        """The tracking store, opened at first use."""
        if self._store is None and self._uri != "":
            from fusion_bench.tracking import Store, locate_store

            location = locate_store(self._uri)
            start_up(location)
            self._store = Store(location)
        return self._store

    def config(self, case: Case) -> dict[str, Any]:
        """The composed configuration of a case."""
        if case not in self._configs:
            self._configs[case] = compose_case(case, config_dir=self.config_dir, config_name=self.config_name)
        return self._configs[case]

    def bound(self, case: Case) -> Bound:
        """The case's pools, loaded once and kept under the memory bound."""
        config = self.config(case)
        key = json.dumps([case.modelpool, case.taskpool, config["modelpool"], config["taskpool"]], sort_keys=True)
        if key not in self._bound:
            modelpool = self._build("modelpool", config, case.modelpool)
            taskpool = self._build("taskpool", config, case.taskpool)
            steps = self._steps.setdefault(key, Steps(self._precision))  # what fits is known after the pools are gone
            self._bound[key] = Bound(modelpool, taskpool, steps)
        self._bound.move_to_end(key)
        self._make_room()
        return self._bound[key]

    def _build(self, group: str, config: dict[str, Any], name: str) -> Any:
        path = registry.config_path(group, name, config_dir=self.config_dir)
        where = f"{group} {name!r} ({path})"
        return registry.build(group, {"name": name, **config[group]}, plugins=self.plugins, where=where)

    def _make_room(self) -> None:
        while len(self._bound) > 1 and sum(bound.size() for bound in self._bound.values()) > self._memory:
            self._bound.popitem(last=False)

    def modelpool(self, case: Case) -> ModelPool:
        """The case's model pool."""
        return self.bound(case).modelpool

    def taskpool(self, case: Case) -> TaskPool:
        """The case's task pool."""
        return self.bound(case).taskpool

    def announcements(self, cases: Sequence[Case]) -> list[str]:
        """How many models of what size will be kept, a line for each model pool; none unless they were asked for."""
        pools: dict[tuple[str, str], list[Case]] = {}
        for case in cases:
            pools.setdefault((case.modelpool, case.taskpool), []).append(case)
        sizes = {key: model_bytes(self.modelpool(group[0])) for key, group in pools.items()}
        lines = {key: announcement(self.save_models, sizes[key], group) for key, group in pools.items()}
        return [f"{'/'.join(key)}: {line}" for key, line in lines.items() if line is not None]

    def references(
        self, case: Case, progress: Progress = silent
    ) -> tuple[dict[str, Predictions], dict[str, Predictions]]:
        """What base and experts (each on its own tasks) predict on the test split; their logits are kept.

        Tasks without an expert are left out of the second.
        """
        bound = self.bound(case)
        pool = bound.modelpool
        own = {task: one.expert for task, one in bound.adapters.items() if one.expert in pool.expert_names}
        shared: dict[str, Any] = {"progress": progress, "cache": bound.cache, "device": case.device}
        low = evaluate(pool.lent("base"), bound.adapters, **shared, steps=bound.steps)
        found: dict[str, Predictions] = {}
        for name in dict.fromkeys(own.values()):  # one after the other, so that no two experts are in memory for it
            tasks = [task for task in own if own[task] == name]
            found |= evaluate(pool.lent(name), bound.adapters, tasks=tasks, **shared, steps=bound.steps)
        high = {task: found[task] for task in own}
        for message in below_base(low, high, names=own):
            if (case.experiment, message) not in self._warned:  # once a session, not once a case
                self._warned.add((case.experiment, message))
                warnings.warn(f"{case.experiment}: {message}", stacklevel=2)
        return low, high

    def close(self) -> None:
        """Let go of everything."""
        self._bound.clear()
        self._store = None

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
