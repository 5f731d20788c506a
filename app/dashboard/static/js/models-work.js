// Work on models that is not over: how far it is, how a training goes, and what came of it.
import { get, send } from "./api.js";
import { t } from "./i18n.js";
import { showCurves } from "./models-curves.js";
import { reloadParts } from "./parts.js";
import { busy, confirmed, make, toast } from "./ui.js";

const POLL_MS = 1500;
const HIDDEN_POLL_MS = 15000;
const OPEN = ["queued", "running"];
const NAMES = ["a", "b", "c", "d"]; // of the numbers in what a job says of itself
const followed = new Set();

document.addEventListener("click", (event) => {
  const button = event.target.closest("#model-work [data-cancel]");
  if (button) busy(button, () => cancel(button.dataset.cancel));
});

/** Shows all work that there is now, and follows what is new. */
export async function showWork() {
  await reloadParts("#model-work");
  followAll();
}

export function followAll() {
  for (const card of document.querySelectorAll("#model-work [data-work]")) follow(card.dataset.work, card.dataset.kind);
}

async function follow(id, kind) {
  if (followed.has(id)) return;
  followed.add(id);
  let job = null;
  do {
    try {
      job = await look(id, kind);
    } catch {
      // The service may be starting again: the next look tells.
    }
    if (job && !OPEN.includes(job.status)) return tellEnd(id, job);
    await new Promise((resolve) => setTimeout(resolve, document.hidden ? HIDDEN_POLL_MS : POLL_MS));
  } while (cardOf(id));
  followed.delete(id);
}

/** The job as it is now, after its card shows it. */
async function look(id, kind) {
  const isTraining = kind === "retrain";
  const answer = await get(`/v1/${isTraining ? "retrain" : "jobs"}/${id}`, {}, { background: true });
  const job = isTraining ? answer.job ?? { id, status: "done", progress: 1 } : answer;
  const card = cardOf(id);
  if (!card) return job;
  card.querySelector("progress").value = job.progress;
  card.querySelector("[data-message]").textContent = words(job);
  if (isTraining) showCurves(card.querySelector(".curves"), answer.curves).catch(() => null); // the sentence is there
  return job;
}

/** What a job says of itself, in the page's language: the catalogue has letters where the numbers are. */
function words({ status, message }) {
  if (!message) return status === "queued" ? t("Waits for a worker") : "";
  const values = {};
  const pattern = message.replace(/\d+/g, (number) => {
    const name = NAMES[Object.keys(values).length] ?? "e";
    values[name] = number;
    return `{${name}}`;
  });
  return Object.keys(values).length > NAMES.length ? message : t(pattern, values);
}

async function tellEnd(id, job) {
  const [kind, ...said] = ending(job);
  const card = cardOf(id);
  card?.querySelector("progress").remove();
  card?.querySelector("[data-message]").closest("p").remove();
  card?.querySelector("[data-cancel]")?.remove();
  card?.querySelector(".card-head").after(make("p", { class: `notice ${kind}`, role: "status" }, said.join(" ")));
  if (job.status === "done") await reloadParts("#in-use, #other-models, #other-networks", location.href, { background: true }).catch(() => null);
}

/** The kind of news, and the sentences. */
function ending({ status, kind, result, error }) {
  if (status === "cancelled") return ["", t("It was cancelled; nothing has changed.")];
  if (status === "failed") return ["bad", error ? t(error) : t("It failed, and the server's log says why.")];
  if (kind === "promote_model") return ["good", t("The model is in use. The one before is kept ready, to go back to it.")];
  const values = { model: result?.model ?? "" };
  const heldUp = result?.held_up_by ? [t("It could not be made ready:"), result.held_up_by] : [];
  if (result?.status === "champion") return ["good", t("{model} is better beyond chance, and is in use now.", values)];
  if (result?.status === "challenger") return ["good", t("{model} is better beyond chance. It is below, ready for you to use.", values), ...heldUp];
  if (result?.status === "refused") return ["warn", t("{model} was not measured to be better, so nothing changes. It is below, with the reason.", values)];
  return ["", t("It is over. What came of it is below.")];
}

async function cancel(id) {
  const isSure = await confirmed({
    title: t("Cancel this work?"),
    text: t("What it has done so far is dropped. The model in use stays."),
    action: t("Cancel the work"),
  });
  if (!isSure) return;
  try {
    await send("POST", `/v1/jobs/${id}/cancel`);
  } catch (problem) {
    if (problem.code !== "job_finished") throw problem;
    toast(t("It was over already."));
  }
}

function cardOf(id) {
  return document.querySelector(`#model-work [data-work="${id}"]`);
}
