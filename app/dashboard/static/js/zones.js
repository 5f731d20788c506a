// Times on a wall elsewhere: what an <input type="datetime-local"> holds, in a zone that need not be the browser's.

/** The wall clock of `zone` at a moment, as "2026-11-03T08:59:12". */
export function wallOf(moment, zone) {
  const format = new Intl.DateTimeFormat("en-CA", {
    timeZone: zone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit",
    hour: "2-digit", minute: "2-digit", second: "2-digit",
  });
  const part = Object.fromEntries(format.formatToParts(new Date(moment)).map(({ type, value }) => [type, value]));
  return `${part.year}-${part.month}-${part.day}T${part.hour}:${part.minute}:${part.second}`;
}

/** The moment, in UTC, at which a wall clock of `zone` shows this; the first one where it shows it twice. */
export function momentOf(wall, zone) {
  const asked = Date.parse(`${wall.length === 16 ? `${wall}:00` : wall}Z`);
  // The zone's distance from UTC a day earlier and later: both are tried, the one that is ahead first.
  const distances = [-1, 1].map((days) => distanceAt(asked + days * 86400000, zone)).sort((a, b) => b - a);
  const fitting = distances.find((distance) => distanceAt(asked - distance, zone) === distance);
  return new Date(asked - (fitting ?? distances[1])).toISOString();
}

function distanceAt(moment, zone) {
  return Date.parse(`${wallOf(moment, zone)}Z`) - Math.floor(moment / 1000) * 1000;
}
