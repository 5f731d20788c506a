// The list of cameras: it renews itself, and administrators add cameras to it.
import { get, sendOnce } from "./api.js";
import { showKey } from "./camera-key.js";
import { renew, whileVisible } from "./camera-status.js";
import { openDialog } from "./dialogs.js";
import { t } from "./i18n.js";
import { onSubmit } from "./ui.js";

const RENEW_MS = 5000;
const PAGE = 100;

const list = document.getElementById("cameras");
if (list) whileVisible(refresh, RENEW_MS);

async function refresh() {
  const cursor = new URLSearchParams(location.search).get("cursor");
  const { items } = await get("/v1/cameras", { limit: PAGE, cursor }, { background: true });
  const news = [];
  for (const camera of items) {
    const card = list.querySelector(`[data-camera="${CSS.escape(camera.id)}"]`);
    if (!card) continue;
    const before = card.querySelector('[data-part="status"]').textContent.trim();
    const status = renew(card, camera);
    if (before !== status) news.push(`${camera.name}: ${status}`);
  }
  if (news.length) document.getElementById("camera-news").textContent = news.join(". ");
}

const dialog = document.getElementById("add-dialog");
if (dialog) {
  const open = () => openDialog(dialog);
  document.getElementById("add").addEventListener("click", open);
  document.getElementById("add-first")?.addEventListener("click", open);
  onSubmit(document.getElementById("add-form"), async (values) => {
    const camera = await sendOnce("/v1/cameras", values);
    dialog.close();
    if (camera.key) await showKey(camera.name, camera.key, t("{name} is added.", { name: camera.name }));
    location.assign(`/cameras/${camera.id}`);
  });
}
