// Models: asking every process to compare its gallery with the database, or to load it anew.
import { send } from "./api.js";
import { t } from "./i18n.js";
import { reloadParts } from "./parts.js";
import { busy, confirmed, toast } from "./ui.js";

const POLL_MS = 2000;
const PATIENCE_MS = 120000;

const said = document.getElementById("replicas-said");

for (const button of document.querySelectorAll("[data-ask]")) {
  button.addEventListener("click", () => busy(button, () => ask(button.dataset.ask)));
}

async function ask(what) {
  if (what === "rebuild" && !(await confirmedRebuild())) return;
  await send("POST", `/v1/gallery/${what}`);
  await untilDone();
}

function confirmedRebuild() {
  return confirmed({
    title: t("Load the gallery anew?"),
    text: t("Every process reads all templates from the database and swaps them in. Searches go on meanwhile; a large gallery takes a minute."),
    action: t("Load anew"),
    danger: false,
  });
}

/** Shows how the processes come along until none has anything left to do. */
async function untilDone() {
  const end = Date.now() + PATIENCE_MS;
  await reloadParts("#replicas");
  while (isPending() && Date.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    await reloadParts("#replicas", location.href, { background: true });
  }
  const words = isPending() ? t("Some process has not answered yet. Look again in a while.") : t("Done: every process has answered.");
  said.textContent = words;
  toast(words, isPending() ? "" : "good");
}

function isPending() {
  return document.querySelector('#replicas [data-pending="yes"]') !== null;
}
