// When a picture was taken, and what the clock that said so would show now: see app/camera/clock.py.
const PAGE = `${performance.timeOrigin} ${Math.random()}`;
const STEADY_MS = 2000;

/** One reading of the device's clocks. The count of the page says whether the wall's clock was set meanwhile. */
export function stamp() {
  return { wall: Date.now(), count: performance.now(), page: PAGE };
}

/** What to tell the service as this device's time when a picture is sent that was taken at `then`.
 *  Null where that is not known, because the page was reloaded, the device slept or its clock was set: then the
 *  heartbeats from back then tell how wrong it was. */
export function deviceTime(then, now = stamp()) {
  if (then.page !== now.page) return null;
  const drift = now.wall - then.wall - (now.count - then.count);
  return Math.abs(drift) <= STEADY_MS ? new Date(now.wall).toISOString() : null;
}
