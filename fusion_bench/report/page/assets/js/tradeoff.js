// Accuracy against what a method costs, with the methods that no other beats on both.

const COST_TITLES = Object.fromEntries(PAYLOAD.costs);
const BOUND = "bound, no method";
const accessOf = (row) => (row.reference ? BOUND : row.access.join(", ") || "not declared");

function paretoOf(points) {
  const ordered = [...points].sort((a, b) => a.cost - b.cost || b.row.mean - a.row.mean);
  let best = -Infinity;
  return ordered.filter(({ row }) => {
    if (row.mean <= best) return false;
    best = row.mean;
    return true;
  });
}

function makeTradeoff(article, board) {
  const panel = $("[data-panel=tradeoff]", article);
  if (!panel) return;
  const measured = PAYLOAD.costs.filter(([key]) => board.rows.some((row) => row.costs[key] > 0));
  const place = el("div", { class: "chart" });
  const front = el("p", { class: "finding", "aria-live": "polite" });
  if (!measured.length) return $(".body", panel).replaceChildren(el("p", { class: "note" }, "No costs were measured."));
  const select = el(
    "select",
    { id: `${article.id}-cost` },
    measured.map(([key, title]) => el("option", { value: key }, title)),
  );
  const make = () => {
    const key = select.value;
    const points = board.rows
      .filter((row) => row.costs[key] !== undefined)
      .map((row) => ({ row, cost: row.costs[key] }));
    const best = paretoOf(points.filter(({ row }) => !row.reference));
    front.textContent = best.length
      ? `No other method is both cheaper and better than: ${best.map(({ row }) => row.name).join(", ")}.`
      : "";
    return tradeoffChart(key, points, best, printWidth || place.clientWidth);
  };
  $(".body", panel).replaceChildren(
    el("div", { class: "controls" }, el("label", { for: select.id }, "Cost ", select)),
    place,
    front,
  );
  select.addEventListener("change", chart(place, make));
}

function tradeoffChart(key, points, best, width) {
  const colours = seriesColours();
  const classes = [...new Set(points.map(({ row }) => accessOf(row)))].sort((a, b) => (a === BOUND) - (b === BOUND));
  const log = points.every(({ cost }) => cost > 0);
  const labels = labelled(points, best, log, width);
  const data = [
    {
      type: "scatter", mode: "lines", name: "Pareto front", x: best.map((p) => p.cost), hoverinfo: "skip",
      y: best.map((p) => 100 * p.row.mean), line: { shape: "hv", color: token("--quiet"), width: 1.5, dash: "dot" },
    },
  ];
  classes.forEach((access, i) => {
    const own = points.filter(({ row }) => accessOf(row) === access);
    const bound = access === BOUND;
    data.push({
      type: "scatter", mode: "markers+text", name: escaped(access), x: own.map((p) => p.cost),
      y: own.map((p) => 100 * p.row.mean), text: own.map((p) => labels.get(p)?.text || ""),
      textposition: own.map((p) => labels.get(p)?.side || "middle right"),
      textfont: { size: 11, color: token("--quiet") }, cliponaxis: false,
      marker: {
        size: bound ? 10 : 11, symbol: bound ? "line-ew-open" : SYMBOLS[i % SYMBOLS.length], opacity: 1,
        color: bound ? token("--quiet") : colours[i % colours.length],
        line: { width: bound ? 2 : 1, color: bound ? token("--quiet") : token("--paper") },
      },
      error_y: {
        type: "data", symmetric: false, thickness: 1, width: 0, color: token("--quiet"),
        array: own.map((p) => (p.row.interval ? 100 * (p.row.interval[1] - p.row.mean) : 0)),
        arrayminus: own.map((p) => (p.row.interval ? 100 * (p.row.mean - p.row.interval[0]) : 0)),
      },
      hovertext: own.map((p) => `${escaped(p.row.name)}<br>${percent(p.row.mean)} %, ${plain(p.cost)}`),
      hoverinfo: "text",
    });
  });
  return {
    data,
    layout: {
      xaxis: { type: log ? "log" : "linear", titleText: COST_TITLES[key], exponentformat: "power", dtick: log ? 1 : undefined },
      yaxis: { titleText: "mean accuracy, %" },
    },
    label: `Mean accuracy of ${points.length} rows against ${COST_TITLES[key]}`,
    columns: ["method", "data access", COST_TITLES[key], "mean accuracy, %", "on the front"],
    rows: points.map((p) => [
      p.row.name, accessOf(p.row), p.cost, percent(p.row.mean), best.includes(p) ? "yes" : "",
    ]),
  };
}

// Names of the front first, then of the others while they have room; the table has them all
function labelled(points, best, log, width) {
  const scale = (values, length) => {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    return (value) => (length * (value - low)) / (high - low || 1);
  };
  const along = (p) => (log ? Math.log(p.cost) : p.cost);
  const [x, y] = [scale(points.map(along), width - 110), scale(points.map((p) => p.row.mean), 260)];
  const boxes = points.map((p) => ({ left: x(along(p)) - 7, right: x(along(p)) + 7, y: y(p.row.mean), owner: p }));
  const found = new Map();
  const first = [...points].sort((a, b) => best.includes(b) - best.includes(a) || b.row.reference - a.row.reference);
  for (const p of first) {
    const text = shortened(p.row.name);
    const wide = 7 * Math.min(p.row.name.length, 24);
    const at = x(along(p));
    const sides = [["middle right", at + 8, at + 8 + wide], ["middle left", at - 8 - wide, at - 8]];
    for (const [side, left, right] of sides) {
      const box = { left, right, y: y(p.row.mean), owner: p };
      const free = boxes.every((o) => o.owner === p || o.right < left || o.left > right || Math.abs(o.y - box.y) > 13);
      if (!free || left < -20 || right > width - 70) continue;
      boxes.push(box);
      found.set(p, { text, side });
      break;
    }
  }
  return found;
}

const shortened = (name) => escaped(name.length > 24 ? `${name.slice(0, 23)}…` : name);

// Plotly reads tags in its texts
const escaped = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
