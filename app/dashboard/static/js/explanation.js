// Why did it match? Asked for by a button, because it takes the networks some seconds.
import { get } from "./api.js";
import { language, t } from "./i18n.js";
import { busy, make } from "./ui.js";

const exact = new Intl.NumberFormat(language, { minimumFractionDigits: 3, maximumFractionDigits: 3 });
const share = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 0 });
const button = document.getElementById("explain");
const state = document.getElementById("explain-state");
const shown = document.getElementById("explanation");

button?.addEventListener("click", () =>
  busy(button, async () => {
    state.replaceChildren(make("span", { class: "spinner", "aria-hidden": "true" }), t("Covering the face part by part…"));
    try {
      const { id } = document.getElementById("event").dataset;
      await show(await get(`/v1/events/${id}/explain`));
    } finally {
      state.replaceChildren();
    }
  }),
);

async function show(found) {
  await load(part("heat"), found.picture_url);
  await showTemplate(found);
  part("words").textContent = words(found);
  document.querySelector("[data-explain-ask]").hidden = true;
  shown.hidden = false;
  shown.focus();
}

async function showTemplate({ person, template_crop_url: url }) {
  const [picture, none, link] = [part("template"), part("no-template"), part("person")];
  [link.href, link.textContent] = [`/people/${person.id}`, person.name];
  picture.alt = t("The template of {name}", { name: person.name });
  [picture.hidden, none.hidden] = [!url, Boolean(url)];
  if (url) await load(picture, `${url}?placeholder=true`);
}

/** What the picture shows, for whoever does not see it: where the parts lie that spoke for the match. */
function words({ person, score, heat }) {
  const first = t("The likeness (cosine) with this template of {name} is {score}.", { name: person.name, score: exact.format(score) });
  const rows = heat.map((row) => row.reduce((sum, value) => sum + Math.max(0, value), 0));
  const total = sum(rows);
  if (!total) return `${first} ${t("No part of the face spoke for it.")}`;
  const third = rows.length / 3;
  const [upper, lower] = [sum(rows.slice(0, Math.floor(third))), sum(rows.slice(rows.length - Math.floor(third)))];
  const of = (value) => share.format(value / total);
  const where = { upper: of(upper), middle: of(total - upper - lower), lower: of(lower) };
  return `${first} ${t("Of what spoke for it, {upper} lies in the upper part of the face, {middle} in the middle and {lower} in the lower part.", where)}`;
}

async function load(image, url) {
  image.src = url;
  try {
    await image.decode();
  } catch {
    throw new Error(t("The picture was not loaded. Try again in a moment."));
  }
}

function part(name) {
  return document.querySelector(`[data-explain-${name}]`);
}

function sum(values) {
  return values.reduce((one, other) => one + other, 0);
}
