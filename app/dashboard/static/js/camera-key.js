// A camera's key, shown once, with what to do with it.
import { csrfToken } from "./api.js";
import { t } from "./i18n.js";
import { copyable } from "./secret.js";
import { enlivenTabs } from "./tabs.js";
import { make } from "./ui.js";

const LOCAL = ["localhost", "127.0.0.1", "[::1]"];

/** Shows the key until it is closed. `note` is one more sentence above it. */
export function showKey(name, key, note = null) {
  const dialog = make(
    "dialog",
    { class: "key-dialog", "aria-labelledby": "key-title" },
    make("h2", { id: "key-title" }, t("The key of {name}", { name })),
    note && make("p", {}, note),
    make("p", { class: "notice warn" }, t("It is shown this once. Copy it, or use it in one of these ways now; a lost key is replaced by a new one.")),
    copyable(t("Key"), key),
    ways(key),
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

function ways(key) {
  const panels = [
    [t("Tablet"), kiosk(key)],
    [t("Command"), [make("p", {}, t("On the machine that the camera is plugged into, or that can reach it:")), copyable(t("Command"), command(key))]],
    [t("Service"), [make("p", {}, t("On a Linux machine, so that it starts by itself (systemd):")), copyable(t("Commands"), unit(key))]],
    [t("Container"), [make("p", {}, t("With Docker; what waits for the service is kept in a volume:")), copyable(t("Command"), container(key))]],
    [t("Own program"), [make("p", {}, t("Any program that can send a picture by HTTP:")), copyable(t("Command"), curl(key))]],
  ];
  const bodies = panels.map(([, children], index) => make("div", { role: "tabpanel", id: `way-${index}`, "aria-labelledby": `tab-${index}`, hidden: index > 0 }, ...children));
  const tabs = panels.map(([title], index) =>
    make("button", { type: "button", role: "tab", id: `tab-${index}`, "aria-controls": `way-${index}`, "aria-selected": String(index === 0), tabindex: index ? "-1" : "0" }, title),
  );
  const list = make("div", { class: "tabs", role: "tablist", "aria-label": t("How to use the key") }, ...tabs);
  const place = make("div", {}, list, ...bodies);
  enlivenTabs(list, place);
  return place;
}

function kiosk(key) {
  const link = `${location.origin}/kiosk#key=${key}`;
  const image = make("img", { class: "qr", alt: t("The link as a QR code"), width: "220", height: "220" });
  drawCode(image, link);
  const isSafe = location.protocol === "https:" || LOCAL.includes(location.hostname);
  return [
    make("p", {}, t("Open this link on a tablet at the door, or let its camera read the code. The tablet keeps the key.")),
    isSafe ? null : make("p", { class: "notice warn" }, t("Browsers show the camera to https pages only. Give this service an https address first, and open the link with that.")),
    image,
    copyable(t("Link"), link),
  ].filter(Boolean);
}

async function drawCode(image, link) {
  const body = new URLSearchParams({ link });
  try {
    const answer = await fetch("/cameras/kiosk-code", { method: "POST", headers: { "X-CSRF-Token": await csrfToken() }, body });
    if (!answer.ok) throw new Error(String(answer.status));
    image.src = URL.createObjectURL(await answer.blob());
    image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
  } catch {
    image.remove(); // the link below says the same
  }
}

function command(key) {
  return `export ROLLCALL_API_KEY=${key}\nrollcall camera --server ${location.origin} --source rtsp://10.0.0.7/stream`;
}

function unit(key) {
  return [
    "rollcall camera --print-systemd | sudo tee /etc/systemd/system/rollcall-camera@.service",
    "sudo install -D -m 600 /dev/stdin /etc/rollcall/camera-door.env <<'END'",
    `ROLLCALL_API_KEY=${key}`,
    `ROLLCALL_URL=${location.origin}`,
    "ROLLCALL_SOURCE=rtsp://10.0.0.7/stream",
    "END",
    "sudo systemctl enable --now rollcall-camera@door",
  ].join("\n");
}

function container(key) {
  return `docker run -d --restart unless-stopped -v door:/spool -e ROLLCALL_API_KEY=${key} \\\n  rollcall camera --source rtsp://10.0.0.7/stream --server ${location.origin} --spool /spool`;
}

function curl(key) {
  return `curl -H "X-API-Key: ${key}" -H "Idempotency-Key: $(uuidgen)" \\\n  -F image=@face.jpg -F captured_at="$(date -Is)" ${location.origin}/v1/captures`;
}
