// Webhooks: adding, testing, and sending again.
import { send, sendOnce } from "./api.js";
import "./dialogs.js";
import { t } from "./i18n.js";
import { reloadSaying } from "./said-later.js";
import { showSecrets } from "./secret.js";
import { busy, confirmed, make, onSubmit } from "./ui.js";
import { troubleInWords } from "./webhook-words.js";

const id = document.getElementById("webhook")?.dataset.id;
const here = id && `/v1/webhooks/${id}`;

for (const element of document.querySelectorAll("[data-trouble]")) {
  const { trouble, status } = element.dataset;
  element.replaceChildren(troubleInWords(Number(status) || null, trouble), make("br"), make("small", {}, trouble));
}

const adding = document.getElementById("webhook-form");
if (adding) {
  onSubmit(adding, async ({ url }) => {
    const webhook = await sendOnce("/v1/webhooks", { url, topics: topicsOf(adding) });
    document.getElementById("webhook-dialog").close();
    const path = `/settings/webhooks/${webhook.id}`;
    if (!webhook.secret) return reloadSaying(t("The webhook was added, but its secret was lost on its way here: make a new one."), path);
    await showSecret(webhook.secret);
    return location.assign(path);
  });
}

const editing = document.getElementById("edit-form");
if (editing) {
  onSubmit(editing, async ({ url }) => {
    await send("PATCH", here, { url, topics: topicsOf(editing) });
    reloadSaying(t("The webhook was changed."));
  });
}

const replaying = document.getElementById("replay-form");
if (replaying) {
  const since = replaying.elements.since;
  const ask = () => {
    const isAll = replaying.elements.which.value === "all";
    since.closest(".field").hidden = !isAll;
    since.required = isAll;
  };
  replaying.addEventListener("change", ask);
  replaying.addEventListener("rollcall:opened", ask);
  onSubmit(replaying, async ({ which }) => {
    const wanted = which === "all" ? { since: new Date(since.value).toISOString() } : { status: "dead" };
    const { n_replayed: n } = await send("POST", `${here}/replay`, wanted);
    reloadSaying(n ? t("Messages that are sent again: {n}.", { n }) : t("There was nothing to send again."));
  });
}

on("test", async () => {
  const result = await send("POST", `${here}/test`);
  const values = { status: result.status, ms: Math.round(result.took_ms) };
  const words = result.is_delivered
    ? t("The test arrived: answer {status} after {ms} ms.", values)
    : `${t("The test did not arrive.")} ${troubleInWords(result.status, result.error)} (${result.error})`;
  const kind = result.is_delivered ? "good" : "bad";
  document.getElementById("test-result").replaceChildren(make("p", { class: `notice ${kind}` }, words));
});

on("rotate", async () => {
  const isSure = await confirmed({
    title: t("Make a new secret?"),
    text: t("From now on nothing is signed with the old one: give the new one to the receiver at once, or it refuses what comes."),
    action: t("Make a new secret"),
  });
  if (isSure) await showSecret((await send("POST", `${here}/rotate-secret`)).secret);
});

on("delete", async () => {
  const isSure = await confirmed({
    title: t("Delete this webhook?"),
    text: t("What waits for it is lost, and so is the list of what it was told."),
    action: t("Delete"),
  });
  if (!isSure) return;
  await send("DELETE", here);
  reloadSaying(t("The webhook was deleted."), "/settings/webhooks");
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-active], [data-replay]");
  if (!button) return;
  await busy(button, async () => {
    if (button.dataset.replay) {
      await send("POST", `${here}/deliveries/${button.dataset.replay}/replay`);
      reloadSaying(t("The message is sent again."));
    } else {
      const active = button.dataset.active === "true";
      await send("PATCH", here, { active });
      reloadSaying(active ? t("The webhook is on.") : t("The webhook is off; what comes is kept for it."));
    }
  });
});

function on(name, work) {
  const button = document.getElementById(name);
  button?.addEventListener("click", () => busy(button, work));
}

function topicsOf(form) {
  return [...form.querySelectorAll('[name="topic"]:checked')].map((box) => box.value);
}

/** Shows a secret until whoever sees it has kept it. */
function showSecret(secret) {
  const note = t("It is shown this once. Copy it into the system that is told, which checks with it that messages are ours.");
  return showSecrets(t("The signing secret"), note, [[t("The signing secret"), secret]]);
}
