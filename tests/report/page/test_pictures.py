from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from fusion_bench.errors import FusionBenchError
from fusion_bench.report.page.examples import examples_of
from fusion_bench.report.page.groups import grouped
from fusion_bench.report.page.outcomes import detailed, read_outcomes
from fusion_bench.report.page.pictures import LARGEST_SIDE, Pictures, thumbnail
from tests.report.page.made_runs import TASKS, made_run


class Task:
    """Pictures whose brightness says their number."""

    classes = tuple("abcdefghij")

    def __init__(self, digest, size=(32, 32), mode="L"):
        self._digest, self._size, self._mode = digest, size, mode

    def data_hash(self, split):
        assert split == "test"
        return self._digest

    def picture(self, split, index):
        return Image.new("L", self._size, index % 256).convert(self._mode)


@pytest.fixture
def group_and_outcomes(world):
    runs = [made_run(name, world.predictions(skill)) for name, skill in (("a", 0.5), ("b", 0.6), ("c", 0.7))]
    (group,), _ = grouped(runs)
    return group, read_outcomes(group, detailed(group))[0]


def _pool(group, **options):
    return lambda modelpool, taskpool: {task: Task(group.data[task] + "rest", **options) for task in TASKS}


def _brightness(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))).flat[0]


def test_examples_carry_their_own_picture_label_and_predictions(group_and_outcomes):
    group, outcomes = group_and_outcomes
    found, notes = examples_of(group, outcomes, Pictures(_pool(group)), room=100_000)
    assert not notes
    for task in TASKS:
        shown = found[task]
        assert len(shown["index"]) == len(shown["pictures"]) > 10
        assert [_brightness(shot) for shot in shown["pictures"]] == [index % 256 for index in shown["index"]]
        assert shown["classes"] == list("abcdefghij")
        for run in group.newest.values():
            said = np.frombuffer(base64.b64decode(shown["said"][run.run_id]), "<u2")
            np.testing.assert_array_equal(said, run.said[task].prediction[shown["index"]])
            np.testing.assert_array_equal(run.said[task].label[shown["index"]], shown["label"])


@pytest.mark.parametrize("room", [3_000, 20_000, 60_000])
def test_examples_keep_to_their_room(group_and_outcomes, room):
    group, outcomes = group_and_outcomes
    found, _ = examples_of(group, outcomes, Pictures(_pool(group)), room=room)
    carried = sum(len(shot) for task in found.values() for shot in task["pictures"])
    carried += sum(len(said) for task in found.values() for said in task["said"].values())
    assert carried <= room
    assert any(task["pictures"] for task in found.values())


def test_data_that_changed_since_are_not_shown_as_if_they_were_the_same(group_and_outcomes):
    group, outcomes = group_and_outcomes
    changed = Pictures(lambda *pools: {task: Task("another") for task in TASKS})
    found, notes = examples_of(group, outcomes, changed, room=100_000)
    assert all(task["pictures"] is None and task["classes"] is None for task in found.values())
    assert any("are not those of the runs" in note for note in notes)


def test_a_pool_that_is_not_here_costs_the_pictures_and_nothing_else(group_and_outcomes):
    group, outcomes = group_and_outcomes
    asked = []

    def load(modelpool, taskpool):
        asked.append((modelpool, taskpool))
        raise FusionBenchError("no such pool")

    found, notes = examples_of(group, outcomes, Pictures(load), room=100_000)
    assert all(len(task["index"]) > 10 for task in found.values())
    assert notes == ["made/up4: examples are shown without pictures: no such pool"]
    assert asked == [("made", "up4")]


def test_a_task_without_pictures_costs_its_own_only(group_and_outcomes):
    group, outcomes = group_and_outcomes

    class Text(Task):
        def picture(self, split, index):
            raise FusionBenchError("examples of 'mnist' cannot be shown")

    def load(*pools):
        return {task: (Text if task == "mnist" else Task)(group.data[task]) for task in TASKS}

    found, notes = examples_of(group, outcomes, Pictures(load), room=100_000)
    assert [task for task in TASKS if found[task]["pictures"] is None] == ["mnist"]
    assert len(notes) == 1


def test_one_run_has_nothing_to_differ_from(world):
    (group,), _ = grouped([made_run("a", world.predictions(0.5))])
    outcomes, _ = read_outcomes(group, detailed(group))
    assert examples_of(group, outcomes, Pictures(), room=1000) == (None, [])


@pytest.mark.parametrize(("size", "mode"), [((300, 200), "RGB"), ((32, 32), "RGBA"), ((500, 20), "P"), ((8, 8), "L")])
def test_thumbnails_are_small_and_of_the_same_shape(size, mode):
    picture = Image.open(io.BytesIO(thumbnail(Task("d", size, mode), 7)))
    assert picture.format == "PNG"
    assert max(picture.size) <= min(LARGEST_SIDE, max(size))
    assert picture.width / picture.height == pytest.approx(size[0] / size[1], rel=0.25)
    assert picture.mode in ("L", "RGB")
