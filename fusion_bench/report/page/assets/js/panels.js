// The panels that Python describes: lines are drawn, the cells of matrices coloured.

function makePanels(article, board) {
  for (const panel of board.panels) {
    const node = $(`[data-panel="${CSS.escape(panel.key)}"]`, article);
    panel.charts.forEach((given, i) => {
      const place = $(`[data-chart="${i}"]`, node);
      if (given.kind === "matrix") drawn.set(place, () => paintMatrix(place, given));
      else chart(place, () => linesChart(given));
    });
  }
}

function linesChart(given) {
  const factor = given.unit === "%" ? 100 : 1;
  const scaled = (values) => values.map((value) => (value === null ? null : factor * value));
  const colours = seriesColours();
  const data = given.series.map((series, i) => {
    const y = scaled(series.y);
    const off = (bounds, sign) => scaled(bounds).map((bound, k) => (bound === null ? 0 : sign * (bound - y[k])));
    return {
      type: "scatter", mode: "lines+markers", name: escaped(series.name), x: series.x, y,
      line: { color: colours[i % colours.length], width: 2, dash: series.dashed ? "dash" : "solid" },
      marker: {
        color: colours[i % colours.length], symbol: SYMBOLS[i % SYMBOLS.length],
        size: series.x.map((_, k) => (k === series.marked ? 14 : 7)), opacity: 1,
      },
      error_y:
        series.low && series.high
          ? { type: "data", symmetric: false, array: off(series.high, 1), arrayminus: off(series.low, -1), width: 3 }
          : undefined,
      hovertemplate: `%{x}: %{y:.${given.digits}f}`,
    };
  });
  const unit = given.unit ? `, ${given.unit}` : "";
  const bounds = (series, k) =>
    series.low && series.low[k] !== null
      ? `${(factor * series.low[k]).toFixed(given.digits)} to ${(factor * series.high[k]).toFixed(given.digits)}`
      : "";
  return {
    data,
    layout: {
      xaxis: { titleText: given.x_title, type: given.x_log ? "log" : undefined },
      yaxis: { titleText: given.y_title + unit },
    },
    label: `${given.title}: ${given.y_title}${unit} of ${given.series.length} lines`,
    columns: ["line", given.x_title || "x", (given.y_title || "y") + unit, "95 % interval", ""],
    rows: given.series.flatMap((series) =>
      series.x.map((x, k) => [
        series.name, x, series.y[k] === null ? null : (factor * series.y[k]).toFixed(given.digits), bounds(series, k),
        k === series.marked ? "chosen" : "",
      ]),
    ),
  };
}

function paintMatrix(table, given) {
  const known = given.z.flat().filter((value) => value !== null);
  const fraction = scaleOf(given.low ?? Math.min(...known), given.high ?? Math.max(...known), given.centre);
  const colours = coloursOf(given.centre !== null);
  [...table.tBodies[0].rows].forEach((line, i) =>
    given.z[i].forEach((value, k) => tint(line.cells[k + 1], value === null ? null : between(colours, fraction(value)))),
  );
}
