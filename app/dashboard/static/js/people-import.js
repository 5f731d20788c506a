// Importing people: one file, and what became of each of its rows.
import { newKey, upload } from "./api.js";
import { dropPlace } from "./drop.js";
import { fieldWords } from "./field-errors.js";
import { t } from "./i18n.js";
import { make, onSubmit } from "./ui.js";
import { say } from "./words.js";

const SHOWN_AT_ONCE = 200;
const KINDS = { created: "good", updated: "accent", unchanged: "", refused: "bad" };
const form = document.getElementById("import-form");
const bar = document.getElementById("import-progress");
const place = document.getElementById("import-result");
let file = null;
let key = null;

dropPlace(document.getElementById("import-drop"), ([chosen]) => {
  file = chosen;
  key = newKey();
  document.getElementById("import-name").textContent = chosen.name;
  form.querySelector('[type="submit"]').disabled = false;
  place.replaceChildren();
});
form.querySelector('input[type="file"]').required = false; // what was dropped is not in it

onSubmit(form, async () => {
  const body = new FormData();
  body.append("file", file);
  bar.hidden = false;
  try {
    const answer = await upload("/v1/people/import", body, { key, onProgress: (share) => (bar.value = share) });
    show(answer.body, (await file.text()).split(/\r\n|\n|\r/));
  } finally {
    bar.hidden = true;
    bar.value = 0;
  }
});

function show(result, lines) {
  const rows = [
    ...result.errors.map((error) => ({ line: error.line, outcome: "refused", error })),
    ...Object.entries(result.lines).flatMap(([outcome, numbers]) => numbers.map((line) => ({ line, outcome }))),
  ].sort((a, b) => a.line - b.line);
  const counts = { created: result.created, updated: result.updated, unchanged: result.unchanged, refused: result.errors.length };
  place.replaceChildren(
    make("h2", {}, t("What became of the rows")),
    make("div", { class: "figures" }, ...Object.entries(counts).map(([outcome, n]) => figure(outcome, n))),
    rows.length ? table(rows, lines) : make("p", { class: "notice warn" }, t("The file has no rows.")),
    make("p", { class: "row" }, make("a", { class: "button primary", href: "/people" }, t("To the people"))),
  );
  place.querySelector("h2").scrollIntoView({ block: "nearest" });
}

function figure(outcome, n) {
  const kind = n ? KINDS[outcome] : "";
  return make("div", { class: `figure ${kind}` }, make("span", { class: "figure-label" }, say("outcome", outcome)), make("span", { class: "figure-value" }, String(n)));
}

function table(rows, lines) {
  const body = make("tbody");
  const more = make("button", { class: "button", type: "button" }, t("Show more"));
  const foot = make("div", { class: "row center inset" }, more);
  const heads = [t("Line"), t("What it says"), t("Result"), t("Why")];
  const add = () => {
    const shown = body.children.length;
    body.append(...rows.slice(shown, shown + SHOWN_AT_ONCE).map((row) => tableRow(row, lines, heads)));
    foot.hidden = body.children.length >= rows.length;
  };
  more.addEventListener("click", add);
  add();
  const head = make("thead", {}, make("tr", {}, ...heads.map((title) => make("th", {}, title))));
  return make("div", { class: "card table-card" }, make("table", { class: "table" }, head, body), foot);
}

function tableRow({ line, outcome, error }, lines, [inLine, says, result, why]) {
  const reason = error ? reasonOf(error) : "–";
  return make(
    "tr",
    { class: "import-row" },
    make("td", { "data-label": inLine, class: "number" }, String(line)),
    make("td", { "data-label": says }, make("code", {}, lines[line - 1] ?? "")),
    make("td", { "data-label": result }, make("span", { class: `badge ${KINDS[outcome]}` }, say("outcome", outcome))),
    make("td", { "data-label": why }, reason),
  );
}

/** What is wrong with each cell: the detail is `column: words; column: words`, of which the words may be translated. */
function reasonOf({ code, detail }) {
  if (code !== "fields_invalid") return say("import", code);
  const cells = detail.split("; ").map((cell) => {
    const [column, ...words] = cell.split(": ");
    return `${column}: ${fieldWords(words.join(": "))}`;
  });
  return [say("import", code), ...cells].join(" ");
}
