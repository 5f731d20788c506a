// Delivers what waits, one picture at a time and in order, as long as it takes. Each has a key of its own, so that one
// that was recorded before its answer was lost is not recorded twice. See app/camera/sender.py.
import { deviceTime } from "./clock.js";
import { call } from "./wire.js";

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30_000;
const IDLE_MS = 5000;
const BEHIND_MS = 600_000;
const AHEAD_MS = 24 * 3600_000;
const MOST_FAILURES = 5;
// Will not change however often one asks.
const NEVER = [400, 413, 415, 422];
const AWAY = [502, 503, 504];
// More faces than this are nobody who stands in front of a tablet.
const FACES = 3;

export class Outbox {
  #store;
  #events;
  #wake = () => {};
  #failures = 0;
  refused = 0;

  /** `events`: settled(picture, recording or null), state("ok" | "away" | "busy" | "key"). */
  constructor(store, events) {
    this.#store = store;
    this.#events = events;
    window.addEventListener("online", () => this.wake());
  }

  get waiting() {
    return this.#store.count;
  }

  async put(picture) {
    await this.#store.put(picture);
    this.wake();
  }

  /** Tries again now. */
  wake() {
    this.#wake();
  }

  /** For ever, whatever goes wrong. */
  async run() {
    let pauseMs = FIRST_PAUSE_MS;
    for (;;) {
      const after = await this.#tryOne().catch(() => ({ afterMs: null })); // a disk that fails: tried again
      if (after === "next") {
        pauseMs = FIRST_PAUSE_MS;
      } else if (after === "idle") {
        await this.#sleep(IDLE_MS);
      } else {
        await this.#sleep(Math.min(after.afterMs ?? pauseMs * (0.5 + Math.random() / 2), LONGEST_PAUSE_MS));
        pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
      }
    }
  }

  async #tryOne() {
    const picture = await this.#store.first(Date.now());
    return picture === null ? "idle" : this.#settle(picture);
  }

  async #sleep(ms) {
    await new Promise((resolve) => {
      this.#wake = resolve;
      setTimeout(resolve, ms);
    });
    this.#wake = () => {};
  }

  /** `next` when the picture does not wait any more, or not in front; else how long to wait. */
  async #settle(picture) {
    const answer = await deliver(picture);
    const fate = judged(answer, picture);
    this.#failures = fate === "fails" ? this.#failures + 1 : 0;
    if (fate === "delivered" || fate === "refused") {
      await this.#store.remove(picture);
      if (fate === "refused") this.refused += 1;
      this.#events.state("ok");
      this.#events.settled(picture, answer.status === 200 ? answer.body : null, fate);
      return "next";
    }
    if (fate === "behind" || this.#failures >= MOST_FAILURES) {
      this.#failures = 0;
      await this.#store.setBehind(picture, Date.now() + BEHIND_MS);
      return "next";
    }
    this.#events.state(fate === "key" ? "key" : answer.status === 429 ? "busy" : "away");
    return answer;
  }
}

function deliver(picture) {
  const form = new FormData();
  form.set("image", new Blob([picture.jpeg], { type: "image/jpeg" }), "capture.jpg");
  form.set("captured_at", picture.capturedAt);
  if (picture.direction) form.set("direction", picture.direction);
  const told = deviceTime(picture.stamp);
  const headers = { "Idempotency-Key": picture.key, ...(told ? { "X-Device-Time": told } : {}) };
  return call("POST", `/v1/captures?max_faces=${FACES}`, { body: form, headers });
}

/** What an answer means for a picture. Only what is surely the service's own word may end its waiting. */
export function judged({ status, body }, picture) {
  if (status === 200 && Array.isArray(body.faces) && Array.isArray(body.events)) return "delivered";
  if ((status === 409 && body.code === "capture_recorded") || (status === 410 && body.code === "idempotency_erased")) return "delivered";
  if (status === 401 || status === 403) return body.code ? "key" : "again";
  if (status === 422 && body.code === "captured_at_in_future") return Date.now() > picture.stamp.wall + AHEAD_MS ? "refused" : "behind";
  if (NEVER.includes(status) && body.code) return "refused";
  return status >= 500 && !AWAY.includes(status) && body.code ? "fails" : "again";
}
