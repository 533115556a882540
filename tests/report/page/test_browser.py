"""The page in a browser, as a person uses it: with the mouse, with the keyboard alone, on a phone, on paper."""

from __future__ import annotations

import pytest

from fusion_bench.report.page import write_report
from tests.report.page.made_runs import TASKS, made_run
from tests.report.page.test_pictures import Task


def _names(tab, column=0):
    return tab.eval_on_selector_all(
        "#b0 table.leaderboard tbody tr:not([hidden])",
        f"rows => rows.map(row => row.cells[{column}].textContent.trim())",
    )


def _drawn(tab, panel):
    """Wait until a panel's chart is drawn, as it comes into sight."""
    tab.locator(f"#b0-{panel}").scroll_into_view_if_needed()
    tab.wait_for_selector(f"#b0-{panel} .plot svg.main-svg")
    return tab.locator(f"#b0-{panel}")


def test_a_click_on_a_heading_sorts_and_another_turns_it_round(opened, page_path):
    tab = opened(page_path)
    heading = tab.locator("#b0 table.leaderboard th", has_text="fusion, s")
    assert _names(tab)[0] == "experts"
    heading.locator("button").click()
    seconds = [float(text) for text in _names(tab, 10)]
    assert seconds == sorted(seconds)
    assert heading.get_attribute("aria-sort") == "ascending"
    assert (
        tab.locator(
            "#b0 table.leaderboard th[aria-sort=ascending], #b0 table.leaderboard th[aria-sort=descending]"
        ).count()
        == 1
    )
    heading.locator("button").click()
    assert [float(text) for text in _names(tab, 10)] == sorted(seconds, reverse=True)
    tab.locator("#b0 table.leaderboard th", has_text="rank").first.locator("button").click()
    assert _names(tab, 1)[:3] == ["1", "2", "3"]
    assert _names(tab, 1)[-1] == "bound"  # rows without a value stay last
    tab.locator("#b0 table.leaderboard th", has_text="rank").first.locator("button").click()
    assert _names(tab, 1)[-1] == "bound"


def test_filters_narrow_down_and_say_how_much(opened, page_path):
    tab = opened(page_path)
    everything = len(_names(tab))
    tab.fill("#b0 input[name=text]", "TIES")
    assert set(_names(tab)) == {"ties", "dare_ties", "ties[scaling=0.1]", "ties[scaling=0.3]", "ties[scaling=1.0]"}
    assert tab.locator("#b0-leaderboard [role=status]").text_content() == f"5 of {everything} rows shown."
    tab.fill("#b0 input[name=text]", "")
    tab.select_option("#b0 select[name=kind]", "reference")
    assert set(_names(tab)) == {"experts", "pretrained"}
    tab.select_option("#b0 select[name=kind]", "")
    tab.select_option("#b0 select[name=access]", "weights, labels (validation)")
    assert "iso_c" in _names(tab)
    assert "ties" not in _names(tab)
    tab.click("#b0 form.filter button[type=reset]")
    from playwright.sync_api import expect

    # by a locator: the page's policy lets no text be run as a script, not even ours
    expect(tab.locator("#b0 table.leaderboard tbody tr:not([hidden])")).to_have_count(everything)


def test_two_ticks_compare_and_a_third_replaces_the_first(opened, page_path, runs):
    tab = opened(page_path)
    for name in ("slerp", "iso_c"):
        tab.get_by_label(name, exact=True).check()
    status = tab.locator("#b0-leaderboard [role=status]")
    assert "is" in status.text_content()
    assert "points better than" in status.text_content()
    assert tab.eval_on_selector_all("#b0-compare select option:checked", "all => all.map(one => one.textContent)")[
        :2
    ] == ["slerp", "iso_c"]
    status.locator("a").click()
    rows = tab.locator("#b0-compare table.differences tbody tr")
    assert [row.split("\n")[0].split("\t")[0] for row in rows.all_inner_texts()] == [*TASKS, "mean"]
    newest = {run.label: run for run in runs}
    slerp, iso = (newest[name].outcomes()["mnist"] for name in ("slerp", "iso_c"))
    cells = rows.first.locator("td").all_inner_texts()
    assert [int(cells[-3]), int(cells[-2])] == [int((slerp & ~iso).sum()), int((iso & ~slerp).sum())]
    assert cells[0] == f"{100 * slerp.mean():.1f}"
    tab.get_by_label("dare_ties", exact=True).check()
    assert not tab.get_by_label("slerp", exact=True).is_checked()
    assert tab.eval_on_selector_all("#b0-compare select option:checked", "all => all.map(one => one.textContent)")[
        :2
    ] == ["iso_c", "dare_ties"]
    tab.get_by_role("button", name="Swap").click()
    assert "A is dare_ties, B is iso_c" in tab.locator("#b0-compare caption").text_content()
    tab.select_option("#b0-a", label="iso_c")
    assert tab.locator("#b0-compare .finding").text_content().startswith("A and B are the same run.")


def test_examples_are_those_on_which_exactly_one_is_right(opened, page_path, runs):
    tab = opened(page_path)
    tab.select_option("#b0-a", label="ties")
    tab.select_option("#b0-b", label="iso_c")
    newest = {run.label: run for run in runs}
    ties, iso = (newest[name].said for name in ("ties", "iso_c"))
    total = sum(int((ties[task].correct != iso[task].correct).sum()) for task in TASKS)
    assert f"Exactly one of the two is right on {total} examples" in tab.locator("#b0-compare .examples").text_content()
    cards = tab.locator("#b0-compare .gallery li")
    assert cards.count() == 24
    tab.get_by_role("button", name="Show more").click()
    assert cards.count() == 48
    tab.select_option("#b0-task", "letters")
    tab.select_option("#b0-side", "b")
    for card in cards.all():
        task, index = card.locator("small").inner_text().split()
        index = int(index)
        assert task == "letters"
        assert iso[task].correct[index]
        assert not ties[task].correct[index]
        classes = Task.classes
        assert card.locator("strong").inner_text() == classes[ties[task].label[index]]
        assert classes[ties[task].prediction[index]] in card.locator(".wrong").inner_text()
        picture = card.locator("img")
        assert picture.evaluate("image => image.naturalWidth") == 32


def test_charts_are_drawn_and_each_has_its_numbers_as_a_table(opened, page_path):
    tab = opened(page_path)
    for panel in ("tradeoff", "radar", "history", "sweeps", "analysis"):
        part = _drawn(tab, panel)
        assert part.locator(".plot").first.get_attribute("aria-label")
        part.locator(".chart .as-table summary").first.click()
        assert part.locator(".as-table tbody tr").count() > 2
    assert tab.locator("#b0-tradeoff .finding").text_content().startswith("No other method is both cheaper and better")
    table = tab.locator("#b0-tradeoff .as-table tbody")
    before = table.text_content()
    tab.select_option("#b0-cost", "memory")
    assert table.text_content() != before
    tab.select_option("#b0-radar-2", label="slerp")
    assert "slerp" in tab.locator("#b0-radar .plot").get_attribute("aria-label")
    assert tab.locator("#b0-case option:checked").text_content() == "iso_c (7)"
    assert tab.locator("#b0-history .as-table tbody tr", has_text="change −").count() == 1
    cell = tab.locator("#b0-analysis .matrix td.cell").first
    assert cell.evaluate("cell => cell.style.backgroundColor")


def test_the_table_of_tasks_changes_what_it_shows(opened, page_path):
    tab = opened(page_path)
    cell = tab.locator("#b0 table.heat:not(.matrix) tbody tr", has_text="pretrained").locator("td.cell").first
    assert float(cell.text_content()) > 10
    assert cell.evaluate("cell => cell.style.backgroundColor")
    tab.select_option("#b0-heat-mode", "gain")
    assert cell.text_content() == "0.0"
    tab.select_option("#b0-heat-mode", "share")
    assert 10 < float(cell.text_content()) < 90


def test_dark_and_light_by_the_system_and_by_hand(opened, page_path):
    dark = opened(page_path, color_scheme="dark")
    light = opened(page_path, color_scheme="light")
    background = "() => getComputedStyle(document.body).backgroundColor"
    assert dark.evaluate(background) != light.evaluate(background) == "rgb(255, 255, 255)"
    _drawn(light, "radar")
    colour = "() => document.querySelector('#b0-radar .plot .legendtext').style.fill"
    before = light.evaluate(colour)
    light.click("#theme")
    assert light.evaluate(background) == dark.evaluate(background)
    assert light.evaluate(colour) != before
    assert light.get_attribute("#theme", "aria-pressed") == "true"
    light.reload()
    light.wait_for_selector("html[data-ready=yes]")
    assert light.evaluate(background) == dark.evaluate(background)  # remembered
    light.click("#theme")
    assert light.evaluate(background) == "rgb(255, 255, 255)"


def _tab_to(tab, selector, limit=80):
    for _ in range(limit):
        tab.keyboard.press("Tab")
        if tab.evaluate(f"() => document.activeElement.matches({selector!r})"):
            return
    raise AssertionError(f"Tab never came to {selector}")


def test_the_keyboard_alone_is_enough(opened, page_path):
    tab = opened(page_path)
    tab.keyboard.press("Tab")
    assert tab.evaluate("() => document.activeElement.className") == "skip"
    assert tab.evaluate("() => document.activeElement.getBoundingClientRect().left >= 0")  # seen when it has the focus
    tab.keyboard.press("Enter")
    assert tab.evaluate("() => document.activeElement.id") == "main"
    _tab_to(tab, "input[name=text]")
    assert tab.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.keyboard.type("dare")
    assert _names(tab) == ["dare_ties"]
    tab.keyboard.press("Control+A")
    tab.keyboard.press("Delete")
    _tab_to(tab, "#b0 table.leaderboard th button.sort")
    tab.keyboard.press("Enter")
    assert _names(tab) == sorted(_names(tab), key=str)
    assert tab.evaluate("() => document.activeElement.closest('th').getAttribute('aria-sort')") == "ascending"
    for _ in range(2):
        _tab_to(tab, "#b0 table.leaderboard input[type=checkbox]")
        tab.keyboard.press("Space")
    assert "See the comparison" in tab.locator("#b0-leaderboard [role=status]").text_content()
    _tab_to(tab, "#b0-compare .scroll")
    assert tab.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"


@pytest.mark.parametrize("width", [390, 320])
def test_a_phone_scrolls_boxes_and_never_the_page(opened, page_path, width):
    tab = opened(page_path, viewport={"width": width, "height": 800})
    for panel in ("compare", "heat", "tradeoff", "radar", "history", "sweeps", "analysis"):
        tab.locator(f"#b0-{panel}").scroll_into_view_if_needed()
        tab.wait_for_timeout(100)
    _drawn(tab, "analysis")
    assert tab.evaluate("() => document.documentElement.scrollWidth") <= width
    box = tab.locator("#b0-leaderboard .scroll")
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    box.evaluate("box => { box.scrollLeft = 400; }")
    name = tab.locator("#b0 table.leaderboard tbody th").first
    assert name.bounding_box()["x"] >= 0  # the name stays in sight


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_many_other_measures_scroll_beside_the_names(opened, world, tmp_path, scheme):
    runs = [made_run(f"method_number_{i}", world.predictions(0.5 + 0.1 * i)) for i in range(3)]
    for run in runs:
        run.result["metrics"] |= {
            f"{name}/{task}": 0.5 for task in TASKS for name in ("rmse", "acc_norm", "acc_stderr")
        }
    write_report(runs, [], tmp_path / "measures.html")
    tab = opened(tmp_path / "measures.html", "b0-measures", viewport={"width": 390, "height": 800}, color_scheme=scheme)
    box = tab.locator("#b0-measures .scroll")
    assert tab.evaluate("() => document.documentElement.scrollWidth") <= 390
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    box.evaluate("box => { box.scrollLeft = 400; }")
    for name in tab.locator("#b0-measures tbody th").all():
        assert name.bounding_box()["x"] >= 0
        assert name.bounding_box()["height"] < 80  # and is no column of letters
    cell = tab.locator("#b0-measures tbody td").first
    assert (cell.text_content(), cell.evaluate("cell => getComputedStyle(cell).textAlign")) == ("0.5000", "right")


def test_boards_of_other_examples_are_one_click_away_and_say_so(opened, page_path):
    tab = opened(page_path)
    assert "2 different sets of examples" in tab.locator("#b0 .warning").text_content()
    assert not tab.locator("#b1").is_visible()
    tab.locator("nav.boards a").nth(1).click()
    assert tab.locator("#b1").is_visible()
    assert not tab.locator("#b0").is_visible()
    assert "Fewer than two of these runs" in tab.locator("#b1-compare").text_content()
    assert tab.locator("nav.boards a[aria-current=page]").count() == 1
    tab.go_back()
    assert tab.locator("#b0").is_visible()


def test_an_address_leads_to_its_part(opened, page_path):
    tab = opened(page_path, "b0-history")  # not by a reload, for which a browser keeps the place it was at
    tab.wait_for_selector("#b0-history .plot svg.main-svg")
    assert abs(tab.locator("#b0-history").bounding_box()["y"]) < 400


def test_paper_is_white_and_has_every_chart(opened, page_path, tmp_path):
    tab = opened(page_path, color_scheme="dark")
    tab.pdf(path=tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").stat().st_size > 50_000
    assert tab.locator("#b0 .chart:not(details .chart) .plot svg.main-svg").count() >= 4
    tab.emulate_media(media="print")
    assert not tab.locator("nav.panels").first.is_visible()
    assert not tab.locator("#theme").is_visible()
    assert tab.locator("#b0 table.leaderboard").is_visible()


def test_the_tables_read_without_a_script(browser, page_path):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page_path.as_uri())
    assert tab.locator("table.leaderboard").count() == 2
    assert tab.locator("#b1").is_visible()
    assert "need JavaScript" in tab.locator("#b0-tradeoff").text_content().replace("needs", "need")
    context.close()


def test_seeds_are_one_row_that_opens(opened, world, tmp_path):
    runs = [made_run("dare", world.predictions(0.6, noise=seed), seed=seed) for seed in range(3)]
    write_report([*runs, made_run("ties", world.predictions(0.8))], [], tmp_path / "seeds.html")
    tab = opened(tmp_path / "seeds.html")
    rows = tab.locator("#b0 table.leaderboard tbody tr")
    assert rows.count() == 2
    assert not tab.get_by_label("dare[seed=1]", exact=True).is_visible()
    tab.locator("details.seeds summary").click()
    tab.get_by_label("dare[seed=1]", exact=True).check()
    tab.get_by_label("dare[seed=2]", exact=True).check()
    assert "A is dare[seed=1], B is dare[seed=2]" in tab.locator("#b0-compare caption").text_content()
    tab.get_by_label("dare", exact=True).check()
    tab.get_by_label("ties", exact=True).check()
    assert "A is dare, B is ties" in tab.locator("#b0-compare caption").text_content()
    assert "seeds (3 of A, 1 of B) and examples both as a sample" in tab.locator("#b0-compare").text_content()
    assert "null" not in tab.locator("#b0-compare").text_content()
