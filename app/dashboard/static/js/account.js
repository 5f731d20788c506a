// Account: one's own password and browsers.
import { send } from "./api.js";
import { t } from "./i18n.js";
import { reloadSaying } from "./said-later.js";
import { busy, onSubmit } from "./ui.js";

const form = document.getElementById("password-form");
const { new_password: first, repeated } = form.elements;

function compare() {
  repeated.setCustomValidity(first.value === repeated.value ? "" : t("The two new passwords differ."));
}

first.addEventListener("input", compare);
repeated.addEventListener("input", compare);

onSubmit(form, async ({ current_password, new_password }) => {
  await send("PUT", "/v1/users/me/password", { current_password, new_password });
  reloadSaying(t("Your password was changed."));
});

const others = document.getElementById("end-others");
others?.addEventListener("click", () =>
  busy(others, async () => {
    await send("DELETE", "/v1/users/me/sessions");
    reloadSaying(t("You are signed out everywhere else."));
  }),
);
