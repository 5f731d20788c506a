// Whether somebody has come, from frames of 32 x 24 grey cells. What the service says of a picture is heard: where it
// saw nobody is what the place looks like empty; whoever was greeted is not asked again until the view has changed.
export const COLUMNS = 32;
export const ROWS = 24;

// Share of cells that must change before somebody is there.
const MOVED = { low: 0.08, medium: 0.04, high: 0.015 };
// Grey levels: less is a lens's noise.
const CELL = 14;
// A person beside the one who was greeted changes more of the picture than one who shifts their weight.
const ANOTHER = 0.25;
const APART_MS = 1500;
const STILL_MS = 1500;
const GREETING_MS = 2500;
// Whoever has been told twice is not told again while they stand there and talk.
const REPEATED_MS = 7000;
const KEPT_MS = 4000;
const FORGET_MS = 60_000;
// After this long whoever has moved since may be the next one of a queue, and is looked at: the service knows who was
// greeted already. While the place is never still, longer each time: a ventilator is nobody.
const NEXT_MS = 8000;
const MOST_TRIES = 4;

export class Presence {
  #last = null;
  #taken = null;
  #reference = null;
  #changed = 0;
  #movedAt = -Infinity;
  #takenAt = -Infinity;
  #from = 0;
  #forgetAt = 0;
  #isAwaited = false;
  #tries = 0;
  #patience = NEXT_MS;

  constructor(sensitivity = "medium") {
    this.limit = MOVED[sensitivity] ?? MOVED.medium;
  }

  /** When something moved last, ms. */
  get movedAt() {
    return this.#movedAt;
  }

  /** Takes in a frame; true: take a picture now. */
  see(cells, now) {
    if (this.#last === null || difference(cells, this.#last) >= this.limit) this.#moves(now);
    this.#last = cells;
    if (this.#isAwaited || now < this.#from || now - this.#takenAt < APART_MS) return false;
    if (this.#mayBeAnother(now)) return true;
    if (now - this.#movedAt > STILL_MS) return false;
    return this.#reference === null || difference(cells, this.#reference) >= this.#changed;
  }

  #moves(now) {
    if (now - this.#movedAt > STILL_MS) this.#patience = NEXT_MS;
    this.#movedAt = now;
  }

  /** Whoever came while the last answer stood there may be standing still by now. */
  #mayBeAnother(now) {
    return this.#reference !== null && now > this.#forgetAt && this.#movedAt > this.#from;
  }

  /** A picture is being taken. */
  taken(now) {
    this.#taken = this.#last;
    this.#takenAt = now;
    this.#isAwaited = true;
  }

  /** What came of it: greeted, repeated (greeted before), kept, nobody, again. */
  said(verdict, now) {
    this.#isAwaited = false;
    if (verdict === "again" && ++this.#tries < MOST_TRIES) {
      this.#reference = null;
      return;
    }
    this.#tries = 0;
    this.#reference = this.#taken;
    this.#changed = verdict === "nobody" ? this.limit : ANOTHER;
    this.#from = now + ({ nobody: 0, greeted: GREETING_MS, repeated: REPEATED_MS }[verdict] ?? KEPT_MS);
    if (verdict === "greeted") this.#patience = NEXT_MS;
    this.#forgetAt = now + (verdict === "nobody" ? FORGET_MS : this.#patience);
    this.#patience = Math.min(2 * this.#patience, FORGET_MS);
  }

  /** Somebody asks for a picture by hand. */
  retry() {
    this.#reference = null;
    this.#from = 0;
    this.#tries = 0;
  }
}

/** Share of cells that differ, once the light of the whole picture is taken out. */
export function difference(a, b) {
  const shift = mean(a) - mean(b);
  let n = 0;
  for (let index = 0; index < a.length; index += 1) if (Math.abs(a[index] - b[index] - shift) > CELL) n += 1;
  return n / a.length;
}

function mean(cells) {
  return cells.reduce((sum, value) => sum + value, 0) / cells.length;
}
