// Which board is shown, the theme, printing; and the order in which everything comes alive.

let board = null;

function showBoard() {
  const wanted = location.hash.slice(1).split("-")[0];
  const shown = BOARDS.find((one) => one.id === wanted) || BOARDS[0];
  $$("article.board").forEach((article) => (article.hidden = article.id !== shown.id));
  $$("nav.boards a").forEach((link) => {
    if (link.hash === `#${shown.id}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  });
  if (board !== shown) redrawAll(); // what was drawn while it was hidden has the colours and the width of that time
  board = shown;
  const target = location.hash.length > 1 ? document.getElementById(location.hash.slice(1)) : null;
  if (target) target.scrollIntoView();
}

function remembered(value) {
  try {
    if (value !== undefined) localStorage.setItem("fusion_bench theme", value);
    return localStorage.getItem("fusion_bench theme");
  } catch {
    return null; // storage may be closed to files
  }
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  const button = document.getElementById("theme");
  button.setAttribute("aria-pressed", theme === "dark");
  redrawAll();
}

function makeTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const current = () => remembered() || (dark.matches ? "dark" : "light");
  const button = document.getElementById("theme");
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    remembered(next);
    setTheme(next);
  });
  dark.addEventListener("change", () => setTheme(current()));
  setTheme(current());
  // paper is white, and whatever has not been seen yet belongs on it as well
  addEventListener("beforeprint", () => {
    loadPlotly();
    printWidth = 660;
    document.documentElement.dataset.theme = "light";
    seeAll(document.body);
    redrawAll();
  });
  addEventListener("afterprint", () => {
    printWidth = 0;
    setTheme(current());
  });
}

// A shadow at the edge of a box that has more to the right
function makeHints() {
  const update = (box) => box.toggleAttribute("data-more", box.scrollWidth - box.clientWidth - box.scrollLeft > 2);
  const boxes = $$(".scroll");
  boxes.forEach((box) => box.addEventListener("scroll", () => update(box), { passive: true }));
  const all = () => boxes.filter((box) => !box.closest("[hidden]")).forEach(update);
  addEventListener("resize", all);
  addEventListener("hashchange", all);
  all();
}

function start() {
  makeTheme();
  $$("table.sortable").forEach(makeSortable);
  for (const board of BOARDS) {
    const article = document.getElementById(board.id);
    const compare = makeCompare(article, board);
    makeFilter(article, board);
    makeTicks(article, compare);
    makeHeat(article, board);
    makeTradeoff(article, board);
    makeRadar(article, board);
    makeHistory(article, board);
    makePanels(article, board);
  }
  addEventListener("hashchange", showBoard);
  if (BOARDS.length) showBoard();
  makeHints();
  addEventListener("scroll", () => setTimeout(loadPlotly, 50), { once: true, passive: true });
  performance.mark("ready");
  document.documentElement.dataset.ready = "yes";
}

start();

window.fusionBench = {
  compare: (board, a, b) => compareRows(BOARDS[board], BOARDS[board].all[a], BOARDS[board].all[b]),
  critical,
  signFlip,
};
