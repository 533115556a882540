// The comparison of two runs: a sentence, a line a task, what the runs were set to, and examples.

function makeCompare(article, board) {
  const panel = $("[data-panel=compare]", article);
  const rows = withBits(board);
  if (!panel || rows.length < 2) return { show() {}, headline: () => "" };
  const methods = rows.filter((row) => !row.reference);
  const [a, b] = methods.length > 1 ? methods : rows;
  const first = rowSelect(rows, a.at, `${article.id}-a`);
  const second = rowSelect(rows, b.at, `${article.id}-b`);
  const result = el("div", { class: "comparison later" });
  const examples = makeExamples(board, article.id);
  const update = () => draw(board, board.all[first.value], board.all[second.value], result, examples);
  const swap = () => {
    [first.value, second.value] = [second.value, first.value];
    update();
  };
  first.addEventListener("change", update);
  second.addEventListener("change", update);
  $(".body", panel).replaceChildren(
    el(
      "div",
      { class: "controls" },
      el("label", { for: first.id }, "A ", first),
      el("label", { for: second.id }, "B ", second),
      el("button", { type: "button", onclick: swap }, "Swap"),
    ),
    result,
  );
  whenSeen(panel, update);
  return {
    show(x, y) {
      [first.value, second.value] = [x, y];
      panel.dataset.drawn = "";
      update();
    },
    headline: (x, y) => sentence(board.all[x], board.all[y], compareRows(board, board.all[x], board.all[y])),
  };
}

function sentence(a, b, lines) {
  const mean = lines[lines.length - 1];
  if (a === b) return "A and B are the same run. ";
  const size = percent(Math.abs(mean.difference), 2);
  const interval = `${signed(mean.low, 2)} to ${signed(mean.high, 2)}`;
  if (mean.p > 1 - PAYLOAD.level) {
    return `${a.name} and ${b.name} cannot be told apart on the mean: A − B is ${signed(mean.difference, 2)} points, 95 % interval ${interval}, p\u00a0${equal(mean.p)}. `;
  }
  const [better, worse] = mean.difference > 0 ? [a, b] : [b, a];
  return `${better.name} is ${size} points better than ${worse.name} on the mean: A − B, 95 % interval ${interval}, p\u00a0${equal(mean.p)}. `;
}

const equal = (p) => (p < BELOW ? pText(p) : `=\u00a0${pText(p)}`);

function draw(board, a, b, into, examples) {
  const lines = compareRows(board, a, b);
  const reach = Math.max(0.01, ...lines.flatMap((line) => [Math.abs(line.low), Math.abs(line.high)]));
  const heads = ["", "A", "B", "A − B", "95 % interval", "", "only A right", "only B right", "p (Holm)"];
  const table = el(
    "table",
    { class: "numbers differences" },
    el("caption", {}, `Accuracy in %, differences in points: A is ${a.name}, B is ${b.name}`),
    el("thead", {}, el("tr", {}, heads.map((head) => el(head ? "th" : "td", { scope: head ? "col" : false }, head)))),
    el("tbody", {}, lines.map((line) => lineOf(line, reach))),
  );
  const clustered = lines.filter((line) => line.clustered).map((line) => line.name);
  const about = clustered.length
    ? ` Examples of ${clustered.join(", ")} are counted by the source they share.`
    : "";
  into.classList.remove("later");
  const parts = [
    el("p", { class: "finding", "aria-live": "polite" }, sentence(a, b, lines)),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Differences per task" }, table),
    el(
      "p",
      { class: "note" },
      `Intervals are of each line alone; p-values ${kindOf(a, b)} corrected over the ${lines.length} lines; the letters of the leaderboard are corrected over all pairs of methods.${about}`,
    ),
    settingsOf(a, b),
    examples(a, b, lines),
  ];
  into.replaceChildren(...parts.filter(Boolean)); // several seeds have neither settings nor examples of one run
}

function kindOf(a, b) {
  if (runsOf(a).length === 1 && runsOf(b).length === 1) return "are exact (McNemar, sign-flip) and";
  return `take seeds (${runsOf(a).length} of A, ${runsOf(b).length} of B) and examples both as a sample and are`;
}

function lineOf(line, reach) {
  const place = (value) => `${50 + (50 * value) / reach}%`;
  const significant = line.p <= 1 - PAYLOAD.level;
  const bar = el(
    "span",
    {
      class: `forest ${significant ? (line.difference > 0 ? "up" : "down") : ""}`,
      style: { "--low": place(line.low), "--high": place(line.high), "--at": place(line.difference) },
      "aria-hidden": "true",
    },
    el("i"),
    el("b"),
  );
  const cells = [
    percent(line.first), percent(line.second), signed(line.difference, 2),
    `${signed(line.low, 2)} to ${signed(line.high, 2)}`,
  ];
  const verdict = significant ? el("strong", {}, pText(line.p)) : pText(line.p);
  return el(
    "tr",
    { class: line.name === "mean" && line.n === undefined ? "total" : false },
    el("th", { scope: "row" }, line.name),
    cells.map((cell) => el("td", {}, cell)),
    el("td", { class: "forest-cell" }, bar),
    [line.gained, line.lost].map((count) => el("td", {}, count === undefined ? "" : plain(count))),
    el("td", {}, verdict),
  );
}

function settingsOf(a, b) {
  if (!a.run || !b.run) return null;
  const names = [...new Set([...Object.keys(a.run.settings), ...Object.keys(b.run.settings)])];
  const differing = names.filter((name) => (a.run.settings[name] || "") !== (b.run.settings[name] || ""));
  const line = (name, x, y) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, x), el("td", {}, y));
  return el(
    "details",
    {},
    el("summary", {}, `The two runs and what they were set to (${differing.length} difference${differing.length === 1 ? "" : "s"})`),
    el(
      "div",
      { class: "scroll" },
      el(
        "table",
        { class: "settings" },
        el("thead", {}, el("tr", {}, el("td"), el("th", { scope: "col" }, "A"), el("th", { scope: "col" }, "B"))),
        el(
          "tbody",
          {},
          line("run", a.run.id, b.run.id),
          line("started", a.run.started, b.run.started),
          differing.map((name) => line(name, a.run.settings[name] || "–", b.run.settings[name] || "–")),
        ),
      ),
    ),
  );
}
