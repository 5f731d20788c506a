// Threshold: one value that the line, the slider, the number and the presets all show and change.
import { t } from "./i18n.js";
import { onSubmit } from "./ui.js";
import { send } from "./api.js";
import { Chart, faded } from "./threshold-chart.js";
import { drawDots } from "./threshold-dots.js";
import { Rates, perThousand, written } from "./threshold-rates.js";
import { askForPreview, forgetPreview } from "./threshold-preview.js";
import { reloadSaying } from "./said-later.js";
import { showLive } from "./threshold-live.js";

const PREVIEW_AFTER_MS = 450;
const STEPS = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10 };

const given = JSON.parse(document.getElementById("threshold-data").textContent);
const rates = new Rates(given.curve, given.threshold);
const form = document.getElementById("apply");
const slider = document.getElementById("slider");
const number = document.getElementById("number");
const presets = [...document.querySelectorAll(".preset[data-target]")];
const asInForce = document.getElementById("as-in-force");
const magnets = [given.threshold, ...presets.map((preset) => rates.thresholdFor(Number(preset.dataset.target)))];
const chart = new Chart(rates, { inForce: given.threshold, magnets, onMove: choose });

let tried = given.threshold;
let pause = 0;

/** A threshold chosen by hand: to apply it means to fix it. */
function choose(threshold) {
  show(threshold);
  setMode(threshold === given.threshold ? given.mode : "manual");
  press(threshold === given.threshold ? asInForce : null);
}

/** A promise chosen: the threshold that keeps it. */
function promise(target, button = null) {
  show(rates.thresholdFor(target));
  setMode("auto", target);
  press(button ?? presets.find((preset) => Number(preset.dataset.target) === target) ?? null);
}

function show(threshold) {
  tried = threshold;
  slider.value = String(threshold);
  number.value = written(threshold);
  slider.setAttribute("aria-valuetext", written(threshold));
  chart.moveTo(threshold);
  showConsequences(ratesAt(threshold));
  clearTimeout(pause);
  forgetPreview();
  pause = setTimeout(() => askForPreview(threshold, showConsequences), PREVIEW_AFTER_MS);
}

/** Of the threshold in force exactly, of others by the curve until the service has answered. */
function ratesAt(threshold) {
  return threshold === given.threshold ? given.expected : rates.at(threshold);
}

function showConsequences({ fpir, fnir }) {
  for (const [name, rate] of [["strangers", fpir], ["staff", fnir]]) {
    document.getElementById(`${name}-n`).textContent = perThousand(rate.value);
    const range = { low: perThousand(rate.low), high: perThousand(rate.high) };
    document.getElementById(`${name}-range`).textContent = t("95 in 100 sure: {low} to {high}", range);
    if (chart.look) drawDots(document.getElementById(`${name}-dots`), rate, chart.look[name], faded(chart.look.soft, 0.22));
  }
  document.getElementById("difference").textContent = difference(fpir, fnir);
}

/** Against the threshold in force, in words. */
function difference(fpir, fnir) {
  if (tried === given.threshold) return t("This is the threshold in force.");
  const now = given.expected;
  const [strangers, staff] = [fpir.value - now.fpir.value, fnir.value - now.fnir.value];
  const values = { strangers: perThousand(Math.abs(strangers)), staff: perThousand(Math.abs(staff)) };
  return tried > given.threshold
    ? t("Against now, of 1 000: {strangers} fewer strangers are named, {staff} more of the staff are missed.", values)
    : t("Against now, of 1 000: {strangers} more strangers are named, {staff} fewer of the staff are missed.", values);
}

function press(button) {
  for (const each of [...presets, asInForce]) each.setAttribute("aria-pressed", String(each === button));
}

function setMode(mode, target = null) {
  if (!form) return;
  form.elements.mode.value = mode;
  if (target !== null) form.elements.target.value = String(Number((100 * target).toPrecision(6)));
  document.getElementById("target-field").hidden = mode !== "auto";
}

function prepareInputs() {
  // Presets lie between the steps; the arrow keys keep to them.
  for (const input of [slider, number]) Object.assign(input, { min: String(rates.min), max: String(rates.max), step: "any" });
  slider.value = String(given.threshold); // before there were limits, it could not take it
  slider.setAttribute("aria-valuetext", written(given.threshold));
  slider.addEventListener("input", () => choose(rates.snapped(Number(slider.value), magnets, rates.step / 2)));
  slider.addEventListener("keydown", (event) => stepByKey(event, { ...STEPS, ArrowRight: 1, ArrowLeft: -1 }));
  number.addEventListener("keydown", (event) => stepByKey(event, STEPS)); // left and right move the cursor there
  number.addEventListener("change", () => number.value && choose(rates.clamped(Number(number.value))));
  asInForce.addEventListener("click", () => choose(given.threshold));
  for (const preset of presets) preset.addEventListener("click", () => promise(Number(preset.dataset.target), preset));
  for (const button of document.querySelectorAll("[data-try]")) button.addEventListener("click", () => tryThis(Number(button.dataset.try)));
}

function stepByKey(event, keys) {
  const steps = keys[event.key];
  if (!steps) return;
  event.preventDefault();
  choose(rates.snapped(tried + steps * rates.step, [], 0));
}

function tryThis(threshold) {
  choose(rates.clamped(threshold));
  document.getElementById("tuner").scrollIntoView({ behavior: "smooth", block: "start" });
}

function prepareForm() {
  if (!form) return;
  setMode(given.mode);
  form.elements.target.addEventListener("change", ({ target: input }) => input.checkValidity() && promise(Number(input.value) / 100));
  for (const radio of form.elements.mode) {
    radio.addEventListener("change", () => (radio.value === "auto" ? promise(Number(form.elements.target.value) / 100) : setMode("manual")));
  }
  onSubmit(form, async (values) => {
    const reason = values.reason.trim() || null;
    const wanted = values.mode === "auto" ? { mode: "auto", target_fpir: Number(values.target) / 100 } : { mode: "manual", threshold: Number(tried.toFixed(6)) };
    const point = await send("PUT", "/v1/threshold", { ...wanted, reason });
    reloadSaying(t("The threshold is {threshold} from now on.", { threshold: written(point.threshold) }));
  });
}

prepareInputs();
prepareForm();
showLive();
await chart.draw();
chart.listen();
showConsequences(given.expected);
new MutationObserver(() => showConsequences(ratesAt(tried))).observe(document.documentElement, { attributeFilter: ["data-theme"] });
