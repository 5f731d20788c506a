// Small pieces that many pages share. Nothing here takes HTML from data: text goes in as text.
import { fieldWords, labelOf } from "./field-errors.js";
import { t } from "./i18n.js";

const toasts = document.getElementById("toasts");

/** An element: make("p", { class: "muted" }, "words", otherElement). Properties with a dash or of class are attributes. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** An icon of icons.svg. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `/assets/icons/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/** Says something in the corner; kind: good, bad or nothing. Bad news stays until it is closed. */
export function toast(message, kind = "") {
  const close = make("button", { class: "icon-button", type: "button", "aria-label": t("Close"), onclick: () => note.remove() }, icon("close"));
  const note = make("div", { class: `toast ${kind}`, role: kind === "bad" ? "alert" : null }, make("span", {}, message), close);
  placeToasts();
  toasts.append(note);
  if (kind !== "bad") setTimeout(() => note.remove(), 6000);
}

/** Under an open dialog nothing can be read or pressed: what is said stands in it while it is open. */
function placeToasts() {
  const dialog = [...document.querySelectorAll("dialog:modal")].at(-1);
  const place = dialog ?? document.body;
  if (toasts.parentElement === place) return;
  place.append(toasts);
  dialog?.addEventListener("close", () => document.body.append(toasts), { once: true });
}

/** Asks before something that cannot be undone; true if it was confirmed. `word`: what must be typed for that. */
export function confirmed({ title, text, action, danger = true, word = null }) {
  return new Promise((resolve) => {
    const input = word && make("input", { autocomplete: "off", "aria-label": t("Type {word} to confirm", { word }) });
    const yes = make("button", { class: `button ${danger ? "danger" : "primary"}`, value: "yes", type: "submit", disabled: Boolean(word) }, action);
    input?.addEventListener("input", () => (yes.disabled = input.value.trim() !== word));
    const form = make(
      "form",
      { method: "dialog" },
      make("h2", {}, title),
      make("p", {}, text),
      word && make("p", { class: "field" }, make("span", {}, t("Type {word} to confirm", { word })), input),
      make("div", { class: "dialog-actions" }, make("button", { class: "button", type: "button", onclick: () => dialog.close() }, t("Cancel")), yes),
    );
    const dialog = make("dialog", { "aria-label": title }, form);
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes");
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Runs `work` while `button` shows that it is busy; a refusal becomes a toast. Returns what work did, or undefined. */
export async function busy(button, work) {
  if (button.getAttribute("aria-busy") === "true") return undefined;
  button.setAttribute("aria-busy", "true");
  button.disabled = true;
  try {
    return await work();
  } catch (problem) {
    if (problem.name !== "AbortError") toast(problem.message, "bad");
    return undefined;
  } finally {
    button.removeAttribute("aria-busy");
    button.disabled = false;
  }
}

/** A form that calls `work(values, form)` instead of loading a page. Errors of single fields stand beside them. */
export function onSubmit(form, work) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clearErrors(form);
    const button = event.submitter ?? form.querySelector('[type="submit"]');
    if (button.getAttribute("aria-busy") === "true") return;
    button.setAttribute("aria-busy", "true");
    try {
      await work(Object.fromEntries(new FormData(form)), form);
    } catch (problem) {
      if (problem.name !== "AbortError") showProblem(form, problem);
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
}

/** Takes away what onSubmit has said about the last attempt. */
export function clearErrors(form) {
  form.querySelectorAll(".field-error, .notice[data-problem]").forEach((element) => element.remove());
  form.querySelectorAll(".has-error").forEach((element) => element.classList.remove("has-error"));
}

function showProblem(form, problem) {
  const loose = [];
  for (const { loc, msg } of problem.errors ?? []) {
    const input = form.elements[loc.at(-1)];
    const field = input instanceof Element ? input.closest(".field") : null;
    if (!field) loose.push(`${labelOf(form, loc.at(-1))}: ${fieldWords(msg)}`);
    else {
      field.classList.add("has-error");
      field.append(make("span", { class: "field-error", role: "alert" }, fieldWords(msg)));
    }
  }
  const words = problem.errors?.length && !loose.length ? [] : [problem.message, ...loose];
  if (words.length) form.prepend(make("p", { class: "notice bad", role: "alert", "data-problem": true }, words.join(" ")));
}

/** Replaces an image that is not there (any more) with a picture of a person. */
export function forgiving(image) {
  image.addEventListener("error", () => {
    const said = image.alt ? { role: "img", "aria-label": image.alt } : { "aria-hidden": "true" };
    const place = make("span", { class: image.className, ...said }, icon("person"));
    image.replaceWith(place);
  });
  return image;
}
