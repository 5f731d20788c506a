// Dialogs of a page: buttons with data-dialog open them, those with data-close close them.
import { clearErrors } from "./ui.js";

/** Opens a dialog, without what was said about the last attempt. */
export function openDialog(dialog) {
  const form = dialog.querySelector("form");
  if (form) clearErrors(form);
  dialog.showModal();
}

/** Puts values into the fields of a form that have their names. */
export function fill(form, values) {
  for (const [name, value] of Object.entries(values)) {
    if (form.elements[name]) form.elements[name].value = value;
  }
}

function empty(form) {
  form.reset();
  for (const hidden of form.querySelectorAll('input[type="hidden"]')) hidden.value = "";
}

function openFor({ dialog: id, values }) {
  const dialog = document.getElementById(id);
  const form = dialog.querySelector("form");
  if (form) empty(form);
  if (values) fill(form, JSON.parse(values));
  form?.dispatchEvent(new Event("rollcall:opened"));
  openDialog(dialog);
}

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener) openFor(opener.dataset);
  event.target.closest("[data-close]")?.closest("dialog").close();
});
