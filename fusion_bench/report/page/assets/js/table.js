// Tables that sort by a click or Enter on a heading, and the filter of the leaderboard.

function makeSortable(table) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  rows.forEach((row, place) => (row.dataset.place = place));
  $$("th button.sort", table).forEach((button) => {
    button.addEventListener("click", () => {
      const heading = button.closest("th");
      const column = heading.cellIndex;
      const before = heading.getAttribute("aria-sort");
      const first = heading.dataset.first || "descending";
      const other = first === "descending" ? "ascending" : "descending";
      const direction = before === first ? other : first;
      $$("th[aria-sort]", table).forEach((cell) => cell.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", direction);
      const sign = direction === "ascending" ? 1 : -1;
      rows.sort((a, b) => sign * order(a.cells[column], b.cells[column], sign) || a.dataset.place - b.dataset.place);
      body.append(...rows);
      const status = $("[role=status]", table.closest("[data-panel]"));
      if (status) status.textContent = `Sorted by ${button.textContent.trim()}, ${direction}.`;
    });
  });
}

// Cells without a value come last whichever way the table is sorted
function order(a, b, sign) {
  const [x, y] = [a.dataset.value, b.dataset.value];
  if (!x || !y) return sign * ((x ? 0 : 1) - (y ? 0 : 1));
  return a.dataset.text !== undefined ? x.localeCompare(y) : Number(x) - Number(y);
}

function makeFilter(article, board) {
  const form = $("form.filter", article);
  if (!form) return;
  const rows = $$("table.leaderboard tbody tr", article);
  const status = $("[role=status]", form.closest("[data-panel]"));
  const update = () => {
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((line) => {
      const row = board.rows[line.dataset.at];
      const text = `${row.name} ${row.kind} ${row.access.join(" ")}`.toLowerCase();
      const fits =
        words.every((word) => text.includes(word)) &&
        (!form.elements.kind.value || row.kind === form.elements.kind.value) &&
        (!form.elements.access.value || row.access.join(", ") === form.elements.access.value);
      line.hidden = !fits;
      shown += fits;
    });
    status.textContent = `${shown} of ${rows.length} rows shown.`;
  };
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(update));
}

// Ticks in the leaderboard choose the two runs of the comparison; a third tick replaces the older one
function makeTicks(article, compare) {
  const boxes = $$("table.leaderboard input[type=checkbox]", article);
  const chosen = [];
  boxes.forEach((box) => {
    box.checked = false;
    box.addEventListener("change", () => {
      const at = Number(box.value);
      if (!box.checked) chosen.splice(chosen.indexOf(at), 1);
      else chosen.push(at);
      if (chosen.length > 2) {
        const older = chosen.shift();
        boxes.find((other) => Number(other.value) === older).checked = false;
      }
      if (chosen.length === 2) compare.show(...chosen);
      const status = $("[role=status]", box.closest("[data-panel]"));
      status.replaceChildren(
        chosen.length < 2 ? `${chosen.length} of 2 chosen to compare.` : compare.headline(...chosen),
        chosen.length < 2 ? "" : el("a", { href: `#${article.id}-compare` }, "See the comparison"),
      );
    });
  });
}
