// One person's page: everything but enrolling. Parts are rendered anew after a change, so clicks are heard on the page.
import { send, sendOnce } from "./api.js";
import { openDialog } from "./dialogs.js";
import { language, t } from "./i18n.js";
import { reloadParts } from "./parts.js";
import { changesOf } from "./person-form.js";
import { moment } from "./time.js";
import { busy, confirmed, make, onSubmit, toast } from "./ui.js";

const PIN_DIGITS = 6;
const POLL_MS = 4000;
const page = document.getElementById("person");
const { id, code, name } = page.dataset;
const path = `/v1/people/${id}`;

const CLICKS = {
  open: (button) => openDialog(document.getElementById(button.dataset.open)),
  setActive: (button) => busy(button, () => setActive(button.dataset.setActive === "true")),
  removeEnrolment: (button) => removeEnrolment(button),
  removeCredential: (button) => removeCredential(button),
  removeRoster: (button) => busy(button, () => removeRoster(button.dataset.removeRoster)),
  makePin: (button) => makePin(button),
  erase: (button) => erase(button),
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  const action = button && Object.keys(CLICKS).find((each) => each in button.dataset);
  if (action) CLICKS[action](button);
});

function onDialog(dialogId, work) {
  const dialog = document.getElementById(dialogId);
  if (!dialog) return;
  onSubmit(dialog.querySelector("form"), async (values, form) => {
    if (!form.reportValidity()) return;
    await work(values, form);
    location.reload();
  });
}

onDialog("edit-person", async (values, form) => {
  const changes = changesOf(values, form);
  if (Object.keys(changes).length) await send("PATCH", path, changes);
});
onDialog("set-pin", ({ pin }) => send("PUT", `${path}/pin`, { pin }));
onDialog("set-badge", ({ badge }) => send("PUT", `${path}/badge`, { badge }));
onDialog("give-consent", ({ method }) =>
  send("PATCH", path, { consent: { given_at: new Date().toISOString(), method } }),
);
onDialog("withdraw-consent", async (values) => {
  await send("PATCH", path, { consent: null });
  if (values.with_templates) await removeAllTemplates();
});
onDialog("add-roster", (values) => sendOnce("/v1/roster", { person_id: id, ...values }));

/** Deletes every enrolment that has templates left; the page may list only the latest of them. */
async function removeAllTemplates() {
  const listed = document.getElementById("templates").dataset.enrolments.split(" ").filter(Boolean);
  for (const enrolment of listed) {
    await send("DELETE", `/v1/enrolments/${enrolment}`).catch((problem) => {
      if (problem.status !== 404) throw problem; // somebody else has deleted it
    });
  }
}

async function setActive(active) {
  await send("PATCH", path, { active });
  location.reload();
}

async function removeEnrolment(button) {
  const n = Number(button.dataset.n);
  const text = n
    ? t("Its templates ({n}) are deleted, and the person is recognised by what is left.", { n })
    : t("It has no templates; only this entry goes.");
  if (!(await confirmed({ title: t("Delete this enrolment?"), text, action: t("Delete") }))) return;
  await busy(button, async () => {
    await send("DELETE", `/v1/enrolments/${button.dataset.removeEnrolment}`);
    await reloadParts("[data-part]");
    toast(t("The enrolment was deleted."), "good");
  });
}

async function removeCredential(button) {
  const kind = button.dataset.removeCredential;
  const title = kind === "pin" ? t("Remove the PIN?") : t("Remove the badge?");
  if (!(await confirmed({ title, text: t("It cannot be used from now on."), action: t("Remove") }))) return;
  await busy(button, async () => {
    await send("DELETE", `${path}/${kind}`);
    await reloadParts("[data-part]");
  });
}

async function removeRoster(entry) {
  await send("DELETE", `/v1/roster/${entry}`);
  await reloadParts("[data-part]");
}

function makePin(button) {
  const digits = crypto.getRandomValues(new Uint32Array(PIN_DIGITS));
  button.closest("form").elements.pin.value = Array.from(digits, (digit) => digit % 10).join("");
}

async function erase(button) {
  const text = t("The name, all templates and all pictures of the face are deleted at once, for good. Past events stay without saying who it was.");
  const title = t("Erase {name}?", { name });
  if (!(await confirmed({ title, text, action: t("Erase"), word: code }))) return;
  const receipt = await busy(button, () => send("DELETE", path));
  if (receipt) showReceipt(receipt);
}

function showReceipt(receipt) {
  const facts = [
    [t("Erased at"), moment(new Date().toISOString())],
    [t("Id of the person"), make("code", {}, receipt.person_id)],
    [t("Templates deleted"), receipt.templates_deleted],
    [t("Pictures of the face deleted"), receipt.crops_deleted],
    [t("Events that name nobody any more"), receipt.events_anonymised],
    [t("Revision of the gallery"), receipt.gallery_revision],
  ];
  const list = make("dl", { class: "facts" }, ...facts.flatMap(([term, value]) => [make("dt", {}, term), make("dd", {}, shown(value))]));
  const title = make("h2", { tabindex: "-1" }, t("Receipt of an erasure"));
  const card = make(
    "section",
    { class: "card stack receipt", "aria-label": t("Receipt of an erasure") },
    title,
    make("p", {}, t("The person was erased. Keep this receipt: their id is all that is left, and it names nobody.")),
    list,
    make(
      "p",
      { class: "row no-print" },
      make("button", { class: "button primary", type: "button", onclick: () => window.print() }, t("Print")),
      make("a", { class: "button", href: "/people" }, t("To the people")),
    ),
  );
  document.querySelector(".page-head").remove(); // it still says the name
  document.title = "Rollcall";
  page.parentElement.querySelectorAll("dialog").forEach((dialog) => dialog.remove());
  page.replaceWith(card);
  history.replaceState(null, "", "/people");
  title.focus();
}

function shown(value) {
  return typeof value === "number" ? new Intl.NumberFormat(language).format(value) : value;
}

/** Enrolments that a job still reads: only their list is looked after until one is over, so that the rest keeps its focus. */
async function watchUnfinished() {
  const before = unfinished();
  if (!before || document.hidden || document.querySelector("dialog[open]")) return;
  const list = document.getElementById("enrolments");
  if (list.contains(document.activeElement)) return;
  await reloadParts("#enrolments", location.href, { background: true });
  if (unfinished() < before) await reloadParts("#templates, #person-lead, #person-aside", location.href, { background: true });
}

function unfinished() {
  return document.querySelectorAll("[data-unfinished]").length;
}
setInterval(() => watchUnfinished().catch(() => {}), POLL_MS);
