// What the service said of a picture, as what to show. Pure.
import { t } from "../i18n.js";
import { locale } from "./language.js";

/** { verdict, kind, icon, title, big, sub }: verdict is for Presence, the rest for the screen. */
export function saying(recording, zone) {
  const { faces, events } = recording;
  if (!faces.length) return { verdict: "nobody" };
  const greeted = events.filter((event) => event.person !== null && event.outcome === "identified");
  if (greeted.length) return { verdict: greeted[0].duplicate_of ? "repeated" : "greeted", ...greeting(greeted, zone) };
  const near = faces.filter((face) => width(face) >= 0.5 * width(faces[0]));
  if (near.length > 1) return { verdict: "again", kind: "warn", icon: "people", title: t("One at a time, please"), sub: t("Stand alone in front of the camera.") };
  if (faces[0].outcome === "low_quality") return { verdict: "again", kind: "warn", icon: "eye", title: advice(faces[0].quality.reasons) };
  return { verdict: "again", kind: "bad", icon: "unknown", title: t("Not recognised"), sub: t("Look straight into the camera, or use your PIN."), offersPin: true };
}

/** Of events that name somebody. */
export function greeting(events, zone) {
  const [event] = events;
  const time = clock(event.occurred_at, zone);
  const names = new Intl.ListFormat(locale).format([...new Set(events.map((each) => each.person.name))]);
  if (event.duplicate_of) return { kind: "good", icon: "check", title: names, big: t("Already registered"), sub: t("You are all set. It counts once.") };
  const way = { in: { kind: "in", icon: "in", big: t("IN {time}", { time }) }, out: { kind: "out", icon: "out", big: t("OUT {time}", { time }) } }[event.direction];
  const title = event.direction === "out" ? t("Goodbye, {name}", { name: names }) : t("Hello, {name}", { name: names });
  return { title, sub: "", ...(way ?? { kind: "good", icon: "check", big: t("Registered at {time}", { time }) }) };
}

function advice(reasons) {
  const words = {
    face_too_small: t("Come closer, please"),
    too_dark: t("More light on your face, please"),
    too_bright: t("Less light on your face, please"),
    blurred: t("Stand still for a moment, please"),
    extreme_pose: t("Look straight into the camera, please"),
    occluded: t("Uncover your face, please"),
  };
  return reasons.map((reason) => words[reason]).find(Boolean) ?? t("Come closer and look straight into the camera, please");
}

function width({ box_xyxy: [x1, , x2] }) {
  return x2 - x1;
}

/** Hours and minutes on the clock of the site's wall. */
export function clock(moment, zone) {
  return new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", timeZone: zone }).format(new Date(moment));
}
