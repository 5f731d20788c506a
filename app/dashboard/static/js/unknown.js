// Unknown faces: assign, dismiss, open again; by mouse, or by single keys through the whole queue.
import { get, isUncertain, send, sendOnce } from "./api.js";
import { openDialog } from "./dialogs.js";
import { t } from "./i18n.js";
import { PersonPicker } from "./person-picker.js";
import { reloadSaying } from "./said-later.js";
import { busy, forgiving, make, onSubmit, toast } from "./ui.js";

const KEYS = "rollcall_single_keys";
const list = document.getElementById("clusters");
const assigning = parts("assign-dialog");
const dismissing = parts("dismiss-dialog");
const picker = new PersonPicker(assigning.form.elements.person);
let current = null; // the stranger that a dialog is about
let unanswered = null; // the code of a new person whose assignment got no answer: it may be theirs by now

function parts(id) {
  const dialog = document.getElementById(id);
  return { dialog, form: dialog.querySelector("form") };
}

// Which stranger comes next.

function cards() {
  return [...(list?.querySelectorAll("[data-cluster]:not(.is-leaving)") ?? [])];
}

function focused() {
  return document.activeElement?.closest("[data-cluster]") ?? null;
}

function step(by) {
  const all = cards();
  const place = all.indexOf(focused());
  const next = all[place < 0 ? 0 : Math.min(Math.max(place + by, 0), all.length - 1)];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

/** The stranger is decided about: on to the next one, or back to the queue. */
function leave(cluster, words) {
  if (!list) return reloadSaying(words, "/unknown");
  toast(words, "good");
  const all = cards();
  const place = all.indexOf(cluster);
  cluster.classList.add("is-leaving");
  (all[place + 1] ?? all[place - 1])?.focus();
  setTimeout(() => (cards().length ? cluster.remove() : location.reload()), 250);
}

// Assigning.

function openAssign(cluster, kind, person = null) {
  current = cluster;
  assigning.form.reset();
  assigning.form.querySelector("[data-problem-place]").replaceChildren();
  assigning.form.querySelector("[data-faces]").replaceChildren(
    ...[...cluster.querySelectorAll("img.face")].slice(0, 5).map(({ src }) => forgiving(make("img", { class: "face", src, alt: "" }))),
  );
  picker.choose(person);
  setKind(kind);
  openDialog(assigning.dialog);
  const { person: input, name, consent } = assigning.form.elements;
  (kind === "new" ? name : person ? consent : input).focus();
}

function setKind(kind) {
  assigning.form.elements.kind.value = kind;
  for (const part of assigning.form.querySelectorAll("[data-kind]")) part.hidden = part.dataset.kind !== kind;
}

for (const radio of assigning.form.querySelectorAll("[name=kind]")) {
  radio.addEventListener("change", () => setKind(radio.value));
}
assigning.form.elements.enroll.addEventListener("change", ({ target }) => {
  assigning.form.querySelector("[data-consent]").hidden = !target.checked;
});

async function wanted() {
  const { kind, name, employee_code: code, enroll, consent, correct_events: correct } = assigning.form.elements;
  const body = { enroll: enroll.checked, consent: enroll.checked && consent.checked, correct_events: correct.checked };
  if (kind.value === "known") {
    if (!picker.person) throw new Error(t("Choose somebody from the list, or say that it is a new person."));
    return { ...body, person_id: picker.person.id };
  }
  if (!name.value.trim() || !code.value.trim()) throw new Error(t("A new person needs a name and an employee code."));
  const owner = code.value.trim() === unanswered ? null : await personWithCode(code.value.trim());
  if (owner) throw new Error(t("{name} has this employee code. Choose them from the list, or use another code.", { name: owner.name }));
  return { ...body, employee_code: code.value.trim(), name: name.value.trim() };
}

async function personWithCode(code) {
  const { items } = await get("/v1/people", { query: code, limit: 100 });
  return items.find((person) => person.employee_code === code);
}

async function assign(body) {
  const done = await sendOnce(`/v1/unknowns/${current.dataset.cluster}/assign`, body);
  const department = body.employee_code && assigning.form.elements.department.value.trim();
  const trouble = department && (await giveDepartment(done.person, department));
  assigning.dialog.close();
  const n = done.n_events_corrected;
  const words = done.enrolment
    ? t("{name} is recognised from now on. Events that became theirs: {n}.", { name: done.person.name, n })
    : t("Assigned to {name}. Events that became theirs: {n}.", { name: done.person.name, n });
  leave(current, [words, trouble].filter(Boolean).join(" "));
}

/** They are assigned whether or not this works: returns what to say where it does not, and else null. */
async function giveDepartment({ id, name }, department) {
  try {
    await send("PATCH", `/v1/people/${id}`, { department });
    return null;
  } catch {
    return t("The department of {name} could not be kept. Add it on their page.", { name });
  }
}

/** What can be done about a refusal, as buttons; undefined where there is nothing but to read it. */
function ways(problem, body) {
  const person = problem.body?.person;
  if (problem.code === "duplicate_person" && person) {
    return [
      t("This face is already enrolled as {name}.", { name: person.name }),
      [t("Assign to {name}", { name: person.name }), { ...body, person_id: person.id, employee_code: undefined, name: undefined }],
      [t("They are two people: assign all the same"), { ...body, on_duplicate: "allow" }],
    ];
  }
  if (problem.code === "crops_not_good_enough") {
    return [
      t("None of these faces is good enough to recognise somebody by. Enrol them with photos instead."),
      [t("Assign without enrolling"), { ...body, enroll: false, consent: false }],
    ];
  }
  if (problem.code === "consent_missing") {
    return [
      t("No consent is recorded: ask them, and tick the box; or assign the faces without enrolling."),
      [t("Assign without enrolling"), { ...body, enroll: false, consent: false }],
    ];
  }
  return undefined;
}

function offer([words, ...choices]) {
  const buttons = choices.map(([label, body]) => {
    const button = make("button", { class: "button small", type: "button" }, label);
    button.addEventListener("click", () => busy(button, () => attempt(body)));
    return button;
  });
  const notice = make("div", { class: "notice warn stack", role: "alert" }, make("p", {}, words), make("div", { class: "row" }, ...buttons));
  assigning.form.querySelector("[data-problem-place]").replaceChildren(notice);
}

async function attempt(body) {
  try {
    await assign(body);
  } catch (problem) {
    unanswered = isUncertain(problem) ? body.employee_code : null;
    if (isTooLate(problem, assigning.dialog)) return;
    const choices = ways(problem, body);
    if (!choices) throw problem;
    offer(choices);
  }
}

onSubmit(assigning.form, async () => {
  assigning.form.querySelector("[data-problem-place]").replaceChildren();
  await attempt(await wanted());
});

/** Somebody else was faster, or the faces are gone: say so, and show how things are. */
function isTooLate(problem, dialog) {
  if (!["unknown_resolved", "unknown_not_dismissed", "unknown_not_found"].includes(problem.code)) return false;
  const words = problem.code === "unknown_not_found"
    ? t("These faces are kept no longer. The list is loaded anew.")
    : t("Somebody else has just decided about these faces. The list is loaded anew.");
  dialog?.close();
  toast(words, "bad");
  setTimeout(() => location.reload(), 2500);
  return true;
}

// Dismissing, and opening again.

function openDismiss(cluster) {
  current = cluster;
  dismissing.form.reset();
  openDialog(dismissing.dialog);
}

onSubmit(dismissing.form, async ({ reason }) => {
  try {
    await sendOnce(`/v1/unknowns/${current.dataset.cluster}/dismiss`, { reason: reason.trim() || null });
  } catch (problem) {
    if (isTooLate(problem, dismissing.dialog)) return;
    throw problem;
  }
  dismissing.dialog.close();
  leave(current, t("Dismissed. The same stranger is not asked about again."));
});

async function reopen(cluster) {
  try {
    await sendOnce(`/v1/unknowns/${cluster.dataset.cluster}/reopen`);
  } catch (problem) {
    if (!isTooLate(problem)) throw problem;
    return;
  }
  leave(cluster, t("Open again: it waits to be decided."));
}

// Buttons and keys.

function act(what, cluster, button) {
  if (what === "assign") openAssign(cluster, "known");
  else if (what === "new") openAssign(cluster, "new");
  else if (what === "dismiss") openDismiss(cluster);
  else if (what === "reopen") busy(button, () => reopen(cluster));
  else if (what === "likely") {
    const { person, name, code } = button.dataset;
    openAssign(cluster, "known", { id: person, name, employee_code: code });
  }
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-do]");
  if (button) act(button.dataset.do, button.closest("[data-cluster]"), button);
});

const BY_KEY = { a: "assign", n: "new", d: "dismiss", r: "reopen" };

function press(cluster, pressed) {
  if (pressed === "o") return location.assign(`/unknown/${cluster.dataset.cluster}`);
  const likely = cluster.querySelectorAll('[data-do="likely"]')[Number(pressed) - 1];
  return (likely ?? cluster.querySelector(`[data-do="${BY_KEY[pressed]}"]`))?.click();
}

const useKeys = document.getElementById("use-keys");
if (useKeys) {
  useKeys.checked = localStorage.getItem(KEYS) !== "off";
  useKeys.addEventListener("change", () => localStorage.setItem(KEYS, useKeys.checked ? "on" : "off"));
}

document.addEventListener("keydown", (event) => {
  const isElsewhere = event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]");
  if (isElsewhere || !useKeys?.checked || event.target.closest("input, select, textarea")) return;
  const pressed = event.key.toLowerCase();
  if (pressed === "j" || pressed === "k") step(pressed === "j" ? 1 : -1);
  else if (focused() && (pressed in BY_KEY || "o123".includes(pressed))) press(focused(), pressed);
  else return;
  event.preventDefault();
});
