// Employee code and PIN, for whoever is not recognised or does not want to be.
import { t } from "../i18n.js";
import { icon, make } from "../ui.js";
import { newKey } from "./wire.js";

const IDLE_MS = 30_000;
const DIGITS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "clear", "0", "back"];

/** Opens the pad. `punch({ code, pin, key })` answers null when it worked, else what to say, and
 *  whether the service has decided: { words, isDecided }. */
export function openPad(punch) {
  const code = make("input", { name: "code", required: true, autocomplete: "off", autocapitalize: "characters", spellcheck: "false", maxlength: "64" });
  const pin = make("input", { name: "pin", type: "password", required: true, inputmode: "numeric", autocomplete: "off", pattern: "[0-9]{4,12}", maxlength: "12", title: t("4 to 12 digits") });
  const trouble = make("p", { class: "notice bad", role: "alert", hidden: true });
  const send = make("button", { class: "button primary big wide", type: "submit" }, t("Register"));
  const form = make(
    "form",
    { class: "pad-form" },
    make("h2", {}, t("Use your PIN")),
    make("label", { class: "field" }, make("span", {}, t("Employee code")), code),
    make("label", { class: "field" }, make("span", {}, "PIN"), pin),
    trouble,
    keys(() => (active.isConnected ? active : code)),
    send,
    make("button", { class: "button big wide", type: "button", onclick: () => dialog.close() }, t("Cancel")),
  );
  const dialog = make("dialog", { class: "pad", "aria-label": t("Use your PIN") }, form);
  let active = code;
  let unsure = null; // what the service may have taken in, though no answer came: sent again, it counts once
  let timer = 0;
  const renew = () => {
    clearTimeout(timer);
    timer = setTimeout(() => dialog.close(), IDLE_MS); // the next one must not find somebody's code
  };
  for (const input of [code, pin]) {
    input.addEventListener("focus", () => (active = input));
  }
  form.addEventListener("input", renew);
  form.addEventListener("click", renew);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (send.disabled) return;
    send.disabled = true;
    const typed = { code: code.value.trim(), pin: pin.value };
    const isSame = unsure?.code === typed.code && unsure.pin === typed.pin;
    const given = isSame ? unsure : { ...typed, key: newKey() };
    const told = await punch(given);
    send.disabled = false;
    if (told === null) return dialog.close();
    trouble.textContent = told.words;
    trouble.hidden = false;
    unsure = told.isDecided ? null : given;
    if (told.isDecided) pin.value = "";
    pin.focus();
  });
  dialog.addEventListener("close", () => {
    clearTimeout(timer);
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
  renew();
  return dialog;
}

function keys(field) {
  const press = (word) => {
    const input = field();
    if (word === "clear") input.value = "";
    else if (word === "back") input.value = input.value.slice(0, -1);
    else input.value += word;
    input.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const label = { clear: t("Clear"), back: t("Delete the last digit") };
  const face = { clear: () => icon("close"), back: () => icon("left") };
  const buttons = DIGITS.map((word) => make("button", { class: "button key", type: "button", "aria-label": label[word] ?? null, onclick: () => press(word) }, face[word]?.() ?? word));
  return make("div", { class: "keys", role: "group", "aria-label": t("Digits") }, ...buttons);
}
