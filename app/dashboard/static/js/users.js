// Users: adding, changing, giving a new password, disabling.
import { send, sendOnce } from "./api.js";
import "./dialogs.js";
import { t } from "./i18n.js";
import { showSecrets } from "./secret.js";
import { reloadSaying } from "./said-later.js";
import { busy, confirmed, onSubmit } from "./ui.js";

// Without letters and digits that look alike: it may be read out.
const LETTERS = "abcdefghijkmnpqrstuvwxyz23456789";
const made = new WeakSet();

onSubmit(document.getElementById("user-form"), async ({ username, name, role, password }, form) => {
  const user = await sendOnce("/v1/users", { username, name, role, password });
  await handOver(form, user.username, password);
  reloadSaying(t("{name} can sign in now.", { name }));
});

onSubmit(document.getElementById("edit-form"), async ({ id, name, role }) => {
  await send("PATCH", `/v1/users/${id}`, { name, role });
  reloadSaying(t("{name} was changed.", { name }));
});

onSubmit(document.getElementById("reset-form"), async ({ id, username, password }, form) => {
  await send("PATCH", `/v1/users/${id}`, { password });
  await handOver(form, username, password);
  reloadSaying(t("The new password counts from now on."));
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-user]");
  if (!button) return;
  const { user, name, disable } = button.dataset;
  const isDisabling = disable === "true";
  const isSure =
    !isDisabling ||
    (await confirmed({
      title: t("Disable {name}?", { name }),
      text: t("They are signed out at once, and cannot sign in until somebody enables them again."),
      action: t("Disable"),
    }));
  if (!isSure) return;
  await busy(button, async () => {
    await send("PATCH", `/v1/users/${user}`, { disabled: isDisabling });
    reloadSaying(isDisabling ? t("{name} cannot sign in any more.", { name }) : t("{name} can sign in now.", { name }));
  });
});

for (const field of document.querySelectorAll(".access-password")) {
  const input = field.querySelector("input");
  const shows = field.querySelector("[data-show-password]");
  const show = (isShown) => {
    input.type = isShown ? "text" : "password";
    shows.setAttribute("aria-pressed", String(isShown));
  };
  shows.addEventListener("click", () => show(input.type === "password"));
  input.addEventListener("input", () => made.delete(input));
  input.form.addEventListener("rollcall:opened", () => {
    made.delete(input);
    show(false);
  });
  field.querySelector("[data-make-password]").addEventListener("click", () => {
    input.value = madeUp();
    made.add(input);
    show(true);
  });
}

/** Four groups of five, as random as 100 tosses of a coin. */
function madeUp() {
  const letters = Array.from(crypto.getRandomValues(new Uint8Array(20)), (byte) => LETTERS[byte % LETTERS.length]);
  return [0, 5, 10, 15].map((start) => letters.slice(start, start + 5).join("")).join("-");
}

/** What was made up here nobody knows yet: it is shown until it has been copied. */
async function handOver(form, username, password) {
  if (!made.has(form.elements.password)) return;
  form.closest("dialog").close();
  const note = t("The password is shown this once. Hand it over; it can be changed on the page Account.");
  await showSecrets(t("What to hand over"), note, [
    [t("Address"), location.origin],
    [t("User name"), username],
    [t("Password"), password],
  ]);
}
