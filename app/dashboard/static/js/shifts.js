// Adding and retiring shifts.
import { send, sendOnce } from "./api.js";
import "./dialogs.js";
import { t } from "./i18n.js";
import { reloadSaying } from "./said-later.js";
import { drawShift } from "./shift-bar.js";
import { busy, confirmed, icon, make, onSubmit } from "./ui.js";

const IN_MINUTES = ["grace_in_s", "grace_out_s", "half_day_below_s", "absent_below_s", "early_window_s", "late_window_s"];
const MOST_BREAKS = 10;

const form = document.getElementById("shift-form");
if (form) {
  const breaks = document.getElementById("breaks");
  const more = document.getElementById("add-break");
  more.addEventListener("click", () => addBreak(breaks, more));
  form.addEventListener("input", preview);
  form.addEventListener("rollcall:opened", () => {
    breaks.replaceChildren();
    more.disabled = false;
    preview();
  });
  // A field that is hidden cannot say what is wrong with it.
  form.addEventListener("invalid", (event) => event.target.closest("details")?.setAttribute("open", ""), true);
  onSubmit(form, async () => {
    const shift = await sendOnce("/v1/shifts", shiftOf(form));
    reloadSaying(t("The shift was added. Say now who works it."), `/settings/shifts/${shift.id}`);
  });
}

function preview() {
  const shift = shiftOf(form);
  const isWhole = shift.starts && shift.ends && shift.breaks.every((pause) => pause.starts && pause.ends);
  if (isWhole) drawShift(document.getElementById("shift-preview"), shift);
}

function shiftOf(given) {
  const { name, starts, ends, direction_rule } = Object.fromEntries(new FormData(given));
  const rules = Object.fromEntries(IN_MINUTES.map((field) => [field, Number(given.elements[field].value) * 60]));
  const days = [...given.querySelectorAll('[name="day"]:checked')].map((box) => Number(box.value));
  const breaks = [...given.querySelectorAll("[data-break]")].map((row) => {
    const [from, to] = row.querySelectorAll("input");
    return { starts: from.value, ends: to.value };
  });
  return { name, starts, ends, days, direction_rule, breaks, ...rules };
}

function addBreak(breaks, more) {
  const changed = () => {
    more.disabled = breaks.children.length >= MOST_BREAKS;
    preview();
  };
  const row = make("div", { class: "row", "data-break": true }, time(t("Break from"), "12:00"), time(t("Break to"), "12:30"));
  const remove = () => {
    row.remove();
    more.focus();
    changed();
  };
  row.append(make("button", { class: "icon-button", type: "button", "aria-label": t("Remove this break"), onclick: remove }, icon("trash")));
  breaks.append(row);
  row.querySelector("input").focus();
  changed();
}

function time(label, value) {
  return make("input", { type: "time", required: true, value, "aria-label": label });
}

const retire = document.getElementById("retire");
retire?.addEventListener("click", async () => {
  const isSure = await confirmed({
    title: t("Retire {name}?", { name: retire.dataset.name }),
    text: t("It cannot be assigned any more. Past days keep it."),
    action: t("Retire"),
  });
  if (!isSure) return;
  await busy(retire, async () => {
    await send("DELETE", `/v1/shifts/${retire.dataset.id}`);
    reloadSaying(t("The shift is retired."), "/settings/shifts");
  });
});
