// Who works a shift: choosing people for it, and taking them off.
import { send, sendOnce } from "./api.js";
import "./dialogs.js";
import { fieldWords } from "./field-errors.js";
import { t } from "./i18n.js";
import { PersonPicker } from "./person-picker.js";
import { reloadSaying } from "./said-later.js";
import { busy, confirmed, icon, make, onSubmit } from "./ui.js";

const form = document.getElementById("assign-form");
const shown = document.getElementById("chosen");
const days = document.getElementById("assign-days");
const results = document.getElementById("assign-results");
const chosen = new Map();

const picker = new PersonPicker(document.getElementById("assign-search"), (person) => {
  if (!person) return;
  chosen.set(person.id, person);
  picker.clear();
  showChosen();
});

form.addEventListener("change", askForDays);
form.addEventListener("rollcall:opened", () => {
  chosen.clear();
  results.replaceChildren();
  showChosen();
  askForDays();
});

onSubmit(form, async (values) => {
  if (!chosen.size) return say(t("Choose at least one person."));
  const refused = [];
  for (const person of [...chosen.values()]) {
    try {
      await assign(person, values);
      chosen.delete(person.id);
    } catch (problem) {
      refused.push(`${person.name}: ${problem.errors?.map(({ msg }) => fieldWords(msg)).join(" ") || problem.message}`);
    }
  }
  if (!refused.length) return reloadSaying(t("They work this shift now."));
  showChosen();
  say(...refused);
  document.getElementById("assign-dialog").addEventListener("close", () => location.reload(), { once: true });
});

function assign(person, { kind, first_date, last_date }) {
  const shift_id = form.dataset.shiftId;
  if (kind === "standing") return send("PATCH", `/v1/people/${person.id}`, { shift_id });
  return sendOnce("/v1/roster", { person_id: person.id, shift_id, first_date, last_date });
}

function askForDays() {
  const isRoster = form.elements.kind.value === "roster";
  days.hidden = !isRoster;
  for (const input of days.querySelectorAll("input")) input.required = isRoster;
}

function showChosen() {
  shown.replaceChildren(
    ...[...chosen.values()].map((person) => {
      const remove = () => {
        chosen.delete(person.id);
        showChosen();
        picker.input.focus();
      };
      const label = t("Leave out {name}", { name: person.name });
      const button = make("button", { class: "chip-button", type: "button", "aria-label": label, onclick: remove }, icon("close"));
      return make("li", { class: "badge accent" }, person.name, button);
    }),
  );
}

function say(...lines) {
  results.replaceChildren(...lines.map((line) => make("p", { class: "notice bad" }, line)));
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-entry], [data-person]");
  if (!button) return;
  const isSure = await confirmed({
    title: t("Take {name} off this shift?", { name: button.dataset.name }),
    text: button.dataset.entry
      ? t("On these days their usual shift counts again. Past days are worked out anew.")
      : t("From today on nobody expects them at its hours. Days before today keep it."),
    action: t("Take off"),
  });
  if (!isSure) return;
  await busy(button, async () => {
    if (button.dataset.entry) await send("DELETE", `/v1/roster/${button.dataset.entry}`);
    else await send("PATCH", `/v1/people/${button.dataset.person}`, { shift_id: null });
    reloadSaying(t("{name} is off this shift.", { name: button.dataset.name }));
  });
});
