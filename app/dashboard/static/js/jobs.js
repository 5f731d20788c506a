// Jobs: progress moves while something runs; what is over is shown as the service shows it.
import { get, send } from "./api.js";
import { t } from "./i18n.js";
import { reloadParts } from "./parts.js";
import { busy, confirmed, toast } from "./ui.js";

const POLL_MS = 2000;
const HIDDEN_POLL_MS = 15000;
const OPEN = ["queued", "running"];

const said = document.getElementById("jobs-said");

document.addEventListener("click", (event) => {
  const button = event.target.closest("#jobs [data-cancel]");
  if (button) busy(button, () => cancel(button.dataset.cancel));
});

/** Those of the shown jobs that are not over. */
function open() {
  return [...document.querySelectorAll("#jobs [data-job]")].filter((row) => OPEN.includes(row.dataset.status));
}

async function cancel(id) {
  const isSure = await confirmed({
    title: t("Cancel this job?"),
    text: t("What it has done so far is dropped. A video has to be sent again."),
    action: t("Cancel the job"),
  });
  if (!isSure) return;
  try {
    await send("POST", `/v1/jobs/${id}/cancel`);
  } catch (problem) {
    if (problem.code !== "job_finished") throw problem;
    toast(t("It was over already."));
  }
  await refresh();
}

async function poll() {
  const query = Object.fromEntries(new URLSearchParams(location.search));
  const { items } = await get("/v1/jobs", query, { background: true });
  const jobs = new Map(items.map((job) => [job.id, job]));
  const isAnyOther = open().some((row) => jobs.get(row.dataset.job)?.status !== row.dataset.status);
  if (isAnyOther) await refresh({ background: true });
  else open().forEach((row) => showProgress(row, jobs.get(row.dataset.job)));
}

function showProgress(row, job) {
  const bar = row.querySelector("[data-progress]");
  if (bar) bar.value = job.progress;
  const waiting = job.status === "queued" ? t("Waits for a worker") : "";
  row.querySelector("[data-message]").textContent = job.message ? t(job.message) : waiting;
}

/** Puts what the service shows now in the place of what it showed. */
async function refresh({ background = false } = {}) {
  await reloadParts("#workload, #jobs", location.href, { background });
  const n = open().length;
  said.textContent = n ? t("{n} jobs are not over.", { n }) : t("All jobs shown are over.");
}

async function watch() {
  while (open().length) {
    await new Promise((resolve) => setTimeout(resolve, document.hidden ? HIDDEN_POLL_MS : POLL_MS));
    try {
      await poll();
    } catch {
      // The service may be starting again: the next look tells.
    }
  }
}

watch();
