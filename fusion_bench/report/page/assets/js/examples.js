// The examples on which exactly one of two runs is right, with their pictures where the page carries them.

const STEP = 24;

function makeExamples(board, id) {
  const blob = document.getElementById(`${id}-examples`);
  let found = null;
  return (a, b, lines) => {
    if (!blob || !a.run || !b.run || a === b) return null;
    found = found || JSON.parse(blob.textContent);
    const cards = board.tasks.flatMap((task) => cardsOf(board, found[task], task, a, b));
    if (!cards.length) return el("p", { class: "note" }, missing(found, board, a, b));
    return gallery(board, id, cards, lines, a, b);
  };
}

function missing(found, board, a, b) {
  const known = Object.values(found)[0].said;
  const unread = [a, b].filter((row) => !(row.run.id in known)).map((row) => row.name);
  return unread.length
    ? `Single examples are not shown: the predictions of ${unread.join(" and ")} are not in this page.`
    : "None of the examples that this page carries tells the two apart.";
}

function saidBy(examples, row) {
  const given = examples.said[row.run.id];
  return given === undefined ? null : wordsOf(given, 2);
}

function cardsOf(board, examples, task, a, b) {
  const [first, second] = [saidBy(examples, a), saidBy(examples, b)];
  if (!first || !second) return [];
  const cards = [];
  examples.index.forEach((index, i) => {
    const label = examples.label[i];
    const [rightA, rightB] = [first[i] === label, second[i] === label];
    if (rightA === rightB) return;
    const name = (value) => (examples.classes ? examples.classes[value] : `class ${value}`);
    cards.push({
      task, index, rightA, label: name(label), a: name(first[i]), b: name(second[i]),
      picture: examples.pictures ? examples.pictures[i] : null,
    });
  });
  return cards;
}

function gallery(board, id, cards, lines, a, b) {
  const total = lines.slice(0, -1).reduce((sum, line) => sum + line.gained + line.lost, 0);
  const counts = new Map(board.tasks.map((task) => [task, cards.filter((card) => card.task === task).length]));
  const tasks = el(
    "select",
    { id: `${id}-task` },
    el("option", { value: "" }, `all tasks (${cards.length})`),
    [...counts].map(([task, count]) => el("option", { value: task, disabled: !count }, `${task} (${count})`)),
  );
  const side = el(
    "select",
    { id: `${id}-side` },
    el("option", { value: "" }, "either"),
    el("option", { value: "a" }, `only A, ${a.name}`),
    el("option", { value: "b" }, `only B, ${b.name}`),
  );
  const list = el("ul", { class: "gallery" });
  const more = el("button", { type: "button" }, "Show more");
  const status = el("p", { class: "note", role: "status" });
  let shown = STEP;
  const update = () => {
    const fitting = spread(cards.filter(
      (card) => (!tasks.value || card.task === tasks.value) && (!side.value || card.rightA === (side.value === "a")),
    ));
    list.replaceChildren(...fitting.slice(0, shown).map((card) => cardOf(card)));
    more.hidden = shown >= fitting.length;
    status.textContent = `${Math.min(shown, fitting.length)} of ${fitting.length} shown.`;
  };
  const restart = () => {
    shown = STEP;
    update();
  };
  tasks.addEventListener("change", restart);
  side.addEventListener("change", restart);
  more.addEventListener("click", () => {
    shown += STEP;
    update();
  });
  update();
  return el(
    "section",
    { class: "examples", "aria-label": "Examples" },
    el("h4", {}, "Examples on which they differ"),
    el(
      "p",
      { class: "note" },
      `Exactly one of the two is right on ${plain(total)} examples; ${plain(cards.length)} of these are in this page. ${PAYLOAD.choice}`,
    ),
    el(
      "div",
      { class: "controls" },
      el("label", { for: tasks.id }, "Task ", tasks),
      el("label", { for: side.id }, "Right is ", side),
    ),
    list,
    el("div", { class: "controls" }, more, status),
  );
}

// One of each task in turn, so that the first screen shows them all
function spread(cards) {
  const seen = new Map();
  const turn = (card) => {
    seen.set(card.task, (seen.get(card.task) || 0) + 1);
    return seen.get(card.task);
  };
  return cards.map((card) => [turn(card), card]).sort((x, y) => x[0] - y[0]).map(([, card]) => card);
}

function cardOf(card) {
  const said = (who, word, right) =>
    el(
      "span",
      { class: right ? "right" : "wrong" },
      `${who} `,
      el("span", { "aria-hidden": "true" }, right ? "✓ " : "✗ "),
      word,
      el("span", { class: "unseen" }, right ? ", right" : ", wrong"),
    );
  return el(
    "li",
    {},
    card.picture
      ? el("img", { src: `data:image/png;base64,${card.picture}`, alt: `${card.task} ${card.index}`, loading: "lazy" })
      : el("span", { class: "no-picture" }, `no. ${card.index}`),
    el("strong", {}, card.label),
    said("A", card.a, card.rightA),
    said("B", card.b, !card.rightA),
    el("small", {}, `${card.task} ${card.index}`),
  );
}
