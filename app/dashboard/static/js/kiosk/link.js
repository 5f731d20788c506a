// The camera's line to the service: heartbeats, which measure this device's clock, and wishes to see what it sees.
import { call } from "./wire.js";

const BEAT_MS = 30_000;
const ASK_MS = 5000;

export class Link {
  #events;
  #knowsWishes = false;

  /** `events`: camera(camera), state(word), picture() -> Promise of JPEG bytes or null. */
  constructor(events) {
    this.#events = events;
  }

  start() {
    this.beat();
    setInterval(() => this.beat(), BEAT_MS);
    setInterval(() => this.#ask(), ASK_MS);
    window.addEventListener("online", () => this.beat());
  }

  async beat() {
    const { status, body } = await call("POST", "/v1/cameras/heartbeat", { body: { device_time: new Date().toISOString(), version: "kiosk" } });
    if (status === 200 && body.camera) {
      this.#knowsWishes = "snapshot" in body;
      this.#events.camera(body.camera);
      this.#events.state("ok");
    } else if ((status === 401 || status === 403) && body.code) this.#events.state("key");
    else if (status === 0 || status >= 500) this.#events.state("away");
  }

  async #ask() {
    if (!this.#knowsWishes || document.hidden) return;
    const { status, body } = await call("GET", "/v1/cameras/snapshots/wanted");
    if (status !== 200 || !body.snapshot) return;
    const jpeg = await this.#events.picture();
    const form = new FormData();
    if (jpeg) form.set("image", new Blob([jpeg], { type: "image/jpeg" }), "snapshot.jpg");
    else form.set("trouble", "no_picture");
    await call("POST", `/v1/cameras/snapshots/${encodeURIComponent(body.snapshot.id)}`, { body: form });
  }
}
