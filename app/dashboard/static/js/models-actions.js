// What administrators do with models: use one, go back, throw one away, train a new one, measure another network.
import { get, send, sendOnce } from "./api.js";
import { openDialog } from "./dialogs.js";
import { language, t } from "./i18n.js";
import { showCurves } from "./models-curves.js";
import { followAll, showWork } from "./models-work.js";
import { reloadParts } from "./parts.js";
import { reloadSaying } from "./said-later.js";
import { busy, confirmed, make, onSubmit, toast } from "./ui.js";

const count = new Intl.NumberFormat(language);
const dialog = document.getElementById("promote-dialog");
const actions = { promote: openPromotion, rollback: rollBack, discard };

let wanted = null; // the model that the dialog is about

document.addEventListener("click", (event) => {
  for (const [name, act] of Object.entries(actions)) {
    const button = event.target.closest(`[data-${name}]`);
    if (button) busy(button, () => act(button.dataset));
  }
});
// Of a `details`, this does not bubble.
document.addEventListener("toggle", ({ target }) => target.open && target.dataset.curves && drawKept(target), true);

if (dialog) {
  const form = dialog.querySelector("form");
  onSubmit(form, async () => {
    await sendOnce(`/v1/models/${wanted.id}/promote`, asked(form));
    dialog.close();
    await showAndGoTo();
  });
  onSubmit(document.getElementById("train"), async ({ strategy, policy }) => {
    await sendOnce("/v1/retrain", { strategy, policy });
    await showAndGoTo();
  });
  onSubmit(document.getElementById("measure"), async ({ backbone }) => {
    await sendOnce("/v1/models", { backbone });
    await showAndGoTo();
  });
}
followAll();

async function showAndGoTo() {
  await showWork();
  document.getElementById("model-work").scrollIntoView({ behavior: "smooth", block: "center" });
}

function drawKept(details) {
  return showCurves(details.querySelector(".curves"), JSON.parse(details.dataset.curves)).catch(() => null);
}

/** Asks what a promotion would find, and opens the dialog that says so. */
async function openPromotion({ promote: id }) {
  wanted = await get(`/v1/models/${id}`);
  const form = dialog.querySelector("form");
  const isRefused = wanted.status === "refused";
  form.reset();
  document.getElementById("promote-title").textContent = t("Use {model}?", { model: wanted.model });
  document.getElementById("readiness").replaceChildren(...readinessWords(wanted.readiness), ...(isRefused ? [refusal(wanted)] : []));
  offer("accept-missing", wanted.readiness.n_people_to_enrol_again > 0);
  offer("even-if", isRefused);
  form.elements.reason.required = isRefused;
  openDialog(dialog);
}

/** A box that has to be ticked where it is shown. */
function offer(id, isNeeded) {
  const box = document.getElementById(id);
  box.hidden = !isNeeded;
  box.querySelector("input").required = isNeeded;
}

function asked(form) {
  const { accept_missing: missing, even_if_not_better: worse, reason } = form.elements;
  const broken = [missing, worse, reason].find((input) => !input.checkValidity());
  if (broken) {
    broken.focus();
    throw new Error(broken === reason ? t("Say why: it is for the record.") : t("Tick the box first if this is what you want."));
  }
  return { accept_missing: missing.checked, even_if_not_better: worse.checked, reason: reason.value.trim() || null };
}

function readinessWords(readiness) {
  const values = {
    all: count.format(readiness.n_templates),
    ready: count.format(readiness.n_embedded),
    kept: count.format(readiness.n_missing_with_crop),
    lost: count.format(readiness.n_missing_without_crop),
  };
  const said = [
    t("It takes over once it has embedded everybody and has a threshold of its own. Recognition goes on meanwhile, and you can go back within a second."),
    t("{ready} of {all} templates are embedded by it already; {kept} more will be, from what is kept.", values),
  ];
  if (readiness.n_missing_without_crop) said.push(t("{lost} templates have no picture that is kept, so that it cannot know them.", values));
  return [...said.map((each) => make("p", {}, each)), ...peopleToEnrol(readiness)];
}

function peopleToEnrol({ n_people_to_enrol_again: n, people_to_enrol_again: people }) {
  if (!n) return [];
  const items = people.map((each) => make("li", {}, make("a", { href: `/people/${each.id}` }, each.name), ` (${each.employee_code})`));
  const rest = n > people.length ? [make("li", {}, t("and {n} more", { n: count.format(n - people.length) }))] : [];
  return [
    make("p", { class: "notice warn" }, t("People who would have to enrol again, and are not recognised until then: {n}", { n: count.format(n) })),
    make("ul", { class: "who-again", tabindex: "0", "aria-label": t("People who would have to enrol again") }, ...items, ...rest),
  ];
}

function refusal({ reason }) {
  const why = reason ? make("span", { lang: "en" }, reason) : t("Nobody has measured it.");
  return make("p", { class: "notice warn" }, t("It was not measured to be better:"), " ", why);
}

async function rollBack({ rollback: id, name }) {
  const isSure = await confirmed({
    title: t("Go back to {model}?", { model: name }),
    text: t("It is in use on every process within about a second, with its own threshold. The model in use now is kept ready in its turn, so you can undo this."),
    action: t("Go back"),
    danger: false,
  });
  if (!isSure) return;
  const { model } = await sendOnce(`/v1/models/${id}/rollback`, {});
  reloadSaying(t("{model} is in use again.", { model }));
}

async function discard({ discard: id, name }) {
  const isSure = await confirmed({
    title: t("Discard {model}?", { model: name }),
    text: t("Its weights and everything that it has embedded are deleted, and cannot be brought back. The model in use is not touched."),
    action: t("Discard"),
  });
  if (!isSure) return;
  await send("DELETE", `/v1/models/${id}`);
  toast(t("{model} is gone.", { model: name }), "good");
  await reloadParts("#other-models");
}
