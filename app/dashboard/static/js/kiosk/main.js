// The kiosk: looks, takes a picture when somebody comes, keeps it, and says what the service says.
import { language, t } from "../i18n.js";
import { stamp } from "./clock.js";
import { Eye } from "./eye.js";
import { choose } from "./language.js";
import { Link } from "./link.js";
import { Outbox } from "./outbox.js";
import { openPad } from "./pinpad.js";
import { Presence } from "./presence.js";
import { Screen } from "./screen.js";
import { read, takeKeyFromLink } from "./settings.js";
import { openSetup } from "./setup.js";
import { FullError, Store } from "./store.js";
import { call, newKey } from "./wire.js";
import { greeting, saying } from "./words.js";

const LOOK_MS = 160;
// Whoever waits longer is told that the picture is kept.
const ANSWER_MS = 4000;
// An answer that comes later is about somebody who has gone.
const LATE_MS = 10_000;
const CHOSEN_MS = 15_000;
const REOPEN_MS = 5000;
const START_AGAIN_MS = 60_000;
// Nobody answered, or only a proxy did.
const AWAY = [0, 502, 503, 504];
const asked = new URLSearchParams(location.search);
const IDLE_MS = 1000 * Math.max(1, Number(asked.get("idle_s")) || 300);

class Kiosk {
  #screen;
  #eye;
  #presence;
  #outbox;
  #link;
  #camera = null;
  #state = "ok";
  #isFull = false;
  #direction = null;
  #directionTimer = 0;
  #awaited = null;
  #isAsleep = false;
  #isOpening = false;
  #awakeSince = performance.now();
  #wakeLock = null;

  constructor(root, store) {
    this.#screen = new Screen(root, {
      pin: () => this.#openPad(),
      retry: () => this.#presence.retry(),
      setup: () => this.#setUp(),
      wake: () => this.#wake(),
      direction: (word) => this.#choose(word),
      language: () => choose(language === "vi" ? "en" : "vi"),
      fullscreen: () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()).catch(() => {}),
    });
    this.#eye = new Eye(this.#screen.video);
    this.#outbox = new Outbox(store, { settled: (...heard) => this.#settled(...heard), state: (word) => this.#become(word) });
    this.#link = new Link({ camera: (camera) => this.#know(camera), state: (word) => this.#become(word), picture: () => this.#pictureForService() });
    this.#configure();
  }

  start() {
    this.#outbox.run();
    this.#link.start();
    this.#open();
    setInterval(() => this.#look(), LOOK_MS);
    setInterval(() => this.#tellStatus(), 1000);
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#close() : this.#open()));
    document.addEventListener("pointerdown", () => (this.#awakeSince = performance.now()));
    window.addEventListener("hashchange", () => takeKeyFromLink() && this.#renew());
    if (asked.has("setup") || !read().key) this.#setUp();
  }

  /** Whether the page may be loaded again without anybody noticing. */
  get isQuiet() {
    return this.#awaited === null && !document.querySelector("dialog");
  }

  #configure() {
    const { sound, sensitivity } = read();
    this.#screen.hasSound = sound;
    this.#presence = new Presence(sensitivity);
  }

  #setUp(problem = "") {
    openSetup(() => this.#renew(), problem);
  }

  #renew() {
    this.#configure();
    this.#state = "ok";
    this.#link.beat();
    this.#outbox.wake();
    this.#close();
    this.#open();
  }

  #know(camera) {
    this.#camera = camera;
    this.#screen.camera(camera);
  }

  #become(state) {
    if (state === "ok" && this.#state !== "ok") this.#outbox.wake();
    if (state === "ok") this.#isFull = false;
    const isNew = state !== this.#state;
    this.#state = state;
    if (state === "key" && isNew && read().key) this.#setUp(t("The service refuses this camera’s key. Type in the new one; pictures that wait are sent with it."));
    this.#tellStatus();
  }

  #tellStatus() {
    this.#screen.status({ state: read().key ? this.#state : "unset", waiting: this.#outbox.waiting, refused: this.#outbox.refused, isFull: this.#isFull });
  }

  async #open() {
    if (this.#isAsleep || document.hidden || this.#isOpening || this.#eye.isOpen) return;
    this.#isOpening = true;
    let isOvertaken = false;
    try {
      isOvertaken = !(await this.#eye.open(read().lens));
      if (isOvertaken) return;
      this.#awakeSince = performance.now();
      this.#screen.rest();
      this.#wakeLock = await navigator.wakeLock?.request("screen").catch(() => null);
    } catch (error) {
      this.#screen.say({ kind: "warn", icon: "camera", title: t("No camera"), sub: whyNoCamera(error) }, { stays: true });
      if (error.name !== "NotAllowedError") setTimeout(() => this.#open(), REOPEN_MS);
    } finally {
      this.#isOpening = false;
      if (isOvertaken) this.#open();
    }
  }

  #close() {
    this.#eye.close();
    this.#wakeLock?.release().catch(() => {});
    this.#wakeLock = null;
  }

  #look() {
    if (this.#eye.isLost) {
      this.#close();
      this.#open();
      return;
    }
    if (!this.#eye.isOpen || !read().key || document.querySelector("dialog")) return;
    const now = performance.now();
    const isTime = this.#presence.see(this.#eye.cells(), now);
    if (now - Math.max(this.#presence.movedAt, this.#awakeSince) > IDLE_MS) this.#sleep();
    else if (isTime && this.#awaited === null) this.#take();
  }

  async #take() {
    const at = stamp();
    const picture = { key: newKey(), capturedAt: new Date(at.wall).toISOString(), stamp: at, direction: this.#direction };
    this.#awaited = picture.key;
    this.#presence.taken(performance.now());
    try {
      if (!(await this.#eye.mayHoldFace())) return this.#conclude("nobody");
      this.#screen.looks(true);
      await this.#outbox.put({ ...picture, jpeg: await this.#eye.jpeg() });
      setTimeout(() => this.#keptInstead(picture), this.#state === "ok" ? ANSWER_MS : LOOK_MS);
    } catch (error) {
      this.#isFull = error instanceof FullError;
      this.#screen.say({ kind: "bad", icon: "alert", title: t("This picture could not be kept"), sub: t("Use your PIN when there is a connection, or tell somebody in charge.") });
      this.#conclude("kept");
    }
    this.#tellStatus();
  }

  #keptInstead(picture) {
    if (this.#awaited !== picture.key) return;
    this.#screen.say({ kind: "kept", icon: "offline", title: t("Your picture is kept"), sub: t("There is no answer at the moment. It is sent with the time of now as soon as that is possible.") });
    this.#conclude("kept");
  }

  #settled(picture, recording, fate) {
    const isMine = this.#awaited === picture.key;
    const isLate = stamp().wall - picture.stamp.wall > LATE_MS;
    if (!isMine || isLate) return;
    if (recording === null) {
      if (fate === "refused") this.#screen.say({ kind: "warn", icon: "alert", title: t("This picture cannot be used"), sub: t("Try again, or use your PIN.") });
      return this.#conclude("again");
    }
    const { verdict, ...words } = saying(recording, this.#camera?.timezone);
    if (words.title) this.#screen.say(words);
    if (verdict === "greeted" || verdict === "repeated") this.#choose(null);
    this.#conclude(verdict);
  }

  #conclude(verdict) {
    this.#awaited = null;
    this.#screen.looks(false);
    this.#presence.said(verdict, performance.now());
  }

  #choose(word) {
    clearTimeout(this.#directionTimer);
    this.#direction = word === this.#direction ? null : word;
    this.#screen.chosen(this.#direction);
    if (this.#direction === null) return;
    this.#presence.retry();
    this.#directionTimer = setTimeout(() => this.#choose(null), CHOSEN_MS);
  }

  async #pictureForService() {
    return this.#eye.isOpen ? this.#eye.jpeg() : null;
  }

  #openPad() {
    const direction = this.#direction; // typing takes longer than that is kept
    openPad((given) => this.#punch(given, direction));
  }

  /** Null when it worked; else what to say, and whether the service has decided. */
  async #punch({ code, pin, key }, direction) {
    const body = { employee_code: code, pin, ...(direction ? { direction } : {}) };
    const { status, body: said, afterMs } = await call("POST", "/v1/punches", { body, headers: { "Idempotency-Key": key } });
    if (status === 201) {
      this.#become("ok");
      this.#screen.say(greeting([said], this.#camera?.timezone));
      this.#choose(null);
      return null;
    }
    if (status === 401) this.#become("key");
    return { words: whyNoPunch(status, said, afterMs), isDecided: [401, 403, 422].includes(status) || said.code === "pin_locked" };
  }

  #sleep() {
    this.#isAsleep = true;
    this.#close();
    this.#screen.sleeps(true);
  }

  #wake() {
    this.#isAsleep = false;
    this.#screen.sleeps(false);
    this.#presence.retry();
    this.#open();
  }
}

function whyNoPunch(status, { code }, afterMs) {
  if (code === "pin_wrong") return t("The employee code or the PIN is wrong.");
  if (code === "pin_locked") return t("Too many wrong PINs. Wait {n} minutes, or ask somebody in charge for a new PIN.", { n: Math.max(1, Math.ceil((afterMs ?? 300_000) / 60_000)) });
  if (status === 422) return t("Check what you typed: the PIN has 4 to 12 digits.");
  if (status === 401 || status === 403) return t("The service takes no PINs from this kiosk. Tell somebody in charge.");
  if (AWAY.includes(status)) return t("A PIN can only be checked with a connection. Look into the camera instead: the picture is kept and sent later.");
  return t("The service is busy. Try again in a moment.");
}

function whyNoCamera({ name }) {
  if (name === "NotAllowedError") return t("This page may not use the camera. Allow it in the browser’s address bar, and reload.");
  if (name === "NotFoundError" || name === "OverconstrainedError") return t("No camera was found. Plug one in, or choose another lens in the settings.");
  return t("The camera cannot be opened. Another program may be using it; trying again.");
}

async function serveOffline(isQuiet) {
  const hadOne = navigator.serviceWorker.controller !== null;
  const registration = await navigator.serviceWorker.register("/kiosk-worker.js", { scope: "/kiosk" });
  setInterval(() => registration.update().catch(() => {}), 3600_000);
  navigator.serviceWorker.addEventListener("controllerchange", () => {
    if (!hadOne) return;
    const timer = setInterval(() => {
      if (!isQuiet()) return;
      clearInterval(timer);
      location.reload(); // a new release
    }, 1000);
  });
}

/** Instead of the kiosk, where there can be none. */
function sayInstead(words) {
  const said = document.createElement("p");
  said.className = "notice warn";
  said.setAttribute("role", "alert");
  said.textContent = words;
  root.replaceChildren(said);
}

async function begin() {
  const store = await Store.open().catch(() => null);
  if (store === null) {
    sayInstead(t("This browser cannot keep pictures. Leave the private window, or free some space on the device; the page tries again every minute."));
    setTimeout(() => location.reload(), START_AGAIN_MS);
    return null;
  }
  const kiosk = new Kiosk(root, store);
  kiosk.start();
  return kiosk;
}

const root = document.getElementById("kiosk");
takeKeyFromLink();
if (!window.isSecureContext || !navigator.mediaDevices) {
  sayInstead(t("Browsers show the camera only to pages that come by https, or from the same machine. Open this page with an https address; the administrator knows which."));
} else {
  const kiosk = await begin();
  navigator.storage?.persist?.().catch(() => {});
  serveOffline(() => kiosk === null || kiosk.isQuiet).catch(() => {}); // without it, only a reload while offline fails
}
