// Up to three methods over all tasks at once, between the base and the experts.

function makeRadar(article, board) {
  const panel = $("[data-panel=radar]", article);
  if (!panel) return;
  const methods = board.rows.filter((row) => !row.reference);
  const bounds = board.rows.filter((row) => row.reference && ["pretrained", "experts"].includes(row.name));
  const rows = methods.length ? methods : board.rows;
  const picks = [0, 1, 2].map((i) => {
    const select = rowSelect(rows, rows[i] && i < 2 ? rows[i].at : -1, `${article.id}-radar-${i}`);
    select.prepend(el("option", { value: "", selected: !(rows[i] && i < 2) }, "none"));
    return select;
  });
  const place = el("div", { class: "chart" });
  const update = chart(place, () => {
    const chosen = picks.filter((pick) => pick.value !== "").map((pick) => board.rows[pick.value]);
    return radarChart(board, chosen, bounds);
  });
  picks.forEach((pick) => pick.addEventListener("change", update));
  const labels = picks.map((pick, i) => el("label", { for: pick.id }, `Method ${i + 1} `, pick));
  $(".body", panel).replaceChildren(el("div", { class: "controls" }, labels), place);
}

function radarChart(board, chosen, bounds) {
  const colours = seriesColours();
  const around = (list) => [...list, list[0]];
  const theta = around(board.tasks.map(escaped));
  const trace = (row, given) => ({
    type: "scatterpolar", mode: "lines+markers", name: escaped(row.name), theta,
    r: around(row.accuracy.map((value) => (value === null ? null : 100 * value))),
    hovertemplate: "%{theta}: %{r:.1f} %", ...given,
  });
  const data = [
    ...bounds.map((row) =>
      trace(row, { mode: "lines", line: { color: token("--quiet"), dash: row.name === "experts" ? "dash" : "dot" } }),
    ),
    ...chosen.map((row, i) =>
      trace(row, {
        line: { color: colours[i], dash: DASHES[i] }, marker: { symbol: SYMBOLS[i], size: 8, color: colours[i] },
      }),
    ),
  ];
  const polar = {
    bgcolor: "rgba(0,0,0,0)",
    radialaxis: {
      range: [0, 100], gridcolor: token("--rule"), linecolor: token("--rule"), angle: 90, tickangle: 90,
      tickfont: { color: token("--quiet"), size: 11 },
    },
    angularaxis: { gridcolor: token("--rule"), linecolor: token("--rule"), direction: "clockwise" },
  };
  const all = [...chosen, ...bounds];
  return {
    data,
    layout: { polar, height: 440, margin: { l: 64, r: 64, t: 32, b: 32 }, legend: { orientation: "h", y: -0.12, x: 0.5, xanchor: "center" } },
    label: `Accuracy per task, in %, of ${all.map((row) => row.name).join(", ")}`,
    columns: ["task", ...all.map((row) => row.name)],
    rows: board.tasks.map((task, t) => [task, ...all.map((row) => percent(row.accuracy[t]))]),
  };
}
