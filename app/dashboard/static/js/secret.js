// Something that is shown once, to be copied.
import { t } from "./i18n.js";
import { icon, make, toast } from "./ui.js";

/** Shows secrets, `[[label, text], …]`, until the dialog is closed. */
export function showSecrets(title, note, secrets) {
  const dialog = make(
    "dialog",
    { "aria-labelledby": "secret-title" },
    make("h2", { id: "secret-title" }, title),
    make(
      "div",
      { class: "stack" },
      make("p", { class: "notice warn" }, note),
      ...secrets.map(([label, text]) => make("div", { class: "field" }, make("span", {}, label), copyable(label, text))),
    ),
    make("form", { method: "dialog", class: "dialog-actions" }, make("button", { class: "button primary" }, t("Done"))),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve();
    }),
  );
}

/** A text in full, and a button that copies it. */
export function copyable(label, text) {
  const shown = make("pre", { tabindex: "0", "aria-label": label }, make("code", {}, text));
  const copy = make("button", { class: "button small", type: "button", "aria-label": t("Copy: {what}", { what: label }) }, icon("copy"), t("Copy"));
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      toast(t("Copied."), "good");
    } catch {
      getSelection().selectAllChildren(shown); // on http there is no clipboard: Ctrl-C does it
      toast(t("Press Ctrl-C to copy what is selected."));
    }
  });
  return make("div", { class: "secret" }, shown, copy);
}
