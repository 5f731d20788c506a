// Enrolling a face on the person's page: photos, a video, or the webcam, in one card of three tabs.
import { get, isUncertain, newKey, send, upload } from "./api.js";
import { dropPlace } from "./drop.js";
import { failureOf, reasonsByNumber, showEnrolment, showRefusal, showTwin } from "./enroll-result.js";
import { t } from "./i18n.js";
import { reloadParts } from "./parts.js";
import { enlivenTabs } from "./tabs.js";
import { icon, make, toast } from "./ui.js";
import { stopCamera, webcam } from "./webcam.js";
import { say } from "./words.js";

const POLL_MS = 700;
const FILE_NAME_CHARS = 100;
const { id, code, name } = document.getElementById("person").dataset;
const card = document.getElementById("enroll");
const result = document.getElementById("enroll-result");
const bar = document.getElementById("enroll-bar");
const message = document.getElementById("enroll-message");
const progress = document.getElementById("enroll-progress");
const maxFiles = Number(card.dataset.maxFiles);
let isBusy = false;

/** Whether consent is there; says so where it is not. */
function hasConsent() {
  const box = document.getElementById("consent");
  if (!card.dataset.requiresConsent || !box || box.checked) return true;
  showRefusal(result, say("reason", "consent_missing"));
  box.focus();
  return false;
}

function formOf(files, allowDuplicate) {
  const form = new FormData();
  form.append("employee_code", code);
  if (document.getElementById("consent")?.checked) form.append("consent", "true");
  if (allowDuplicate) form.append("on_duplicate", "allow");
  files.forEach((file) => form.append("files", file, file.name));
  return form;
}

function report(share, words) {
  progress.hidden = false;
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
  message.textContent = words;
}

/** One set of files to send: however often that is tried, it is enrolled once. `onDone` is told when it was. */
function attemptOf(files, onDone, onReasons = () => {}) {
  return { files, onDone, onReasons, key: newKey() };
}

/** Sends an attempt's files and shows what becomes of them. */
async function enroll(attempt, { allowDuplicate = false, signal = null } = {}) {
  if (isBusy || !hasConsent()) return;
  isBusy = true;
  result.replaceChildren();
  const again = (options) => enroll(attempt, options);
  try {
    const { body, status } = await upload("/v1/enroll", formOf(attempt.files, allowDuplicate), {
      key: attempt.key,
      signal,
      onProgress: (share) => report(share < 1 ? share : null, share < 1 ? t("Sending: {percent} %", { percent: Math.round(100 * share) }) : t("Looking at the faces…")),
    });
    await conclude(status === 202 ? await followed(body, signal) : body, attempt, again);
  } catch (problem) {
    if (problem.name !== "AbortError") refuse(problem, attempt, () => again({ allowDuplicate }), again);
  } finally {
    isBusy = false;
    progress.hidden = true;
  }
}

/** Asks for a video's enrolment until it is done or failed; whoever cancels it cancels its job. */
async function followed(enrolment, signal) {
  let isCancelled = false;
  for (;;) {
    if (enrolment.status === "done" || enrolment.status === "failed") return enrolment;
    const percent = Math.round(100 * enrolment.progress);
    report(enrolment.progress || null, enrolment.status === "queued" ? t("Waiting for its turn…") : t("Looking at the video: {percent} %", { percent }));
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    if (signal?.aborted && !isCancelled) isCancelled = await cancelJob(enrolment.job_id);
    enrolment = await get(`/v1/enrolments/${enrolment.id}`);
  }
}

/** Asks for a job to be cancelled; one that was faster is over, and its enrolment counts. */
async function cancelJob(job) {
  try {
    await send("POST", `/v1/jobs/${job}/cancel`);
  } catch (problem) {
    if (problem.code !== "job_finished") throw problem;
    toast(t("It was over already: what was enrolled is listed below, and can be deleted there."));
  }
  return true;
}

async function conclude(enrolment, attempt, again) {
  attempt.key = newKey();
  const isDone = enrolment.status === "done";
  if (isDone) {
    attempt.onDone();
    showEnrolment(result, enrolment);
    document.getElementById("consent")?.closest("label").remove();
  } else if (enrolment.duplicate_of) {
    showTwin(result, { name, picture: null, other: enrolment.duplicate_of, allow: () => again({ allowDuplicate: true }) });
  } else showRefusal(result, failureOf(enrolment));
  await reloadParts("[data-part]").catch((problem) => toast(problem.message, "bad"));
}

function refuse(problem, attempt, retry, again) {
  if (!isUncertain(problem)) attempt.key = newKey();
  if (problem.code === "duplicate_person" && problem.body.person) {
    const picture = URL.createObjectURL(attempt.files[0]);
    showTwin(result, { name, picture, other: problem.body.person, allow: () => again({ allowDuplicate: true }) });
    return;
  }
  const reasons = reasonsByNumber(problem);
  attempt.onReasons(new Map([...reasons].map(([number, words]) => [attempt.files[number]?.name, words])));
  const words = say("reason", problem.code);
  showRefusal(result, words === problem.code ? problem.message : words);
  if (isUncertain(problem)) {
    result.append(make("p", {}, make("button", { class: "button", type: "button", onclick: retry }, t("Try again"))));
  }
}

/** Files under names that differ and are not too long, because what becomes of them is told by name. */
function named(files) {
  const taken = new Set();
  return files.map((file) => {
    let called = file.name.slice(-FILE_NAME_CHARS);
    for (let n = 2; taken.has(called); n += 1) called = `${n}-${file.name}`.slice(0, FILE_NAME_CHARS);
    taken.add(called);
    return new File([file], called, { type: file.type });
  });
}

function photos() {
  const list = document.getElementById("photos-list");
  const button = document.getElementById("photos-enroll");
  let chosen = [];
  let attempt = null;
  const draw = (reasons = null) => {
    list.replaceChildren(...chosen.map((file) => photoShot(file, reasons, () => change(chosen.filter((other) => other !== file)))));
    button.hidden = !chosen.length;
  };
  const change = (files) => {
    chosen = named(files);
    if (chosen.length > maxFiles) toast(t("Send at most {n} files at once; the first {n} are taken.", { n: maxFiles }), "bad");
    chosen = chosen.slice(0, maxFiles);
    attempt = attemptOf(chosen, () => change([]), draw);
    result.replaceChildren();
    draw();
  };
  dropPlace(document.getElementById("photos-drop"), (files) => change([...chosen, ...files]));
  button.addEventListener("click", () => enroll(attempt));
}

function photoShot(file, reasons, remove) {
  const reason = reasons?.get(file.name);
  const image = make("img", { src: URL.createObjectURL(file), alt: "" });
  image.addEventListener("load", () => URL.revokeObjectURL(image.src));
  return make(
    "li",
    { class: `shot ${reason ? "is-bad" : ""}` },
    image,
    make("small", {}, file.name),
    reason ? make("span", { class: "field-error" }, reason) : null,
    make("button", { class: "button small", type: "button", onclick: remove }, t("Leave out")),
  );
}

function video() {
  const begin = document.getElementById("video-enroll");
  const stop = document.getElementById("video-stop");
  const label = document.getElementById("video-name");
  let attempt = null;
  dropPlace(document.getElementById("video-drop"), ([chosen]) => {
    const [file] = named([chosen]);
    attempt = attemptOf([file], () => (begin.hidden = label.hidden = true));
    label.textContent = t("{file}, {megabytes} MB", { file: file.name, megabytes: (file.size / 1e6).toFixed(1) });
    label.hidden = false;
    begin.hidden = false;
    result.replaceChildren();
  });
  begin.addEventListener("click", async () => {
    const stopper = new AbortController();
    stop.onclick = () => {
      stop.disabled = true;
      stopper.abort();
    };
    stop.hidden = stop.disabled = false;
    begin.disabled = true;
    await enroll(attempt, { signal: stopper.signal });
    begin.disabled = false;
    stop.hidden = true;
  });
}

function camera() {
  const shots = document.getElementById("webcam-shots");
  const button = document.getElementById("webcam-enroll");
  let attempt = null;
  const filesOf = (pictures) => pictures.map(({ blob, direction }, n) => new File([blob], `webcam-${n + 1}-${direction}.jpg`, { type: blob.type }));
  const taken = webcam({
    missing: card.dataset.missing.split(" ").filter(Boolean),
    mayStart: hasConsent,
    onChange: (pictures, retake) => {
      shots.replaceChildren(...pictures.map((picture) => webcamShot(picture, retake)));
      button.hidden = !pictures.length;
      if (pictures.length) result.replaceChildren(); // "Try again" there would send the pictures of before
      attempt = attemptOf(filesOf(pictures), () => taken.clear());
    },
  });
  button.addEventListener("click", () => {
    stopCamera();
    enroll(attempt);
  });
}

function webcamShot(picture, retake) {
  return make(
    "li",
    { class: "shot is-good is-mirrored" },
    make("img", { src: picture.url, alt: say("direction", picture.direction) }),
    make("span", {}, icon("check"), " ", say("direction", picture.direction)),
    make("small", {}, t("Quality {percent} %", { percent: Math.round(100 * picture.quality) })),
    make("button", { class: "button small", type: "button", onclick: () => retake(picture) }, t("Take it again")),
  );
}

if (document.getElementById("webcam")) {
  enlivenTabs(card, card, (tab) => tab.id === "tab-webcam" || stopCamera());
  photos();
  video();
  camera();
  if (location.hash === "#enroll") card.scrollIntoView();
}
