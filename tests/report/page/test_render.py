from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import datetime, timezone
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_bench.report.page import assets, build_payload
from fusion_bench.report.page.panels.analysis import analysis_panels
from fusion_bench.report.page.render import bar, breakable, render, script_json, with_examples
from tests.report.page.made_runs import World, made_run

BITING = ("<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "\"quoted\" & 'co'", "合併 ünï\u2028")


class _Reader(HTMLParser):
    """What a browser makes of the file: elements, attributes, the text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
        else:
            self.words.append(data)


@pytest.fixture(scope="module")
def page(runs):
    return render(build_payload(runs, ["a note"]), source="mlruns/mlflow.db", plotly="/* plotly */")


@pytest.mark.parametrize("name", BITING)
def test_no_name_breaks_out_whatever_place_it_is_put_in(name):
    """As algorithm, task, pool, data access, override, commit, version, note, error and analysis."""
    world = World(tasks=(name, "letters"), size=20)
    runs = [
        made_run(
            label,
            world.predictions(skill),
            night=night,
            pools=(name, name),
            access=(name,),
            overrides=[f"algorithm.{name}={night}"],
            search={"best": {name: 1}, "tried": [[{name: 1}, 0.5], [{name: 2}, 0.6]]},
            versions={name: str(night)},
        )
        for night in range(2)
        for label, skill in ((name, 0.2 + 0.6 * night), ("other", 0.5))
    ]
    for run in runs:
        run.tags["commit"] = name
        run.result["groups"] = [{"metric": name, "name": name, "points": [0.5], "of": name}]
    table = {
        "title": name,
        "measure": name,
        "rows": [name],
        "columns": [name],
        "values": [[1.0]],
        "view": "matrix",
        "note": name,
    }
    case = {"analysis": name, "modelpool": name, "taskpool": name}
    extra = analysis_panels([{"case": case, "tables": {name: table}}])
    text = with_examples(
        render(build_payload(runs, [name], extra=extra), source=name, title=name, plotly="/**/"), {"b0": {"x": name}}
    )
    reader = _Reader(text)
    scripts = [attrs for tag, attrs in reader.tags if tag == "script"]
    assert [attrs.get("id") for attrs in scripts] == ["payload", "b0-examples", "plotly", None]
    assert not any(tag == "img" for tag, _ in reader.tags)
    assert not any(key.startswith("on") for _, attrs in reader.tags for key in attrs)
    boards = json.loads(reader.scripts[0])["boards"]
    assert boards[0]["tasks"][0] == name
    assert json.loads(reader.scripts[1]) == {"x": name}
    shown = "".join(reader.words)
    assert shown.count(name) > 8


def test_only_the_scripts_of_the_page_may_run_and_nothing_may_be_fetched(page):
    reader = _Reader(page)
    policy = next(
        attrs["content"] for tag, attrs in reader.tags if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    sums = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in reader.scripts]
    kinds = [attrs.get("type") for tag, attrs in reader.tags if tag == "script"]
    run = [digest for digest, kind in zip(sums, kinds, strict=True) if kind in (None, "text/plain")]
    assert allowed == set(run)
    assert "default-src 'none'" in policy
    assert "connect" not in policy
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
    targets = [attrs[key] for _, attrs in reader.tags for key in ("src", "href") if attrs.get(key)]
    assert targets
    assert all(target.startswith(("#", "data:")) for target in targets)


def test_ids_are_unique_and_every_link_and_label_has_its_target(page):
    reader = _Reader(page)
    ids = [attrs["id"] for _, attrs in reader.tags if attrs.get("id")]
    assert len(ids) == len(set(ids))
    wanted = [attrs["href"][1:] for tag, attrs in reader.tags if tag == "a" and attrs["href"].startswith("#")]
    wanted += [attrs[key] for _, attrs in reader.tags for key in ("aria-labelledby", "for") if attrs.get(key)]
    assert wanted
    assert set(wanted) <= set(ids)


def test_without_scripts_the_leaderboard_the_tasks_and_the_changes_are_there(page, runs):
    words = " ".join(_Reader(page).words)
    for text in ("iso_", "95 % interval", "letters", "torch 2.9.0 → 2.9.1", "a note", "mlruns/mlflow.db"):
        assert text in words


def test_every_table_has_a_caption_or_stands_in_a_named_region(page):
    stack = []
    for tag, attrs in _Reader(page).tags:
        if tag == "div" and attrs.get("role") == "region":
            stack.append(attrs.get("aria-label"))
        if tag == "table":
            assert stack
            assert stack[-1]


def test_a_library_that_would_end_its_script_early_is_refused(runs):
    with pytest.raises(ValueError, match="end early"):
        render(build_payload(runs[:2]), plotly="'</script>'")


def test_plotly_itself_may_stand_in_a_script():
    library = assets.plotly()
    assert "</script" not in library.lower()
    assert "<!--" not in library
    assert 1e6 < len(library) < 6e6


def test_the_day_is_the_one_given(runs):
    made = datetime(2030, 1, 2, 3, 4, tzinfo=timezone.utc)
    assert "made 2030-01-02 03:04 UTC" in render(build_payload(runs[:2]), made=made, plotly="")


@given(
    st.recursive(
        st.text() | st.integers() | st.none() | st.booleans(),
        lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    )
)
def test_json_in_scripts_comes_back_as_it_was_and_holds_no_markup(content):
    text = script_json(content)
    assert json.loads(text) == content
    assert not set("<>&\u2028\u2029") & set(text)


def test_numbers_that_are_none_are_refused_rather_than_written_as_no_json():
    with pytest.raises(ValueError, match="not JSON compliant"):
        script_json({"a": float("nan")})


@given(st.text())
def test_breaking_a_name_changes_nothing_but_where_it_may_break(name):
    shown = "".join(_Reader(f"<p>{breakable(name)}</p>").words)
    assert shown.replace("\r\n", "\n").replace("\r", "\n") == name.replace("\r\n", "\n").replace("\r", "\n")


def test_bars_lie_inside_the_board():
    for row in ({"mean": 0.2, "interval": None}, {"mean": 0.5, "interval": [0.2, 0.9]}):
        places = [float(value) for value in re.findall(r"([\d.]+)%", bar(row, {"span": [0.2, 0.9]}))]
        assert all(0 <= place <= 100 for place in places)
    assert bar({"mean": 0.5, "interval": None}, {"span": [0.5, 0.5]})
