// One case over time: its mean with the interval, and lines where it changed.

function makeHistory(article, board) {
  const panel = $("[data-panel=history]", article);
  if (!panel || !board.history) return;
  const { series, changes } = board.history;
  const newest = changes.length ? series.findIndex((one) => one.label === changes[0].label) : 0;
  const select = el(
    "select",
    { id: `${article.id}-case` },
    series.map((one, i) => el("option", { value: i, selected: i === newest }, `${one.label} (${one.points.length})`)),
  );
  const place = el("div", { class: "chart" });
  const update = chart(place, () => {
    const one = series[select.value];
    return historyChart(one, changes.filter((change) => change.label === one.label));
  });
  select.addEventListener("change", update);
  const controls = el("div", { class: "controls" }, el("label", { for: select.id }, "Case ", select));
  $(".body", panel).replaceChildren(controls, place);
}

function historyChart(one, changes) {
  const dates = one.points.map(([ms]) => new Date(ms).toISOString().slice(0, 19));
  const off = (k, sign) => one.points.map((p) => (p[k] === null ? 0 : 100 * sign * (p[k] - p[1])));
  const at = changes.map((change) => new Date(change.at).toISOString().slice(0, 19));
  const changed = new Map(changes.map((change) => [change.at, change]));
  const what = (p) => (changed.has(p[0]) ? `change ${signed(changed.get(p[0]).difference, 2)}` : p[6] ? "as before" : "");
  return {
    data: [
      {
        type: "scatter", mode: "lines+markers", x: dates, y: one.points.map((p) => 100 * p[1]), name: escaped(one.label),
        line: { color: token("--series-1"), width: 1.5 }, marker: { size: 7, color: token("--series-1") },
        error_y: {
          type: "data", symmetric: false, array: off(3, 1), arrayminus: off(2, -1), width: 0, thickness: 3,
          color: token("--band"),
        },
        hovertext: one.points.map((p) => `${percent(p[1], 2)} %<br>commit ${escaped(p[4] || "–")}<br>${what(p)}`),
        hoverinfo: "x+text",
      },
    ],
    layout: {
      xaxis: { type: "date" }, yaxis: { titleText: "mean accuracy, %" }, showlegend: false,
      shapes: at.map((x) => ({
        type: "line", x0: x, x1: x, yref: "paper", y0: 0, y1: 1, line: { color: token("--series-2"), width: 2, dash: "dash" },
      })),
      annotations: at.map((x, i) => ({
        x, yref: "paper", y: 1, yanchor: "bottom", showarrow: false, font: { color: token("--series-2"), size: 12 },
        text: signed(changes[i].difference, 1),
      })),
      margin: { l: 56, r: 16, t: 28, b: 48 },
    },
    label: `Mean accuracy of ${one.label} in ${one.points.length} runs, ${changes.length} changes`,
    columns: ["started (UTC)", "mean, %", "95 % interval", "commit", "run", ""],
    rows: one.points.map((p, i) => [
      dates[i].replace("T", " "), percent(p[1], 2), p[2] === null ? "–" : range(p[2], p[3], 2), p[4] || "–", p[5], what(p),
    ]),
  };
}
