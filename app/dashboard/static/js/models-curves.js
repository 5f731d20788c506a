// How a training goes: loss and missed searches by round, as a chart, a sentence, and a table.
import { t, language } from "./i18n.js";
import { loadPlotly } from "./plotly.js";
import { colours } from "./threshold-chart.js";
import { make } from "./ui.js";

const percent = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 2 });
const decimal = new Intl.NumberFormat(language, { minimumFractionDigits: 3, maximumFractionDigits: 3 });
const drawn = new Map(); // by place: the curves that it shows

/** Shows curves ({ loss, validation_fnir, best_epoch }, one number a round) in `place`, in the stead of what was there. */
export async function showCurves(place, curves) {
  if (!curves?.loss?.length || drawn.get(place)?.loss.length === curves.loss.length) return;
  const isNew = !drawn.has(place);
  drawn.set(place, curves);
  if (isNew) place.replaceChildren(...parts());
  place.querySelector("[data-sentence]").textContent = sentence(curves);
  place.querySelector("tbody").replaceChildren(...rows(curves));
  await draw(place);
}

function parts() {
  const heads = [t("Round"), t("Loss"), t("Staff missed")].map((title) => make("th", { class: "number" }, title));
  return [
    make("p", { "data-sentence": true }),
    make("div", { class: "curves-plot", role: "img", "aria-label": t("Loss and missed searches by round. The table below says the same.") }),
    make("details", {}, make("summary", {}, t("The chart as a table")), make("table", { class: "table" }, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}))),
  ];
}

function sentence({ loss, validation_fnir: missed, best_epoch: best }) {
  const values = { round: loss.length, loss: shown(loss.at(-1), decimal), missed: shown(missed.at(-1), percent) };
  const last = t("After round {round}: loss {loss}, and {missed} of the staff whom it does not learn from are missed.", values);
  if (best < 0) return `${last} ${t("No round was better than the start yet.")}`;
  return `${last} ${t("The best was round {round}, with {missed}.", { round: best + 1, missed: shown(missed[best], percent) })}`;
}

function rows({ loss, validation_fnir: missed }) {
  const cell = (title, words) => make("td", { class: "number", "data-label": title }, words);
  return loss.map((each, i) =>
    make("tr", {}, cell(t("Round"), String(i + 1)), cell(t("Loss"), shown(each, decimal)), cell(t("Staff missed"), shown(missed[i], percent))),
  );
}

function shown(value, format) {
  return value === null || value === undefined ? "–" : format.format(value);
}

async function draw(place) {
  makeStyles();
  await loadPlotly();
  const plot = place.querySelector(".curves-plot");
  if (plot?.isConnected) await window.Plotly.react(plot, ...figure(drawn.get(place), plot), { displayModeBar: false, responsive: true });
}

function figure({ loss, validation_fnir: missed, best_epoch: best }, plot) {
  const look = colours();
  const rounds = loss.map((_, i) => i + 1);
  const axis = { fixedrange: true, zeroline: false, gridcolor: look.grid, linecolor: look.grid, rangemode: "tozero" };
  const mode = loss.length === 1 ? "markers" : "lines";
  const traces = [
    { x: rounds, y: loss, name: t("Loss"), mode, line: { color: look.strangers, width: 2 } },
    { x: rounds, y: missed, name: t("Staff missed"), mode, yaxis: "y2", line: { color: look.staff, width: 2.5, dash: "dash" } },
  ];
  const mark = { type: "line", xref: "x", yref: "paper", x0: best + 1, x1: best + 1, y0: 0, y1: 1, line: { color: look.soft, width: 1, dash: "dot" } };
  const layout = {
    margin: { l: 48, r: 56, t: 8, b: 34, pad: 0 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(plot).fontFamily, size: 12, color: look.soft },
    hoverlabel: { bgcolor: look.surface, bordercolor: look.soft, font: { color: look.ink } },
    dragmode: false,
    legend: { orientation: "h", x: 0, y: 1.15 },
    xaxis: { ...axis, rangemode: "normal", tickformat: "d", dtick: loss.length <= 10 ? 1 : undefined },
    yaxis: { ...axis, color: look.strangers },
    yaxis2: { ...axis, color: look.staff, overlaying: "y", side: "right", showgrid: false, tickformat: ".1%" },
    shapes: best < 0 ? [] : [mark],
  };
  return [traces, layout];
}

/** Style elements that the library would else make itself, which the policy refuses. */
function makeStyles() {
  const { nonce, dataset } = document.getElementById("models-css");
  const missing = dataset.styles.split(" ").filter((id) => !document.getElementById(id));
  document.head.append(...missing.map((id) => make("style", { id, nonce })));
}

function drawAll() {
  for (const place of drawn.keys()) {
    if (place.isConnected) draw(place);
    else drawn.delete(place);
  }
}

new MutationObserver(drawAll).observe(document.documentElement, { attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
