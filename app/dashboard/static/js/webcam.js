// The webcam, guided: look straight, to both sides, up and down. Each picture is taken once the service says that the
// head is turned the right way and the picture is good; what is only checked is not stored anywhere.
import { send } from "./api.js";
import { t } from "./i18n.js";
import { say } from "./words.js";

const SIDE_PX = 720;
const PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 4000;
const HOLD_CHECKS = 2; // in a row, so that nobody is taken in passing
const HINT_AFTER_CHECKS = 12;
const ORDER = ["frontal", "left", "right", "up", "down"];

const $ = (id) => document.getElementById(id);
let stream = null;
let onStopped = () => {};

/** What to do for each direction. Those of the picture are the other way round for whoever sits before the camera. */
function instruction(direction) {
  return {
    frontal: t("Look straight into the camera"),
    left: t("Turn your head slowly to your right"),
    right: t("Turn your head slowly to your left"),
    up: t("Raise your chin slowly"),
    down: t("Lower your chin slowly"),
  }[direction];
}

export function stopCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  if (stream) {
    stream = null;
    onStopped();
  }
}

/** Runs the guided camera. `missing`: directions to ask for first; `onChange(pictures, retake)` after every picture. */
export function webcam({ missing, mayStart, onChange }) {
  const state = { pictures: [], skipped: new Set(), held: [], n: 0, pause: PAUSE_MS, run: 0 };
  const asked = [...ORDER.filter((pose) => missing.includes(pose)), ...ORDER.filter((pose) => !missing.includes(pose))];
  const wanted = () => asked.find((pose) => !state.skipped.has(pose) && !state.pictures.some((picture) => picture.direction === pose));
  const changed = () => {
    onChange(state.pictures, retake);
    drawGuide(wanted(), state.pictures);
  };
  const retake = (picture) => {
    state.pictures = state.pictures.filter((other) => other !== picture);
    state.skipped.delete(picture.direction);
    URL.revokeObjectURL(picture.url);
    changed();
  };

  async function keep(shot) {
    state.pictures = [...state.pictures, { ...shot, url: URL.createObjectURL(shot.blob) }];
    Object.assign(state, { held: [], n: 0 });
    flash();
    changed();
  }

  /** One look: takes the picture when the same direction was good several times in a row, the best of these. */
  async function step() {
    const pose = wanted();
    if (!pose) return finish();
    const shot = await look(state);
    if (!shot || !stream) return undefined;
    state.n += 1;
    const isRight = shot.good && shot.direction === pose;
    state.held = isRight ? [...state.held, shot] : [];
    $("webcam").querySelector(".oval").classList.toggle("is-good", isRight);
    $("webcam").querySelector(".oval").classList.toggle("is-bad", !shot.good);
    tell(wordsFor(shot, pose, isRight, state.n));
    if (state.held.length < HOLD_CHECKS) return undefined;
    return keep(state.held.reduce((best, each) => (each.quality > best.quality ? each : best)));
  }

  function finish() {
    stopCamera();
    tell("");
  }

  async function run() {
    const mine = ++state.run;
    while (stream && mine === state.run) {
      await step().catch((problem) => pauseFor(problem, state));
      await wait(state.pause);
    }
  }

  async function start() {
    if (!mayStart()) return;
    complain("");
    $("webcam-start").disabled = true;
    try {
      await show(await open());
    } catch (problem) {
      stopCamera();
      complain(problem.message);
      return;
    } finally {
      $("webcam-start").disabled = false;
    }
    if (!stream) return;
    stream.getVideoTracks()[0].addEventListener("ended", () => {
      stopCamera();
      complain(t("The camera was unplugged or taken away. Connect it, and start it again."));
    });
    Object.assign(state, { held: [], n: 0, pause: PAUSE_MS });
    if (!wanted()) state.skipped.clear();
    changed();
    tell(instruction(wanted()) ?? "");
    run();
  }

  async function shutter() {
    const shot = await look(state).catch((problem) => pauseFor(problem, state));
    if (!shot) return;
    if (!shot.good) {
      tell(shot.reasons.map((reason) => say("reason", reason)).join(" "));
      return;
    }
    state.pictures = state.pictures.filter((other) => other.direction !== shot.direction);
    await keep(shot);
  }

  onStopped = () => {
    $("webcam-video").srcObject = null;
    showCamera(false);
  };
  $("webcam-start").addEventListener("click", start);
  $("webcam-stop").addEventListener("click", stopCamera);
  $("webcam-shutter").addEventListener("click", shutter);
  $("webcam-skip").addEventListener("click", () => {
    const pose = wanted();
    if (pose) state.skipped.add(pose);
    Object.assign(state, { held: [], n: 0 });
    changed();
    if (!wanted()) finish();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden || !stream) return;
    stopCamera();
    complain(t("The camera was stopped because the page was out of sight. What was taken is still here; start it again to go on."));
  });
  window.addEventListener("pagehide", stopCamera);
  return {
    clear: () => {
      state.pictures.forEach((picture) => URL.revokeObjectURL(picture.url));
      Object.assign(state, { pictures: [], skipped: new Set() });
      changed();
    },
  };
}

/** Opens the camera, or says in words why not. */
async function open() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error(t("This browser gives no camera to pages that come without encryption. Open this page by https, or on the server itself by http://localhost; or send photos or a video instead."));
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: false, video: { facingMode: "user", width: { ideal: 1280 }, height: { ideal: 720 } } });
  } catch (problem) {
    throw new Error(refusalOf(problem.name));
  }
}

function refusalOf(name) {
  if (name === "NotAllowedError" || name === "SecurityError") {
    return t("The browser was not allowed to use the camera. Allow it beside the address of this page, and start it again.");
  }
  if (name === "NotFoundError" || name === "OverconstrainedError") return t("No camera was found. Connect one, and start it again; or send photos or a video instead.");
  if (name === "NotReadableError") return t("Another program uses the camera. Close that, and start it again.");
  return t("The camera cannot be started. Try again, or send photos or a video instead.");
}

/** Shows what the camera gives, unless whoever asked has gone elsewhere while the browser asked for permission. */
async function show(opened) {
  if (document.hidden || $("webcam").closest('[role="tabpanel"]').hidden) {
    opened.getTracks().forEach((track) => track.stop());
    return;
  }
  stream = opened;
  showCamera(true);
  $("webcam-video").srcObject = stream;
  try {
    await $("webcam-video").play();
  } catch {
    if (stream) throw new Error(t("The camera cannot be started. Try again, or send photos or a video instead."));
  }
}

/** Takes the middle square of what the camera shows and asks what it is good for; null while there is nothing yet. */
async function look(state) {
  const blob = await photo();
  if (!blob) return null;
  const form = new FormData();
  form.append("image", blob, "check.jpg");
  const { good, reasons, face } = await send("POST", "/v1/enroll/check", form);
  state.pause = PAUSE_MS;
  return { blob, good, reasons, direction: face?.direction ?? null, quality: face?.quality.score ?? 0 };
}

function photo() {
  const video = $("webcam-video");
  const side = Math.min(video.videoWidth, video.videoHeight);
  if (!side) return Promise.resolve(null);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = Math.min(side, SIDE_PX);
  const [left, top] = [(video.videoWidth - side) / 2, (video.videoHeight - side) / 2];
  canvas.getContext("2d").drawImage(video, left, top, side, side, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}

function wordsFor(shot, pose, isRight, n) {
  if (isRight) return t("Hold still…");
  if (shot.reasons.length) return say("reason", shot.reasons[0]);
  const turnBack = n > HINT_AFTER_CHECKS ? ` ${t("A little more, or skip this direction.")}` : "";
  return instruction(pose) + turnBack;
}

/** After a refusal the next look waits: twice as long when the service is busy. */
function pauseFor(problem, state) {
  if (problem.status !== 429 && problem.status !== 0 && problem.status < 500) {
    stopCamera();
    complain(problem.message);
    return;
  }
  state.pause = Math.min(2 * state.pause, LONGEST_PAUSE_MS);
  tell(problem.status === 429 ? t("Many pictures are being looked at just now; this goes on more slowly.") : problem.message);
}

function drawGuide(pose, pictures) {
  for (const arc of document.querySelectorAll(".webcam-guide .arc")) {
    const isDone = pictures.some((picture) => picture.direction === arc.dataset.direction);
    arc.classList.toggle("is-done", isDone);
    arc.classList.toggle("is-wanted", arc.dataset.direction === pose);
  }
}

function flash() {
  $("webcam").classList.add("flash");
  setTimeout(() => $("webcam").classList.remove("flash"), 300);
}

function showCamera(isOn) {
  $("webcam").hidden = !isOn;
  $("webcam-start").hidden = isOn;
}

function tell(words) {
  if ($("webcam-say").textContent !== words) $("webcam-say").textContent = words;
}

function complain(words) {
  $("webcam-problem").textContent = words;
  $("webcam-problem").hidden = !words;
}

function wait(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
