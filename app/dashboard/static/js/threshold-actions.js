// Buttons beside the chart: calculate anew, accept, restore, forget, remove. Each loads the page anew when it is done.
import { get, newKey, send } from "./api.js";
import { t } from "./i18n.js";
import { busy, confirmed, toast } from "./ui.js";
import { reloadSaying } from "./said-later.js";

const POLL_MS = 2000;
const PATIENCE_MS = 300000;

const calibrating = document.getElementById("calibrating");

function onEach(selector, work) {
  for (const button of document.querySelectorAll(selector)) button.addEventListener("click", () => busy(button, () => work(button)));
}

onEach("#recalibrate", async () => {
  const before = await inForce();
  const answer = await send("POST", "/v1/threshold/recalibrate", null, { key: newKey() });
  const isOver = answer.status !== "queued" || (await until((now) => !isSame(now, before)));
  if (!isOver) return toast(t("The calculation has brought nothing yet. The threshold in force stays; look again in a while, or start it again."));
  reloadSaying(t("The threshold was calculated anew."));
});

onEach("#accept", async (button) => {
  await send("PUT", "/v1/threshold", { mode: "auto", target_fpir: Number(button.dataset.target), reason: t("The suggestion was accepted") });
  reloadSaying(t("The suggestion is in force, and the threshold follows by itself from now on."));
});

onEach("[data-restore]", async ({ dataset }) => {
  const values = { threshold: dataset.threshold };
  const isSure = await confirmed({
    title: t("Restore {threshold}?", values),
    text: t("This threshold counts from the next face on. The mode becomes fixed: it stays until you change it."),
    action: t("Restore"),
    danger: false,
  });
  if (!isSure) return;
  await send("POST", `/v1/threshold/history/${dataset.restore}/restore`, {}, { key: newKey() });
  reloadSaying(t("The threshold is {threshold} from now on.", values));
});

onEach("[data-forget]", async ({ dataset }) => {
  const isSure = await confirmed({
    title: t("Forget the complaints?"),
    text: t("What was said of these two people counts no more: each is named with an ordinary lead again, unless they look alike."),
    action: t("Forget"),
  });
  if (!isSure) return;
  await send("DELETE", `/v1/threshold/look-alikes/${dataset.forget}`);
  reloadSaying(t("The complaints are forgotten."));
});

onEach("[data-remove]", async ({ dataset }) => {
  const isSure = await confirmed({
    title: t("Remove this enrolment of {name}?", { name: dataset.name }),
    text: t("All templates of the same upload go with it, and cannot be brought back. Enrol the right photos afterwards."),
    action: t("Remove"),
  });
  if (!isSure) return;
  await send("DELETE", `/v1/enrolments/${dataset.remove}`);
  reloadSaying(t("The enrolment is removed."));
});

if (!calibrating.hidden) follow();

/** One that runs already. What somebody tries on this page meanwhile is not taken from them. */
async function follow() {
  if (await until((now) => !now.is_calibrating)) toast(t("The calculation is over. Load this page anew to see what it has found."), "good");
}

function inForce() {
  return get("/v1/threshold", {}, { background: true });
}

function isSame(one, other) {
  return one.id === other.id && one.suggestion?.id === other.suggestion?.id;
}

/** Asks while a calibration runs in the background, as long as a large one takes; whether it came to that. */
async function until(isSo) {
  calibrating.hidden = false;
  const end = Date.now() + PATIENCE_MS;
  let isThere = false;
  while (!isThere && Date.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    const now = await inForce().catch(() => null); // away for a moment
    isThere = now !== null && isSo(now);
  }
  calibrating.hidden = true;
  return isThere;
}
