// Drawing with Plotly: colours of the page's theme, drawn when first seen, each with a table of its numbers.

const drawn = new Map(); // node → function that draws it

function token(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// While the page is printed, the width of what is drawn, in CSS pixels; 0 on the screen, where boxes say it
let printWidth = 0;

const seriesColours = () => [1, 2, 3, 4, 5, 6, 7, 8].map((i) => token(`--series-${i}`));
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "star", "triangle-down"];
const DASHES = ["solid", "dash", "dot", "dashdot"];

function layoutOf(given) {
  const axis = {
    gridcolor: token("--rule"), zeroline: false, linecolor: token("--rule"), automargin: true,
    tickfont: { color: token("--quiet") }, title: { font: { color: token("--quiet"), size: 13 } },
  };
  const layout = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", size: 13, color: token("--ink") },
    margin: { l: 56, r: 16, t: 12, b: 48 }, height: 380, width: printWidth || undefined, dragmode: false, hovermode: "closest",
    hoverlabel: {
      bgcolor: token("--raised"), bordercolor: token("--rule"), font: { color: token("--ink"), size: 13 },
      align: "left", namelength: -1,
    },
    legend: { orientation: "h", y: -0.22, x: 0, font: { size: 12 } },
    ...given,
  };
  for (const name of ["xaxis", "yaxis"]) {
    const own = layout[name] || {};
    layout[name] = { ...axis, ...own, title: { ...axis.title, text: own.titleText || "" } };
  }
  return layout;
}

// Plotly takes a second to start, so that it starts when the first chart comes near. Its text lies in the page.
function loadPlotly() {
  const source = document.getElementById("plotly");
  if (window.Plotly || !source) return;
  document.body.append(el("script", {}, source.textContent));
  source.remove();
  performance.mark("plotly");
}

// Calls `action` once, when the node comes near the window; or at once on `show`
const waiting = new Map();
const observer =
  "IntersectionObserver" in window
    ? new IntersectionObserver(
        (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => see(entry.target)),
        { rootMargin: "700px" },
      )
    : null;

function whenSeen(node, action) {
  waiting.set(node, action);
  if (observer) observer.observe(node);
  else see(node);
}

function see(node) {
  const action = waiting.get(node);
  if (!action) return;
  waiting.delete(node);
  if (observer) observer.unobserve(node);
  action();
}

function seeAll(within) {
  [...waiting.keys()].filter((node) => within.contains(node) && !node.closest("[hidden]")).forEach(see);
}

// make() returns {data, layout, label, columns, rows}: traces for Plotly, a sentence, and the same numbers as a table
function chart(node, make) {
  const plot = el("div", { class: "plot", role: "img" });
  const table = el("details", { class: "as-table" }, el("summary", {}, "The numbers as a table"));
  node.replaceChildren(plot, table);
  const render = () => {
    const { data, layout, label, columns, rows } = make();
    plot.setAttribute("aria-label", label);
    table.replaceChildren(table.firstElementChild, numbers(label, columns, rows));
    loadPlotly();
    if (!window.Plotly) return;
    window.Plotly.react(plot, data, layoutOf(layout), { displayModeBar: false, responsive: true, scrollZoom: false });
    node.dataset.drawn = "yes";
  };
  drawn.set(node, render);
  whenSeen(node, render);
  return () => {
    if (!waiting.has(node)) render();
  };
}

function numbers(caption, columns, rows) {
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el(
      "table",
      { class: "numbers" },
      el("thead", {}, el("tr", {}, columns.map((column) => el("th", { scope: "col" }, column)))),
      el(
        "tbody",
        {},
        rows.map((row) =>
          el("tr", {}, row.map((cell, i) => (i ? el("td", {}, plain(cell)) : el("th", { scope: "row" }, plain(cell))))),
        ),
      ),
    ),
  );
}

function redrawAll() {
  for (const [node, render] of drawn) if (!waiting.has(node) && !node.closest("[hidden]")) render();
}
