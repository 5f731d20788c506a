// Which faces of late another threshold would have decided otherwise.
import { send } from "./api.js";
import { t } from "./i18n.js";
import { forgiving, make } from "./ui.js";
import { moment } from "./time.js";
import { counted, written } from "./threshold-rates.js";

const SHOWN_AT_ONCE = matchMedia("(max-width: 700px)").matches ? 5 : 12;

const words = document.getElementById("preview-words");
const list = document.getElementById("changes");
const more = document.getElementById("more-changes");
let latest = 0;
let hidden = [];

more.addEventListener("click", showMore);

/** What was asked is of no interest any more: the line stands elsewhere. */
export function forgetPreview() {
  latest += 1;
}

/** Asks, and shows the answer unless somebody has asked for something else meanwhile. */
export async function askForPreview(threshold, showRates) {
  const asked = (latest += 1);
  const wait = setTimeout(() => asked === latest && words.replaceChildren(spinner(), ` ${t("Deciding the latest faces again …")}`), 250);
  try {
    const preview = await send("POST", "/v1/threshold/preview", { threshold });
    if (asked !== latest) return;
    showRates({ fpir: preview.expected_fpir, fnir: preview.expected_fnir });
    showChanges(preview);
  } catch (problem) {
    if (asked === latest) words.textContent = problem.message;
  } finally {
    clearTimeout(wait);
  }
}

function showChanges(preview) {
  words.textContent = summary(preview);
  list.replaceChildren();
  hidden = preview.changes;
  showMore();
}

function summary({ n_events, n_no_longer_named, n_newly_named, threshold }) {
  const at = written(threshold);
  if (!n_events) return t("No face was looked at yet. As soon as cameras send pictures, the faces that would change are listed here.");
  if (!n_no_longer_named && !n_newly_named) return t("At {at}, none of the latest {n} faces would have been decided otherwise.", { at, n: counted(n_events) });
  return t("At {at}, of the latest {n} faces {fewer} would no longer have been named, and {more} would have been named.", {
    at,
    n: counted(n_events),
    fewer: counted(n_no_longer_named),
    more: counted(n_newly_named),
  });
}

function showMore() {
  list.append(...hidden.slice(0, SHOWN_AT_ONCE).map(row));
  hidden = hidden.slice(SHOWN_AT_ONCE);
  more.hidden = hidden.length === 0;
}

function row({ event_id, at, score, new_outcome, person }) {
  const name = person?.name ?? t("Somebody who was erased");
  const unknown = () => make("span", { class: "badge" }, t("unknown"));
  const known = () => make("span", { class: "badge accent" }, name);
  const [before, after] = new_outcome === "identified" ? [unknown(), known()] : [known(), unknown()];
  return make(
    "li",
    { class: "change" },
    make("span", { class: "pair-faces" }, face(`/v1/events/${event_id}/crop?placeholder=true`), person && face(`/v1/people/${person.id}/portrait?placeholder=true`)),
    make(
      "div",
      { class: "grow" },
      make("p", { class: "row" }, before, make("span", { "aria-hidden": "true" }, "→"), make("span", { class: "visually-hidden" }, t("becomes")), after),
      make("p", {}, make("small", {}, moment(at), ` · ${t("score {score}", { score: written(score) })} · `, make("a", { href: `/events/${event_id}` }, t("Evidence")))),
    ),
  );
}

function face(url) {
  return forgiving(make("img", { class: "face", src: url, alt: "", loading: "lazy" }));
}

function spinner() {
  return make("span", { class: "spinner", "aria-hidden": "true" });
}
