// Today: events appear at the top of the list as they come; the figures follow.
import { BACKGROUND } from "./api.js";
import { t, language } from "./i18n.js";
import { clock } from "./time.js";
import { forgiving, icon, make } from "./ui.js";

const list = document.getElementById("sightings");
const state = document.getElementById("live-state");
const said = document.getElementById("live-said");
const pause = document.getElementById("pause");
const waitingButton = document.getElementById("show-waiting");
const filters = document.getElementById("live-filters");
const numbers = new Intl.NumberFormat(language);

const MOST = Number(list.dataset.shown);
const FIGURES_EVERY_MS = 5000;
const SAY_EVERY_MS = 8000;
const COME_BACK_MS = 10000;
const RELOAD_EVERY_MS = 30000;
const RELOADED = "rollcall-today-reloaded";

const waiting = [];
let isPaused = false;
let newest = list.dataset.newest;
let unsaid = [];

/** A timer that runs `work` once, this long after the first of many calls. */
function throttled(work, everyMs) {
  let timer = null;
  return () => {
    timer ??= setTimeout(() => {
      timer = null;
      work();
    }, everyMs);
  };
}

const say = throttled(() => {
  const names = unsaid;
  unsaid = [];
  said.textContent = names.length > 3 ? t("{n} people were seen.", { n: names.length }) : names.join(". ");
}, SAY_EVERY_MS);

function who(item) {
  if (item.person) return item.person.name;
  if (item.outcome === "attack_suspected") return t("Suspected attack");
  return item.outcome === "identified" ? t("Somebody who was erased") : t("Unknown face");
}

function oddsWords(odds) {
  if (odds >= 1000000) return t("fewer than 1 in a million strangers score this high");
  if (odds < 2) return t("nearly every stranger scores this high");
  return t("1 in {n} strangers scores this high", { n: numbers.format(Math.round(odds)) });
}

const METHODS = { pin: t("PIN"), badge: t("Badge"), manual: t("By hand") };

const NOTES = {
  n_left: (n) => t("{n} have left", { n }),
  n_from_yesterday: (n) => t("and {n} of last night’s shift", { n }),
  n_expected_later: (n) => t("{n} are expected later", { n }),
};

function details(item) {
  const parts = [];
  if (item.person) parts.push(item.person.employee_code);
  if (item.odds !== null && item.outcome === "identified") parts.push(oddsWords(item.odds));
  if (METHODS[item.method]) parts.push(METHODS[item.method]);
  return parts.join(" · ");
}

function way(direction) {
  if (direction === "in") return make("span", { class: "badge good" }, icon("in"), t("In"));
  if (direction === "out") return make("span", { class: "badge accent" }, icon("out"), t("Out"));
  return null;
}

function face(item) {
  if (!item.has_crop) return make("span", { class: "face" }, icon("person"));
  return forgiving(make("img", { class: "face", src: `/v1/events/${item.id}/crop?placeholder=true`, alt: "" }));
}

/** The same as the template sighting.html. */
function row(item) {
  const link = make(
    "a",
    { href: `/events/${item.id}` },
    face(item),
    make("span", { class: "sighting-who" }, make("strong", {}, who(item)), make("small", {}, details(item))),
    make("span", { class: "sighting-where" }, make("small", {}, (item.camera ?? item.site).name)),
    make("span", { class: "sighting-way" }, way(item.direction)),
    make("span", { class: "sighting-when" }, clock(item.occurred_at)),
  );
  const deleted = item.is_deleted ? " is-deleted" : "";
  return make("li", { class: `sighting ${item.outcome}${deleted}`, "data-id": item.id }, link);
}

function shown(id) {
  return list.querySelector(`[data-id="${CSS.escape(id)}"]`);
}

function isWanted(item) {
  const { site, camera, outcome } = filters.elements;
  if (site?.value && item.site.id !== site.value) return false;
  if (camera.value && item.camera?.id !== camera.value) return false;
  return !outcome.value || item.outcome === outcome.value;
}

/** Puts an event where its time belongs, mostly on top. */
function place(item) {
  const made = row(item);
  made.classList.add("is-new");
  const at = Date.parse(item.occurred_at);
  const older = [...list.children].find((each) => Date.parse(each.querySelector("time").dateTime) <= at);
  list.insertBefore(made, older ?? null);
  while (list.children.length > MOST) list.lastElementChild.remove();
  document.getElementById("nobody-yet").hidden = true;
}

function showWaiting() {
  waiting.splice(0).forEach(place);
  tellWaiting();
}

function tellWaiting() {
  waitingButton.hidden = waiting.length === 0;
  waitingButton.textContent = t("Show {n} new", { n: waiting.length });
}

function onSeen(event) {
  const item = JSON.parse(event.data);
  if (event.lastEventId) newest = event.lastEventId;
  refreshFigures();
  if (item.duplicate_of || item.is_deleted || !isWanted(item)) return;
  if (shown(item.id) || waiting.some((each) => each.id === item.id)) return;
  if (isPaused) {
    waiting.push(item);
    if (waiting.length > MOST) waiting.shift();
    tellWaiting();
    return;
  }
  place(item);
  unsaid.push(item.direction ? `${who(item)}, ${item.direction === "in" ? t("In") : t("Out")}` : who(item));
  say();
}

function onChanged(event) {
  const item = JSON.parse(event.data);
  shown(item.id)?.replaceWith(row(item));
  const place = waiting.findIndex((each) => each.id === item.id);
  if (place >= 0) waiting[place] = item;
  refreshFigures();
}

const refreshFigures = throttled(async () => {
  try {
    const site = filters.elements.site?.value ?? "";
    const answer = await fetch(`/today/figures?${new URLSearchParams({ site })}`, { headers: { Accept: "application/json", ...BACKGROUND } });
    if (!answer.ok || answer.redirected) return;
    const figures = await answer.json();
    for (const element of document.querySelectorAll("[data-figure]")) {
      element.textContent = numbers.format(figures[element.dataset.figure]);
    }
    for (const element of document.querySelectorAll("[data-note]")) {
      const value = figures[element.dataset.note];
      element.textContent = NOTES[element.dataset.note](numbers.format(value));
      element.hidden = value === 0;
    }
  } catch {
    // the service is away: the feed says so, and comes back by itself
  }
}, FIGURES_EVERY_MS);

function tell(words, kind) {
  state.textContent = words;
  state.className = `badge ${kind}`;
}

function connect() {
  const source = new EventSource(`/live?${new URLSearchParams({ after: newest })}`);
  source.addEventListener("open", () => tell(t("Live"), "good"));
  source.addEventListener("seen", onSeen);
  source.addEventListener("changed", onChanged);
  source.addEventListener("reload", reload);
  source.addEventListener("error", () => {
    tell(t("Connecting again"), "warn");
    if (source.readyState === EventSource.CLOSED) setTimeout(comeBack, COME_BACK_MS);
  });
  addEventListener("pagehide", () => source.close());
}

let reloading = null;

/** More came than a list can follow. While much comes, now and then is enough. */
function reload() {
  const since = Date.now() - Number(sessionStorage.getItem(RELOADED) ?? 0);
  const waitMs = since >= 0 && since < RELOAD_EVERY_MS ? RELOAD_EVERY_MS - since : 0;
  reloading ??= setTimeout(() => {
    sessionStorage.setItem(RELOADED, String(Date.now()));
    location.reload();
  }, waitMs);
}

/** The browser gave up: the session is over, or too many pages follow. */
async function comeBack() {
  try {
    const answer = await fetch("/today/figures", { headers: { Accept: "application/json", ...BACKGROUND } });
    if (answer.redirected) location.assign("/login?next=%2F");
    else connect();
  } catch {
    setTimeout(comeBack, COME_BACK_MS);
  }
}

pause.addEventListener("click", () => {
  isPaused = !isPaused;
  pause.setAttribute("aria-pressed", String(isPaused));
  pause.textContent = isPaused ? t("Go on") : t("Pause");
  if (!isPaused) showWaiting();
});
waitingButton.addEventListener("click", showWaiting);
filters.addEventListener("change", () => filters.requestSubmit());
setInterval(refreshFigures, 60000);
connect();
