// A day: corrections, events by hand, approval. Whatever is changed, the page is loaded anew with what the rules make of it.
import { send, sendOnce } from "./api.js";
import { openDialog } from "./dialogs.js";
import { t } from "./i18n.js";
import { PersonPicker } from "./person-picker.js";
import { reloadSaying } from "./said-later.js";
import { onSubmit } from "./ui.js";
import { momentOf, wallOf } from "./zones.js";

const day = document.getElementById("day").dataset;
const dialogs = Object.fromEntries(
  [...document.querySelectorAll("dialog")].map((dialog) => [dialog.id, { dialog, form: dialog.querySelector("form") }]),
);

// An event by hand.
for (const button of document.querySelectorAll('[data-open="add-dialog"]')) {
  button.addEventListener("click", () => {
    const { dialog, form } = dialogs["add-dialog"];
    form.reset();
    form.elements.occurred_at.value = `${day.day}T12:00:00`;
    openDialog(dialog);
  });
}
onSubmit(dialogs["add-dialog"].form, async ({ occurred_at, direction, reason }) => {
  const body = { person_id: day.person, occurred_at: momentOf(occurred_at, day.zone), direction: direction || null, reason };
  await sendOnce("/v1/events", body);
  reloadSaying(t("The event was added, and the day worked out anew."));
});

// A correction: only what differs is sent.
const correcting = dialogs["correct-dialog"];
const picker = new PersonPicker(correcting.form.elements.person, () => (correcting.form.elements.nobody.checked = false));
let event = null;

correcting.form.elements.nobody.addEventListener("change", ({ target }) => {
  correcting.form.elements.person.disabled = target.checked;
});
for (const button of document.querySelectorAll("[data-correct]")) {
  button.addEventListener("click", () => {
    event = { id: button.dataset.correct, wall: wallOf(button.dataset.at, day.zone), direction: button.dataset.direction };
    const { occurred_at, direction, reason, nobody, person } = correcting.form.elements;
    [occurred_at.value, direction.value, reason.value, nobody.checked, person.disabled] = [event.wall, event.direction, "", false, false];
    person.value = person.defaultValue;
    picker.person = { id: day.person };
    openDialog(correcting.dialog);
  });
}
onSubmit(correcting.form, async ({ occurred_at, direction, nobody, reason }) => {
  const changes = {};
  if (seconds(occurred_at) !== event.wall) changes.occurred_at = momentOf(occurred_at, day.zone);
  if (direction !== event.direction) changes.direction = direction || null;
  if (nobody) changes.person_id = null;
  else if (!picker.person) throw new Error(t("Choose a person from the list, or say that it was nobody we know."));
  else if (picker.person.id !== day.person) changes.person_id = picker.person.id;
  if (!Object.keys(changes).length) throw new Error(t("Nothing is different yet: change the time, the direction or the person."));
  await send("PATCH", `/v1/events/${event.id}`, { ...changes, reason });
  if (changes.person_id) reloadSaying(t("The event is {name}'s now. Both days were worked out anew.", { name: picker.person.name }));
  else reloadSaying(t("The event was corrected, and the day worked out anew."));
});

function seconds(wall) {
  return wall.length === 16 ? `${wall}:00` : wall;
}

// Deleting and restoring need nothing but a reason.
const giving = dialogs["reason-dialog"];
let wanted = null;

function ask(words, eventId, isDeleted, done) {
  wanted = { eventId, isDeleted, done };
  giving.form.reset();
  document.getElementById("reason-title").textContent = words.title;
  document.getElementById("reason-text").textContent = words.text;
  giving.form.querySelector("[type=submit]").textContent = words.action;
  openDialog(giving.dialog);
}

for (const button of document.querySelectorAll("[data-delete]")) {
  button.addEventListener("click", () => ask({
    title: t("Delete the event of {time}?", { time: button.dataset.clock }),
    text: t("It counts no more, and stays in the list so that it can be restored."),
    action: t("Delete"),
  }, button.dataset.delete, true, t("The event was deleted, and the day worked out anew.")));
}
for (const button of document.querySelectorAll("[data-restore]")) {
  button.addEventListener("click", () => ask({
    title: t("Restore the event of {time}?", { time: button.dataset.clock }),
    text: t("It counts again, and the day is worked out anew."),
    action: t("Restore"),
  }, button.dataset.restore, false, t("The event was restored, and the day worked out anew.")));
}
onSubmit(giving.form, async ({ reason }) => {
  await send("PATCH", `/v1/events/${wanted.eventId}`, { is_deleted: wanted.isDeleted, reason });
  reloadSaying(wanted.done);
});

const approval = document.getElementById("approve-form");
if (approval) {
  onSubmit(approval, async ({ note }) => {
    await sendOnce(`/v1/days/${day.person}/${day.day}/approve`, { note: note.trim() || null });
    reloadSaying(t("The day was approved."));
  });
}
