"""The type that a case is evaluated in: asked for, recorded, and part of the fingerprint where it is not float32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fusion_bench.cases import Case, CaseResult, Session, matrix, run_case
from fusion_bench.cases.fingerprint import fingerprint, plugin_hash
from fusion_bench.cases.prepare import prepare, seeded
from fusion_bench.errors import FusionBenchError
from fusion_bench.taskpools import placement
from fusion_bench.taskpools.streaming import least_room
from fusion_bench.taskpools.zero_shot import ImageTask


@pytest.fixture(scope="module")
def case(toy_config: Path) -> Case:
    (found,) = matrix(algorithms=["slerp"], modelpools=["toy"], taskpools=["toy2"], config_dir=toy_config)
    return found


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


def run(case: Case, config: Path, uri: str, precision: str) -> tuple[CaseResult, dict[str, str], dict[str, str]]:
    with Session(config_dir=config, tracking_uri=uri, precision=precision) as session:  # type: ignore[arg-type]
        result = run_case(case, session)
        assert session.store is not None
        data = session.store.client.get_run(result.run_id).data
        return result, data.params, data.tags


def test_it_is_recorded_and_told_apart(case: Case, toy_config: Path, uri: str) -> None:
    plain, params, tags = run(case, toy_config, uri, "auto")
    assert params["precision"] == tags["precision"] == "float32"
    assert "precision" not in plain.config
    half, params, tags = run(case, toy_config, uri, "bfloat16")
    assert params["precision"] == tags["precision"] == half.config["precision"] == "bfloat16"
    assert half.fingerprint != plain.fingerprint
    assert half.metrics["loss/mean"] != plain.metrics["loss/mean"]
    assert half.metrics["loss/mean"] == pytest.approx(plain.metrics["loss/mean"], rel=0.05)


def test_how_and_in_which_type_weights_lay_is_recorded(
    case: Case, toy_config: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU that has not the memory for all weights: the same outcomes and the same fingerprint."""
    plain, params, tags = run(case, toy_config, uri, "auto")
    for found in (params, tags, plain.tags):
        assert (found["placement"], found["weights_dtype"]) == ("whole", "float32")
    least = []

    def full(device: str) -> int:
        return least[0]

    with Session(config_dir=toy_config, tracking_uri="") as session:
        least.append(least_room(session.modelpool(case).model("base")))
    monkeypatch.setattr(placement, "free_for_weights", full)
    with pytest.warns(UserWarning, match="a layer at a time, which is slow"):
        streamed, params, tags = run(case, toy_config, uri, "auto")
    assert params["placement"] == tags["placement"] == streamed.tags["placement"] == "streamed"
    assert streamed.fingerprint == plain.fingerprint
    assert streamed.outcomes == plain.outcomes
    assert streamed.metrics["loss/mean"] == plain.metrics["loss/mean"]


@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_a_case_on_the_cpu_has_the_fingerprint_that_it_always_had(case: Case, toy_config: Path, precision: str) -> None:
    with Session(config_dir=toy_config, tracking_uri="", precision=precision) as session:  # type: ignore[arg-type]
        prepared = prepare(case, session)
        config = session.config(case)
        config = {**config, "algorithm": seeded(config["algorithm"], case)}
        pools = (prepared.bound.modelpool.content_hash(), prepared.bound.taskpool.content_hash())
        assert prepared.fingerprint == fingerprint(config, *pools, session.code, plugin_hash([]), torch.__version__)


def test_another_precision_is_refused() -> None:
    with pytest.raises(FusionBenchError, match="unknown precision 'float16'"):
        Session(tracking_uri="", precision="float16")  # type: ignore[arg-type]


def test_what_fits_is_known_for_the_rest_of_the_session(
    case: Case, toy_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory for five pictures: found in the first case, known in the next, though the pools were let go between."""
    seen: list[int] = []
    whole = ImageTask.logits

    def tight(self: ImageTask, model: torch.nn.Module, batch: Tensor) -> Tensor:
        seen.append(len(batch))
        if len(batch) > 5:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return whole(self, model, batch)

    with Session(config_dir=toy_config, tracking_uri="") as plain:
        expected = run_case(case, plain)
    monkeypatch.setattr(ImageTask, "logits", tight)
    with Session(config_dir=toy_config, tracking_uri="") as session:
        found = run_case(case, session)
        assert max(seen) == 24
        seen.clear()
        session._bound.clear()
        run_case(case, session)
        assert max(seen) <= 5
    for metric in ("accuracy/mean", "loss/mean"):
        assert found.metrics[metric] == pytest.approx(expected.metrics[metric], rel=1e-5)
