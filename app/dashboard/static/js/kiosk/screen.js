// What people see and hear. Names stay for seconds only: the screen is public.
import { language, t } from "../i18n.js";
import { icon, make } from "../ui.js";
import { locale } from "./language.js";
import { clock } from "./words.js";

const SAID_MS = 4500;

export class Screen {
  #timer = 0;
  #zone = undefined;
  #parts;
  hasSound = true;

  /** `acts`: pin(), retry(), setup(), wake(), direction(word), language(), fullscreen(). */
  constructor(root, acts) {
    this.#parts = build(acts);
    const { head, view, say, foot, sleep } = this.#parts;
    root.replaceChildren(head, view, say, foot, sleep);
    setInterval(() => this.#tick(), 1000);
    this.#tick();
    this.rest();
  }

  get video() {
    return this.#parts.video;
  }

  /** The camera as the service knows it. */
  camera({ name, timezone, direction }) {
    this.#zone = timezone;
    this.#parts.name.textContent = name;
    this.#parts.ways.hidden = direction !== "both";
    this.#tick();
  }

  /** What is asked of whoever comes. */
  rest() {
    this.#show({ kind: "rest", icon: "eye", title: t("Look into the camera"), sub: t("Your face is the key. Without it, use your PIN.") });
  }

  /** Says something for seconds; `stays`: until something else is said. */
  say(saying, { stays = false } = {}) {
    clearTimeout(this.#timer);
    this.#show(saying);
    if (this.hasSound && saying.kind) sound(saying.kind);
    if (!stays) this.#timer = setTimeout(() => this.rest(), SAID_MS);
  }

  /** The line at the foot. */
  status({ state, waiting, refused, isFull }) {
    const words = {
      ok: t("Connected"),
      away: t("No connection: pictures wait here, and are sent later"),
      busy: t("The service is busy: pictures wait a moment"),
      key: t("The key is refused"),
      unset: t("This kiosk has no key yet"),
    }[state];
    const told = [words];
    if (waiting) told.push(t("{n} waiting", { n: waiting }));
    if (refused) told.push(t("{n} could not be used", { n: refused }));
    if (isFull) told.push(t("The device is full: new pictures are not kept. Restore the connection."));
    const text = told.join(" · ");
    if (this.#parts.status.textContent !== text) this.#parts.status.textContent = text;
    this.#parts.foot.dataset.state = isFull || state === "unset" ? "key" : state;
  }

  /** The way that was chosen, if any. */
  chosen(direction) {
    this.#parts.ways.querySelectorAll("button").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.way === direction)));
  }

  sleeps(isAsleep) {
    this.#parts.sleep.hidden = !isAsleep;
    if (isAsleep) this.#parts.sleep.focus();
  }

  looks(isLooking) {
    this.#parts.view.classList.toggle("is-looking", isLooking);
  }

  #show({ kind, icon: picture, title, big = "", sub = "", offersPin = false }) {
    const { say, words, pin } = this.#parts;
    say.dataset.kind = kind;
    words.replaceChildren(icon(picture), make("p", { class: "say-title" }, title), big && make("p", { class: "say-big" }, big), sub && make("p", { class: "say-sub" }, sub));
    pin.classList.toggle("primary", offersPin);
  }

  #tick() {
    this.#parts.time.textContent = clock(Date.now(), this.#zone);
    this.#parts.date.textContent = new Intl.DateTimeFormat(locale, { dateStyle: "full", timeZone: this.#zone }).format(new Date());
  }
}

function build(acts) {
  const time = make("span", { class: "time" });
  const date = make("span", { class: "date" });
  const name = make("span", { class: "where" });
  const logo = make("button", { class: "icon-button", type: "button", "aria-label": t("Settings: press for two seconds") }, icon("logo"));
  longPress(logo, acts.setup);
  const head = make("header", { class: "kiosk-head" }, logo, make("h1", {}, time, date), name);
  const video = make("video", { playsinline: true, muted: true, "aria-label": t("What the camera sees, as in a mirror") });
  video.muted = true;
  const view = make("div", { class: "view" }, video);
  const words = make("div", { class: "words", role: "status", "aria-live": "assertive", "aria-atomic": "true" });
  const way = (word, picture, title) => make("button", { class: `button way ${word}`, type: "button", "data-way": word, "aria-pressed": "false", onclick: () => acts.direction(word) }, icon(picture), title);
  const ways = make("div", { class: "ways", role: "group", "aria-label": t("I want to") , hidden: true }, way("in", "in", t("Check in")), way("out", "out", t("Check out")));
  const pin = make("button", { class: "button big", type: "button", onclick: acts.pin }, icon("pin"), t("Use your PIN"));
  const again = make("button", { class: "button big", type: "button", onclick: acts.retry }, icon("restore"), t("Try again"));
  const say = make("section", { class: "say", "aria-label": t("Message") }, words, ways, make("div", { class: "row center acts" }, again, pin));
  const status = make("span", { role: "status", class: "grow" });
  const other = language === "vi" ? "English" : "Tiếng Việt";
  const foot = make(
    "footer",
    { class: "kiosk-foot" },
    make("span", { class: "dot", "aria-hidden": "true" }),
    status,
    make("button", { class: "button quiet small", type: "button", lang: language === "vi" ? "en" : "vi", onclick: acts.language }, other),
    make("button", { class: "button quiet small", type: "button", onclick: acts.fullscreen }, t("Full screen")),
  );
  const sleep = make("button", { class: "sleep", type: "button", hidden: true, onclick: acts.wake }, icon("eye"), make("span", {}, t("Touch to wake")));
  return { head, time, date, name, video, view, words, ways, pin, say, status, foot, sleep };
}

/** By finger or mouse for two seconds; by keyboard at once. */
function longPress(button, act) {
  let timer = 0;
  button.addEventListener("pointerdown", () => (timer = setTimeout(act, 2000)));
  for (const end of ["pointerup", "pointerleave", "pointercancel"]) button.addEventListener(end, () => clearTimeout(timer));
  button.addEventListener("keydown", (event) => event.key === "Enter" && act());
  button.addEventListener("contextmenu", (event) => event.preventDefault());
}

const TONES = { in: [660, 880], out: [880, 660], good: [660], warn: [330], bad: [260, 220] };
let audio = null;

/** Two short tones; silent where the browser wants a touch first. */
function sound(kind) {
  const tones = TONES[kind];
  if (!tones || !("AudioContext" in window)) return;
  audio ??= new AudioContext();
  if (audio.state !== "running") {
    audio.resume().catch(() => {});
    return;
  }
  tones.forEach((frequency, index) => {
    const tone = new OscillatorNode(audio, { frequency });
    const volume = new GainNode(audio, { gain: 0.12 });
    const start = audio.currentTime + 0.14 * index;
    volume.gain.setTargetAtTime(0, start + 0.08, 0.03);
    tone.connect(volume).connect(audio.destination);
    tone.start(start);
    tone.stop(start + 0.3);
  });
}
