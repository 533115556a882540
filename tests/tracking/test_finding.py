"""From what a person types to runs, where a method ran with several seeds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.tracking import Store, locate_store
from fusion_bench.tracking.finding import find, find_seeds, with_seeds
from fusion_bench.tracking.records import Record, read_records
from tests.helpers.results import make_result
from tests.helpers.stored_runs import store_run


@pytest.fixture(scope="module")
def records(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Oldest first: a seed at other code, seeds 0 to 2, seed 1 again, methods without chance, one on other pools."""
    folder = tmp_path_factory.mktemp("found")
    shutil.copy(empty_database, folder / "mlflow.db")
    store = Store(locate_store(f"sqlite:///{folder}/mlflow.db"))
    results = [make_result(label="dare", seed=seed) for seed in (7, 0, 1, 2, 1)]
    results[0]["seedless"] = "other code"
    results += [make_result(), make_result(label="slerp")]
    moved = make_result(label="slerp")
    moved["case"] |= {"modelpool": "q", "id": "slerp-q-t"}
    for number, result in enumerate([*results, moved]):
        store_run(store, result, folder / str(number), session=f"s{number}")
    return read_records(store.location)[0]


def labels(records: list[Record]) -> list[tuple[str, str]]:
    return [(record.label, record.session) for record in records]


@pytest.mark.parametrize("text", ["dare", "p/t/dare", "dare-p-t"])
def test_a_method_with_seeds_means_the_newest_run_of_each(records: list[Record], text: str) -> None:
    assert labels(find_seeds(text, records)) == [("dare[seed=0]", "s1"), ("dare[seed=1]", "s4"), ("dare[seed=2]", "s3")]


@pytest.mark.parametrize("text", ["ties", "dare[seed=1]", "dare@1", "nobody", "session:s1"])
def test_what_names_one_run_or_none_is_no_method_with_seeds(records: list[Record], text: str) -> None:
    assert find_seeds(text, records) == []


def test_one_seed_is_found_by_name_by_id_and_one_back(records: list[Record]) -> None:
    location = locate_store("sqlite:///unused.db")
    (newest,) = find("dare[seed=1]", location, records)
    (before,) = find("dare[seed=1]@1", location, records)
    assert labels([newest, before]) == [("dare[seed=1]", "s4"), ("dare[seed=1]", "s2")]
    assert find(newest.run_id[:8], location, records) == [newest]


def test_seeds_on_several_pools_must_be_told_apart(records: list[Record]) -> None:
    elsewhere = [Record(**{**vars(r), "experiment": "q/t"}) for r in records if r.method == "dare"]
    with pytest.raises(FusionBenchError, match="several pools: p/t, q/t"):
        find_seeds("dare", [*records, *elsewhere])
    assert len(find_seeds("q/t/dare", [*records, *elsewhere])) == 3


def test_seeds_together_and_everything_else_alone(records: list[Record]) -> None:
    found = {(family.name, family.members[0].experiment): len(family.members) for family in with_seeds(records)}
    one = dict.fromkeys([("dare[seed=7]", "p/t"), ("ties", "p/t"), ("slerp", "p/t"), ("slerp", "q/t")], 1)
    assert found == {("dare", "p/t"): 3, **one}
    assert with_seeds(records)[0].members[0].experiment == "q/t"  # the newest first
