// What somebody sets up once on this device: the camera's key, which lens, sound, how much must move.
import { t } from "../i18n.js";
import { make } from "../ui.js";
import { lenses } from "./eye.js";
import { read, write } from "./settings.js";
import { call } from "./wire.js";

const IDLE_MS = 60_000;
let isOpening = false;

/** Opens the settings; `done()` is called when they have changed. `problem`: why they are asked for. */
export async function openSetup(done, problem = "") {
  if (isOpening || document.querySelector("dialog.setup")) return;
  isOpening = true; // two may ask at once, and the lenses take a while
  const found = await lenses().catch(() => []);
  isOpening = false;
  show(found, done, problem);
}

function show(found, done, problem) {
  const now = read();
  const key = make("input", { name: "key", type: "password", autocomplete: "off", required: !now.key, placeholder: now.key ? t("stays as it is") : "rck_…" });
  const trouble = make("p", { class: "notice bad", role: "alert", hidden: !problem }, problem);
  const lens = make("select", { name: "lens" }, make("option", { value: "" }, t("The one on this side")));
  for (const [id, name] of found) if (id) lens.append(make("option", { value: id, selected: id === now.lens }, name));
  const sensitivity = make("select", { name: "sensitivity" }, ...[["low", t("Low: a busy background")], ["medium", t("Medium")], ["high", t("High: a dark or narrow place")]].map(([value, words]) => make("option", { value, selected: value === now.sensitivity }, words)));
  const sound = make("input", { type: "checkbox", name: "sound", checked: now.sound });
  const cancel = make("button", { class: "button big", type: "button", hidden: !now.key, onclick: () => dialog.close() }, t("Cancel"));
  const save = make("button", { class: "button primary big", type: "submit" }, t("Save"));
  const form = make(
    "form",
    { class: "stack" },
    make("h2", {}, t("Set up this kiosk")),
    trouble,
    make("label", { class: "field" }, make("span", {}, t("The camera’s key")), key, make("small", {}, t("An administrator adds a camera on the page Cameras, and gets its key there, or a link that brings it along."))),
    make("label", { class: "field" }, make("span", {}, t("Lens")), lens),
    make("label", { class: "field" }, make("span", {}, t("How easily it notices somebody")), sensitivity),
    make("label", { class: "check" }, sound, make("span", {}, t("Sound"))),
    make("div", { class: "dialog-actions" }, cancel, save),
  );
  const dialog = make("dialog", { class: "setup", "aria-label": t("Set up this kiosk") }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    save.disabled = true;
    const given = key.value.trim() || now.key;
    const told = await wrongWith(given, given !== now.key);
    save.disabled = false;
    trouble.hidden = told === null;
    trouble.textContent = told ?? "";
    if (told !== null) return key.focus();
    write({ key: given, lens: lens.value, sensitivity: sensitivity.value, sound: sound.checked });
    dialog.close();
    done();
  });
  dialog.addEventListener("cancel", (event) => !read().key && event.preventDefault());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  closeWhenLeft(dialog);
}

/** Nobody is looked at while it is open: left alone, it closes, unless there is no key to look with. */
function closeWhenLeft(dialog) {
  let timer = 0;
  const renew = () => {
    clearTimeout(timer);
    timer = setTimeout(() => (read().key ? dialog.close() : renew()), IDLE_MS);
  };
  for (const sign of ["input", "pointerdown", "keydown"]) dialog.addEventListener(sign, renew);
  dialog.addEventListener("close", () => clearTimeout(timer));
  renew();
}

/** Why this key cannot be used; null: it can, or, offline, it is the one that could. */
async function wrongWith(key, isNew) {
  const { status, body } = await call("POST", "/v1/cameras/heartbeat", { key, body: {} });
  if (status === 200) return null;
  if (status === 401) return t("This key is wrong, or not valid any more. Get a new one on the page Cameras.");
  if (status === 403 && body.code === "camera_unknown") return t("This key belongs to no camera. Use a camera’s own key, from the page Cameras.");
  return isNew ? t("There is no connection to the service, so the key cannot be checked. Try again when there is.") : null;
}
