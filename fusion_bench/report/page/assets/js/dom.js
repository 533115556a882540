// Small things that every other file uses. Text goes into the page as text, never as markup.

const PAYLOAD = JSON.parse(document.getElementById("payload").textContent);
const BOARDS = PAYLOAD.boards;

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "class") node.className = value;
    else if (name === "style") for (const [key, given] of Object.entries(value)) node.style.setProperty(key, given);
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined) node.append(child);
  }
  return node;
}

const $ = (selector, within) => (within || document).querySelector(selector);
const $$ = (selector, within) => [...(within || document).querySelectorAll(selector)];

const percent = (value, digits = 1) =>
  value === null || value === undefined ? "–" : (100 * value).toFixed(digits).replace("-", "−");
const signed = (value, digits = 1) => (value > 0 ? "+" : "") + percent(value, digits);
const range = (low, high, digits = 1) => `${percent(low, digits)} to ${percent(high, digits)}`;

function plain(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

function pText(p) {
  if (p < 1e-12) return "<\u00a01e−12";
  if (p < 0.001) return p.toExponential(0).replace("e-", "e−");
  return p.toFixed(3);
}

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

function wordsOf(base64, width) {
  const bytes = bytesOf(base64);
  const view = new DataView(bytes.buffer);
  const words = new Uint32Array(bytes.length / width);
  for (let i = 0; i < words.length; i++) {
    words[i] = width === 2 ? view.getUint16(2 * i, true) : view.getUint32(4 * i, true);
  }
  return words;
}

// A picker of rows; `value` is the position in board.all.
function rowSelect(rows, chosen, id) {
  return el(
    "select",
    { id },
    rows.map((row) => el("option", { value: row.at, selected: row.at === chosen }, row.name)),
  );
}

// The runs of a row: one, or one a seed.
const runsOf = (row) => (row.members && row.members.length ? row.members : [row]);
const withBits = (board) => board.all.filter((row) => runsOf(row).every((run) => run.bits));
BOARDS.forEach((board) => {
  board.all = [...board.rows, ...board.rows.flatMap((row) => row.members)];
  board.all.forEach((row, at) => (row.at = at));
});
