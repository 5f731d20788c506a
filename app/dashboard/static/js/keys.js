// Keys: making one, which is shown once, and revoking.
import { send, sendOnce } from "./api.js";
import "./dialogs.js";
import { t } from "./i18n.js";
import { showSecrets } from "./secret.js";
import { reloadSaying } from "./said-later.js";
import { busy, confirmed, onSubmit } from "./ui.js";

const DAY_MS = 86_400_000;

onSubmit(document.getElementById("key-form"), async ({ name, scope, days }, form) => {
  const expires_at = days ? new Date(Date.now() + Number(days) * DAY_MS).toISOString() : null;
  const key = await sendOnce("/v1/keys", { name, scope, expires_at }, { what: { name, scope, days } });
  form.closest("dialog").close();
  if (!key.secret) {
    return reloadSaying(t("The key for {name} was made, but lost on its way here. Revoke it, and make another one.", { name: key.name }));
  }
  const note = t("The key is shown this once. Copy it now; a lost key is revoked, and another one made.");
  const trial = [t("To try it"), `curl -H "X-API-Key: ${key.secret}" ${location.origin}/v1/system`];
  const secrets = [[t("Key"), key.secret], ...(scope === "camera" ? [] : [trial])];
  await showSecrets(t("Key for {name}", { name: key.name }), note, secrets);
  return reloadSaying(t("The key for {name} is ready.", { name: key.name }));
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-revoke]");
  if (!button) return;
  const { revoke, name, camera } = button.dataset;
  const isSure = await confirmed({
    title: t("Revoke the key {name}?", { name }),
    text: camera
      ? t("The camera {camera} is refused from its next picture on. To give it another key, open its page.", { camera })
      : t("Whatever uses it is refused from its next request on, for good."),
    action: t("Revoke"),
  });
  if (!isSure) return;
  await busy(button, async () => {
    await send("DELETE", `/v1/keys/${revoke}`);
    reloadSaying(t("The key {name} is revoked.", { name }));
  });
});
