// One camera: what it sees right now, its settings, its key.
import { get, newKey, send, sendOnce } from "./api.js";
import { showKey } from "./camera-key.js";
import { renew, whileVisible } from "./camera-status.js";
import { t } from "./i18n.js";
import { showSnapshot } from "./snapshot.js";
import { busy, confirmed, make, onSubmit, toast } from "./ui.js";

const RENEW_MS = 5000;
const LOOK_MS = 1000;

const root = document.getElementById("camera");
const { camera: id, name } = root.dataset;
const url = `/v1/cameras/${encodeURIComponent(id)}`;

if (!root.dataset.deleted) whileVisible(async () => renew(document.getElementById("content"), await get(url, {}, { background: true })), RENEW_MS);

const place = document.getElementById("test");
document.getElementById("ask")?.addEventListener("click", (event) => busy(event.currentTarget, takePicture));

async function takePicture() {
  let snapshot = await send("POST", `${url}/snapshot`, null, { key: newKey() });
  const bar = make("progress", { max: "1", "aria-label": t("Waiting for the camera") });
  const words = make("p", {}, t("Asked the camera. The camera client and the kiosk answer within about ten seconds, others with their next heartbeat; at {time} we stop waiting.", { time: clockOf(snapshot.answer_by) }));
  place.replaceChildren(make("div", { class: "waiting" }, words, bar));
  while (snapshot.status === "wanted") {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    snapshot = await get(`${url}/snapshot`);
  }
  await showSnapshot(place, snapshot, `${url}/snapshot/image`);
}

function clockOf(iso) {
  return new Date(iso).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

const form = document.getElementById("edit-form");
if (form) {
  onSubmit(form, async ({ name: newName, site_id, direction, min_face_px, min_quality, unknown }) => {
    const policy = {
      min_face_px: min_face_px === "" ? null : Number(min_face_px),
      min_quality: min_quality === "" ? null : Number(min_quality),
      unknown,
    };
    await send("PATCH", url, { name: newName, site_id, direction, policy });
    toast(t("Saved. It counts for what is captured from now on."), "good");
    document.querySelector("h1").textContent = newName;
  });
}

document.getElementById("rotate")?.addEventListener("click", () => {
  const choice = make(
    "select",
    { name: "grace_s" },
    make("option", { value: "3600" }, t("for one more hour")),
    make("option", { value: "86400" }, t("for one more day")),
    make("option", { value: "0" }, t("not any more, from now on")),
  );
  const cancel = make("button", { class: "button", type: "button", onclick: () => dialog.close() }, t("Cancel"));
  const inside = make(
    "form",
    { class: "stack" },
    make("h2", {}, t("A new key for {name}", { name })),
    make("label", { class: "field" }, make("span", {}, t("The key it has now counts")), choice, make("small", {}, t("Until then the camera may use either. If the key was stolen, end it at once: what the camera sends waits until it has the new one."))),
    make("div", { class: "dialog-actions" }, cancel, make("button", { class: "button primary", type: "submit" }, t("Make a new key"))),
  );
  const dialog = make("dialog", { "aria-label": t("A new key for {name}", { name }) }, inside);
  onSubmit(inside, async ({ grace_s }) => {
    const made = await sendOnce(`${url}/rotate-key`, { grace_s: Number(grace_s) });
    if (!made.key) throw new Error(t("The new key was made, but lost on its way here. Make another one: press the button again."));
    dialog.close();
    await showKey(name, made.key, t("The camera client needs it as ROLLCALL_API_KEY, and the old one with --old-key while pictures still wait. A kiosk takes it from the link."));
    location.reload();
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
});

document.getElementById("delete")?.addEventListener("click", async (event) => {
  const button = event.currentTarget;
  const text = t("Its keys are refused from now on, so whatever it sends is lost. Its events stay.");
  if (!(await confirmed({ title: t("Delete {name}?", { name }), text, action: t("Delete"), word: name }))) return;
  await busy(button, async () => {
    await send("DELETE", url);
    location.assign("/cameras");
  });
});
