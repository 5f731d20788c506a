// Whether a camera is there, renewed while the page is open.
import { language, t } from "./i18n.js";
import { make } from "./ui.js";

const roughly = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
const exactly = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });
const oneDigit = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
const STEPS = [[60, 1, "second"], [3600, 60, "minute"], [86400, 3600, "hour"], [Infinity, 86400, "day"]];

/** Renews what stands in `place` about this camera; returns the word for its status. */
export function renew(place, camera) {
  const [word, kind] = statusOf(camera);
  fill(place, "status", make("span", { class: `badge ${kind}` }, word));
  fill(place, "picture", camera.last_picture_at ? ago(camera.last_picture_at) : t("not yet"));
  fill(place, "seen", camera.last_seen_at ? ago(camera.last_seen_at) : t("not yet"));
  fill(place, "clock", clockWords(camera.clock_offset_s));
  return word;
}

function statusOf(camera) {
  if (camera.deleted_at) return [t("Deleted"), ""];
  if (camera.is_online) return [t("Online"), "good"];
  return camera.last_seen_at ? [t("Silent"), "bad"] : [t("Never seen"), "warn"];
}

function clockWords(offset) {
  if (offset === null) return "–";
  if (Math.abs(offset) < 1) return t("right");
  const seconds = oneDigit.format(Math.abs(offset));
  return offset > 0 ? t("{seconds} s slow", { seconds }) : t("{seconds} s fast", { seconds });
}

function ago(iso) {
  const seconds = Math.max(0, (Date.now() - new Date(iso)) / 1000);
  const [, size, unit] = STEPS.find(([below]) => seconds < below);
  const words = roughly.format(-Math.round(seconds / size), unit);
  return make("time", { datetime: iso, title: exactly.format(new Date(iso)) }, words);
}

function fill(place, part, content) {
  place.querySelector(`[data-part="${part}"]`)?.replaceChildren(content);
}

/** Calls `work` every `everyMs` while the page is visible; a failure is tried again. */
export function whileVisible(work, everyMs) {
  setInterval(() => {
    if (!document.hidden) work().catch(() => {});
  }, everyMs);
}
