// The table of tasks and methods: its colours, and whether it shows accuracy, the share of the expert's, or the gain over the base.

function makeHeat(article, board) {
  const panel = $("[data-panel=heat]", article);
  if (!panel) return;
  const table = $("table.heat", panel);
  const reference = (name) => board.rows.find((row) => row.name === name);
  const modes = { accuracy: ["accuracy", (row, t) => row.accuracy[t]] };
  const [experts, base] = [reference("experts"), reference("pretrained")];
  if (experts) modes.share = ["share of the expert's accuracy", (row, t) => quotient(row.accuracy[t], experts.accuracy[t])];
  if (base) modes.gain = ["gain over the base, points", (row, t) => minus(row.accuracy[t], base.accuracy[t])];
  const select = el(
    "select",
    { id: `${article.id}-heat-mode` },
    Object.entries(modes).map(([key, [title]]) => el("option", { value: key }, title)),
  );
  const update = () => paint(table, board, select.value, modes[select.value][1]);
  select.addEventListener("change", update);
  $(".controls", panel).replaceChildren(el("label", { for: select.id }, "Show ", select));
  update();
  drawn.set(table, update);
}

const quotient = (a, b) => (a === null || !b ? null : a / b);
const minus = (a, b) => (a === null || b === null ? null : a - b);

function paint(table, board, mode, valueOf) {
  const all = board.rows.flatMap((row) => board.tasks.map((_, t) => valueOf(row, t))).filter((v) => v !== null);
  const fraction = scaleOf(Math.min(...all), Math.max(...all), mode === "gain" ? 0 : null);
  const colours = coloursOf(mode === "gain");
  $$("tbody tr", table).forEach((line) => {
    const row = board.rows[line.dataset.at];
    board.tasks.forEach((_, t) => {
      const cell = line.cells[t + 2];
      const value = valueOf(row, t);
      cell.dataset.value = value === null ? "" : value;
      cell.textContent = mode === "gain" && value !== null ? signed(value) : percent(value);
      tint(cell, value === null ? null : between(colours, fraction(value)));
    });
  });
}

// Where a value lies from 0 to 1; with a centre, which is then at ½, as far up as down
function scaleOf(low, high, centre) {
  if (centre !== null) {
    const reach = Math.max(Math.abs(low - centre), Math.abs(high - centre)) || 1;
    [low, high] = [centre - reach, centre + reach];
  }
  return (value) => (high > low ? (value - low) / (high - low) : 0.5);
}

const coloursOf = (parted) =>
  (parted ? ["--below", "--paper", "--above"] : ["--scale-low", "--scale-high"]).map((name) => channels(token(name)));

function tint(cell, colour) {
  cell.style.backgroundColor = colour ? `rgb(${colour.map(Math.round).join(" ")})` : "";
  cell.style.color = colour ? (luminance(colour) > 0.18 ? "#000000" : "#ffffff") : "";
}

const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

function between(colours, share) {
  const place = Math.min(Math.max(share, 0), 1) * (colours.length - 1);
  const i = Math.min(Math.floor(place), colours.length - 2);
  return colours[i].map((value, k) => value + (place - i) * (colours[i + 1][k] - value));
}

// WCAG's relative luminance: above 0.18 black text has the better contrast
function luminance(colour) {
  const [r, g, b] = colour.map((value) => {
    const c = value / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
