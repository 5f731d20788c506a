// Times as the viewer reads them: in their own zone and language.
import { language } from "./i18n.js";

const full = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });
const short = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit" });

/** A <time> with date and time. */
export function moment(iso) {
  return element(iso, full.format(new Date(iso)));
}

/** A <time> with hours and minutes. */
export function clock(iso) {
  return element(iso, short.format(new Date(iso)));
}

function element(iso, words) {
  const time = document.createElement("time");
  time.dateTime = iso;
  time.title = iso;
  time.textContent = words;
  return time;
}
