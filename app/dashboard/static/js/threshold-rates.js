// What a curve of /v1/threshold/curve says of any threshold. Nothing here touches the page.
import { language } from "./i18n.js";

const LEAST_RATE = 1e-6; // where logarithms are taken

/** Rates by threshold; thresholds between the curve's points are read from the lines between them. */
export class Rates {
  constructor(curve, inForce) {
    this.curve = curve;
    const { thresholds } = curve;
    this.min = Math.min(thresholds[0], inForce);
    this.max = Math.max(thresholds.at(-1), inForce);
    this.step = niceStep((this.max - this.min) / 400);
  }

  /** { fpir: { value, low, high }, fnir: … } at a threshold. */
  at(threshold) {
    const { thresholds, fpir, fpir_low, fpir_high, fnir, fnir_low, fnir_high } = this.curve;
    const read = (values, fallback) => interpolate(threshold, thresholds, values.length ? values : fallback);
    return {
      fpir: { value: Math.exp(interpolate(threshold, thresholds, fpir.map(safeLog))), low: read(fpir_low, fpir), high: read(fpir_high, fpir) },
      fnir: { value: read(fnir, fnir), low: read(fnir_low, fnir), high: read(fnir_high, fnir) },
    };
  }

  /** The threshold that a share of strangers reaches. */
  thresholdFor(fpir) {
    const { thresholds, fpir: rates } = this.curve;
    const rising = rates.map((rate) => -safeLog(rate));
    return this.clamped(interpolate(-safeLog(fpir), rising, thresholds));
  }

  /** The nearest threshold on the chart. */
  clamped(threshold) {
    return Math.min(this.max, Math.max(this.min, threshold));
  }

  /** The nearest whole step, or one of `magnets` if that is no further than `reach`. */
  snapped(threshold, magnets, reach) {
    const near = magnets.filter((magnet) => Math.abs(magnet - threshold) <= reach);
    if (near.length) return near.reduce((a, b) => (Math.abs(a - threshold) < Math.abs(b - threshold) ? a : b));
    return this.clamped(Math.round(threshold / this.step) * this.step);
  }
}

const whole = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
const exact = new Intl.NumberFormat("en", { minimumFractionDigits: 4, maximumFractionDigits: 4 });

/** "12" or "1.2" of 1 000. */
export function perThousand(rate) {
  return (rate < 0.01 ? tenth : whole).format(1000 * rate);
}

/** A threshold as it is written everywhere. */
export function written(threshold) {
  return exact.format(threshold);
}

/** A number in the page's language. */
export function counted(n) {
  return whole.format(n);
}

function safeLog(rate) {
  return Math.log(Math.max(rate, LEAST_RATE));
}

/** 1, 2 or 5 times a power of ten, no less than `least`. */
function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least * 0.999);
}

/** Piecewise linear through points of rising xs; the outermost values beyond them. */
function interpolate(x, xs, ys) {
  if (x <= xs[0]) return ys[0];
  if (x >= xs.at(-1)) return ys.at(-1);
  let low = 0;
  let high = xs.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] <= x) low = middle;
    else high = middle;
  }
  const width = xs[high] - xs[low];
  return width > 0 ? ys[low] + ((ys[high] - ys[low]) * (x - xs[low])) / width : ys[low];
}
