"""The page as one file: everything inside it, nothing fetched, nothing that a name in the data could break out of."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from fusion_bench.report.page import assets
from fusion_bench.report.page.history import RULE as HISTORY_RULE
from fusion_bench.report.page.payload import Payload

_EXAMPLES = "<!-- examples -->"

#: What the footer says about the numbers.
METHOD = (
    (
        "Mean and its interval",
        "The unweighted mean of the task accuracies. The tasks are fixed, the examples are the sample: 95 % limits of "
        "Wilson's kind, stratified by task; examples that share a source (a writer, a typeface) count by source.",
    ),
    (
        "Groups and ranks",
        "All pairs of methods are compared on the same examples, Holm-corrected over the pairs. Two methods share a "
        "letter where the test does not tell them apart; the ranks given are those that the tests leave open.",
    ),
    (
        "Two runs",
        "Paired: gained and lost are the examples that only A and only B has right, d = (gained − lost) / n. With T "
        "lines in the mean, κ = c²/4T and N = n + 2κ: d′ = (gained − lost) / N, V = ((gained + lost + 2κ)/N − d′²)/N, "
        "limits: mean of d′ ± c √(ΣV) / T, c = 1.96 or Student's where sources are shared, which add to V (Bonett and "
        "Price 2012). Tests: McNemar's, exact, per task; the sign-flip test for the mean and for shared sources; all "
        "Holm-corrected together.",
    ),
    (
        "Several seeds",
        "A method that ran with several seeds, all else equal, is one row: the mean over them. Half-width of its "
        "interval and of a difference: √(t² A + c² B), A the variance from seed to seed over the number of seeds (less "
        "what sampling the examples puts into it), t Student's with one degree of freedom less than seeds, B the "
        "variance over examples of the share of seeds that are right. The p-value of a difference is that of the level "
        "at which its interval reaches zero.",
    ),
    ("History", HISTORY_RULE),
    (
        "Data access",
        "What a method may see: weights; inputs (unlabelled); labels, of the validation split where it says so; "
        "training; test inputs. A method that sees more is no rival of one that sees less.",
    ),
    (
        "What is never mixed",
        "Runs are grouped by the digests of the examples that they were evaluated on. Nothing is averaged, ranked or "
        "tested across groups.",
    ),
)


def render(
    payload: Payload,
    *,
    title: str = "fusion_bench report",
    source: str = "",
    made: datetime | None = None,
    plotly: str | None = None,
) -> str:
    """The page without its examples, which `with_examples` puts in.

    Args:
        source: which store it is of, as a reader should see it.
        made: when; now where None.
        plotly: the library's text; that of the Python package where None.
    """
    from fusion_bench import __version__

    environment = assets.environment()
    for function in (percent, signed, plain, bar, date, breakable, cell, comparable):
        environment.filters[function.__name__] = function
    markup = _markup()
    scripts, library = assets.scripts(), assets.plotly() if plotly is None else plotly
    for script in (scripts, library):
        if "</script" in script.lower() or "<!--" in script:
            raise ValueError("a script of the page would end early")  # a new Plotly, not something a user can mend
    moment = made or datetime.now(timezone.utc)
    page: str = environment.get_template("page.html.j2").render(
        title=title,
        source=source,
        made=moment.strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
        policy=markup(policy(scripts, library)),
        styles=markup(assets.styles()),
        scripts=markup(scripts),
        plotly=markup(library),
        examples=markup(_EXAMPLES),
        payload=markup(script_json(payload.content)),
        boards=payload.content["boards"],
        costs=payload.content["costs"],
        runs=sum(len(group.runs) for group in payload.groups),
        notes=list(dict.fromkeys(payload.notes)),
        method=METHOD,
    )
    return page


def with_examples(page: str, examples: Mapping[str, Any]) -> str:
    """The page with a data block for each board that has examples."""
    blocks = [
        f'<script type="application/json" id="{board}-examples">{script_json(content)}</script>'
        for board, content in examples.items()
    ]
    head, found, tail = page.rpartition(_EXAMPLES)
    return head + "\n".join(blocks) + tail if found else page


def script_json(content: Any) -> str:
    """JSON that may stand in a script element: no character of it ends the element or starts a comment.

    Example:
        >>> script_json({"name": "</script><b>"})
        '{"name":"\\\\u003c/script\\\\u003e\\\\u003cb\\\\u003e"}'
    """
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def policy(*scripts: str) -> str:
    """A content security policy under which these scripts run, no other does, and nothing is fetched."""
    sums = [base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii") for script in scripts]
    allowed = " ".join(f"'sha256-{each}'" for each in sums)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; "
        "form-action 'none'"
    )


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction in per cent.

    Example:
        >>> percent(0.7444), percent(None)
        ('74.4', '–')
    """
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f}".replace("-", "−")


def signed(value: float, digits: int = 2) -> str:
    """A difference of fractions in points, with its sign.

    Example:
        >>> signed(0.0123), signed(-0.0123)
        ('+1.23', '−1.23')
    """
    return ("+" if value > 0 else "") + percent(value, digits)


def plain(value: Any) -> str:
    """A number with three digits, a whole one with all of them; text as it is.

    Example:
        >>> plain(0.035871), plain(1730.75), plain(2160720.0), plain(None), plain("a")
        ('0.0359', '1,731', '2,160,720', '–', 'a')
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if not isinstance(value, int | float):
        return str(value)
    if float(value).is_integer() or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def breakable(name: str) -> Any:
    """A name as markup that may break after an underscore, a comma, a slash and a bracket, and not within a word.

    Example:
        >>> str(breakable("dare_ties<b>"))
        'dare_<wbr>ties&lt;b&gt;'
    """
    from markupsafe import Markup, escape

    text = str(escape(name))
    for mark in "_,[/":
        text = text.replace(mark, f"{mark}<wbr>")
    return Markup(text)


def cell(value: float | None, chart: Mapping[str, Any]) -> str:
    """A number of a matrix, with the digits and the unit of its chart.

    Example:
        >>> cell(0.1234, {"unit": "%", "digits": 1}), cell(None, {"unit": "", "digits": 2})
        ('12.3', '–')
    """
    if value is None:
        return "–"
    return f"{value * (100 if chart['unit'] == '%' else 1):.{chart['digits']}f}".replace("-", "−")


def comparable(row: Mapping[str, Any]) -> bool:
    """Whether the page carries the outcomes of a row, or of all its seeds.

    Example:
        >>> comparable({"bits": None, "members": []}), comparable({"bits": None, "members": [{"bits": ["gA=="]}]})
        (False, True)
    """
    members = row["members"]
    return bool(row["bits"]) or (bool(members) and all(member["bits"] for member in members))


def date(milliseconds: int) -> str:
    """Of milliseconds since 1970, in UTC.

    Example:
        >>> date(1_700_000_000_000)
        '2023-11-14 22:13'
    """
    return datetime.fromtimestamp(milliseconds / 1000, tz=timezone.utc).strftime("%Y-%m-%d %H:%M")


def bar(row: Mapping[str, Any], board: Mapping[str, Any]) -> str:
    """Where a row's interval lies between the lowest and the highest of its board, as CSS.

    Example:
        >>> bar({"mean": 0.5, "interval": [0.4, 0.6]}, {"span": [0.0, 1.0]})
        '--low:40.00%;--high:60.00%;--at:50.00%'
    """
    low, high = board["span"]
    width = (high - low) or 1.0
    ends = row["interval"] or [row["mean"], row["mean"]]
    places = {"low": ends[0], "high": ends[1], "at": row["mean"]}
    return ";".join(f"--{name}:{100 * (value - low) / width:.2f}%" for name, value in places.items())


def _markup() -> Any:
    from markupsafe import Markup

    return Markup
