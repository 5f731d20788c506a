// One event: whether the decision was right, and what else is wrong about it. The page is loaded anew with what follows.
import { send, sendOnce } from "./api.js";
import { openDialog } from "./dialogs.js";
import { t } from "./i18n.js";
import { PersonPicker } from "./person-picker.js";
import { reloadSaying } from "./said-later.js";
import { busy, onSubmit } from "./ui.js";

const event = document.getElementById("event").dataset;

function judge(body) {
  return sendOnce(`/v1/events/${event.id}/feedback`, body);
}

function dialogOf(id) {
  const dialog = document.getElementById(id);
  const form = dialog.querySelector("form");
  return { dialog, form, picker: new PersonPicker(form.elements.person) };
}

const right = document.querySelector("[data-right]");
right?.addEventListener("click", () =>
  busy(right, async () => {
    await judge({ correct: true });
    reloadSaying(t("Noted: this was right. It counts when the threshold is tuned."));
  }),
);

const wrong = dialogOf("wrong-dialog");
document.querySelector("[data-wrong]")?.addEventListener("click", () => openDialog(wrong.dialog));
wrong.form.elements.nobody?.addEventListener("change", ({ target }) => {
  wrong.form.elements.person.disabled = target.checked;
});
onSubmit(wrong.form, async ({ nobody }) => {
  if (!nobody && !wrong.picker.person) {
    throw new Error(
      wrong.form.elements.nobody
        ? t("Choose a person from the list, or say that it was nobody we know.")
        : t("Choose a person from the list."),
    );
  }
  await judge({ correct: false, ...(nobody ? {} : { person_id: wrong.picker.person.id }) });
  reloadSaying(t("Noted, and the event was corrected."));
});

const correcting = dialogOf("correct-dialog");
document.getElementById("correct").addEventListener("click", () => {
  const { direction, deleted, reason } = correcting.form.elements;
  correcting.picker.clear();
  [direction.value, deleted.checked, reason.value] = [event.direction, event.deleted === "true", ""];
  openDialog(correcting.dialog);
});
onSubmit(correcting.form, async ({ direction, deleted, person, reason }) => {
  const changes = {};
  if (direction !== event.direction) changes.direction = direction || null;
  if (Boolean(deleted) !== (event.deleted === "true")) changes.is_deleted = Boolean(deleted);
  const chosen = correcting.picker.person;
  if (person && !chosen) throw new Error(t("Choose a person from the list."));
  if (chosen && chosen.id !== event.person) changes.person_id = chosen.id;
  if (!Object.keys(changes).length) throw new Error(t("Nothing is different yet: change the direction or the person, or delete the event."));
  await send("PATCH", `/v1/events/${event.id}`, { ...changes, reason });
  reloadSaying(t("The event was corrected, and the day worked out anew."));
});
