// A shift as a bar on the 24 hours of the wall clock: windows, work, breaks. What passes midnight goes on at the left.
import { t } from "./i18n.js";

const DAY = 1440;
const SVG = "http://www.w3.org/2000/svg";

/** Draws `{starts, ends, breaks, early_window_s, late_window_s}` into an element. */
export function drawShift(element, shift) {
  const starts = minutes(shift.starts);
  const lasts = lengthOf(shift.starts, shift.ends);
  const early = Math.round(shift.early_window_s / 60);
  const late = Math.round(shift.late_window_s / 60);
  const picture = node("svg", { role: "img", "aria-label": inWords(shift), viewBox: `0 0 ${DAY} 60`, preserveAspectRatio: "none" });
  picture.append(node("rect", { class: "shift-day", x: 0, y: 4, width: DAY, height: 52 }));
  const draw = (kind, from, length) => picture.append(...pieces(kind, from, length));
  if (early + lasts + late <= DAY) draw("shift-window", starts - early, early + lasts + late);
  draw("shift-work", starts, lasts);
  for (const pause of shift.breaks) draw("shift-break", minutes(pause.starts), lengthOf(pause.starts, pause.ends));
  for (const hour of [6, 12, 18]) picture.append(node("line", { class: "shift-tick", x1: hour * 60, x2: hour * 60, y1: 4, y2: 56 }));
  const hours = document.createElement("p");
  hours.className = "shift-hours";
  hours.ariaHidden = "true";
  hours.append(...["0", "6", "12", "18", "24"].map((hour) => Object.assign(document.createElement("span"), { textContent: hour })));
  element.replaceChildren(picture, hours);
}

/** Minutes from one time on the wall to the next such time. */
export function lengthOf(starts, ends) {
  return ((minutes(ends) - minutes(starts) - 1 + DAY) % DAY) + 1;
}

function inWords(shift) {
  const length = lengthOf(shift.starts, shift.ends);
  const hours = `${Math.floor(length / 60)}:${String(length % 60).padStart(2, "0")}`;
  return t("From {starts} to {ends}, {hours} hours", { starts: shift.starts, ends: shift.ends, hours });
}

function minutes(wall) {
  const [hours, rest] = wall.split(":").map(Number);
  return hours * 60 + rest;
}

function pieces(kind, from, length) {
  const begins = ((from % DAY) + DAY) % DAY;
  const first = Math.min(length, DAY - begins);
  const parts = [[begins, first], [0, length - first]].filter(([, width]) => width > 0);
  const [y, height] = kind === "shift-window" ? [22, 16] : [4, 52];
  return parts.map(([x, width]) => node("rect", { class: kind, x, y, width, height }));
}

function node(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

for (const element of document.querySelectorAll("[data-shift]")) drawShift(element, JSON.parse(element.dataset.shift));
