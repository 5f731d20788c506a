// What became of an enrolment, for the person who made it.
import { t } from "./i18n.js";
import { forgiving, icon, make } from "./ui.js";
import { say, sayFirst } from "./words.js";

const POSES = ["frontal", "left", "right", "up", "down"];

/** Shows a finished enrolment: what was taken, what is missing, and what was not used and why. */
export function showEnrolment(place, enrolment) {
  const n = enrolment.templates.length;
  const missing = POSES.filter((pose) => !enrolment.coverage[pose]);
  place.replaceChildren(
    make("p", { class: "notice good" }, icon("check"), " ", n === 1 ? t("Enrolled: one template was added.") : t("Enrolled: {n} templates were added.", { n })),
    make("ul", { class: "shots", "aria-label": t("Templates added") }, ...enrolment.templates.map(templateShot)),
    ...warningsOf(enrolment).map((words) => make("p", { class: "notice warn" }, words)),
    missing.length
      ? make("p", { class: "notice accent" }, t("Missing:"), " ", missing.map((pose) => say("advice", pose)).join(" "))
      : make("p", { class: "notice good" }, t("All directions are enrolled.")),
    rejectedList(enrolment),
  );
  reveal(place);
}

/** Shows why nothing was enrolled. */
export function showRefusal(place, words) {
  place.replaceChildren(make("p", { class: "notice bad", role: "alert" }, words));
  place.scrollIntoView({ block: "nearest" });
}

/** The words for an enrolment that failed. */
export function failureOf(enrolment) {
  return sayFirst("reason", enrolment.error ?? "");
}

/** Shows whose face it is already, both side by side; `allow` enrols it all the same. */
export function showTwin(place, { name, picture, other, allow }) {
  const button = make("button", { class: "button danger", type: "button", onclick: allow }, t("They are two people: enrol all the same"));
  place.replaceChildren(
    make("p", { class: "notice bad", role: "alert" }, t("This face already belongs to {name} ({code}). Nothing was enrolled.", { name: other.name, code: other.employee_code })),
    make(
      "div",
      { class: "twins" },
      make("figure", {}, face(picture, t("What was sent now")), make("figcaption", {}, t("Sent now for {name}", { name }))),
      make(
        "figure",
        {},
        face(`/v1/people/${other.id}/portrait?placeholder=true`, t("Portrait")),
        make("figcaption", {}, make("a", { href: `/people/${other.id}` }, other.name), " ", make("code", {}, other.employee_code)),
      ),
    ),
    make("p", { class: "muted" }, t("If this is one person with two records, enrol them in the record that stays, and erase the other one.")),
    make("p", { class: "row" }, button, make("button", { class: "button", type: "button", onclick: () => place.replaceChildren() }, t("Cancel"))),
  );
  reveal(place);
}

/** The reason against each file of a refused call, by its number. */
export function reasonsByNumber(problem) {
  const found = new Map();
  for (const { loc, msg } of problem.errors ?? []) if (loc[0] === "files") found.set(Number(loc[1]), sayFirst("reason", msg));
  return found;
}

/** Moves the view, and where a screen reader reads, to what has just come. */
function reveal(place) {
  place.focus({ preventScroll: true });
  place.scrollIntoView({ block: "nearest" });
}

function templateShot(template) {
  return make(
    "li",
    { class: "shot is-good" },
    forgiving(make("img", { class: "face", src: `/v1/templates/${template.id}/crop?placeholder=true`, alt: "" })),
    make("span", {}, template.source.time_s === null ? template.source.file : t("at {seconds} s", { seconds: template.source.time_s.toFixed(1) })),
    make("small", {}, t("Quality {percent} %", { percent: Math.round(100 * template.quality) })),
  );
}

function warningsOf(enrolment) {
  const known = new Set(enrolment.warnings.filter((warning) => !warning.startsWith("coverage:")).map((warning) => sayFirst("warning", warning)));
  return [...known]; // what is missing is said by its own list
}

function rejectedList(enrolment) {
  if (!enrolment.rejected.length) return "";
  const counts = new Map();
  for (const { source, reason } of enrolment.rejected) {
    const what = enrolment.kind === "video" ? "" : source.file;
    const line = `${what}\n${reason}`;
    counts.set(line, (counts.get(line) ?? 0) + 1);
  }
  const items = [...counts].map(([line, n]) => {
    const [file, reason] = line.split("\n");
    return make("li", {}, make("strong", {}, file || `${n} ×`), " ", say("reason", reason));
  });
  const title = enrolment.kind === "video" ? t("Why the other frames were not used") : t("Pictures that were not used");
  return make("details", { open: enrolment.kind !== "video" }, make("summary", {}, title), make("ul", { class: "plain-list" }, ...items));
}

function face(source, alt) {
  return source ? forgiving(make("img", { class: "face", src: source, alt })) : make("span", { class: "face", role: "img", "aria-label": alt }, icon("video"));
}
