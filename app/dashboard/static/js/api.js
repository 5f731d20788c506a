// Calls to /v1 with the visitor's session. Everything that changes something carries the token of this page.
import { t } from "./i18n.js";
import { make, toast } from "./ui.js";

let token = tokenOf(document);
let isSignedOut = false;
const attempts = new Map(); // what was tried and not answered: its key, and its body

/** What the service answered when it refused: `status`, `code`, `detail` for people, `errors` of single fields. */
export class Problem extends Error {
  constructor(status, body) {
    super(t(body.detail ?? "The service does not answer. Check the connection and try again."));
    this.status = status;
    this.code = body.code ?? "unreachable";
    this.errors = body.errors ?? [];
    this.body = body;
  }
}

/** What a request carries that nobody asked for: a timer's look must not keep a session open that nobody uses. */
export const BACKGROUND = { "X-Background": "1" };

/** GET; `query` without what is null or empty. `background`: a timer asks, not a person. */
export function get(path, query = {}, { background = false } = {}) {
  return call("GET", path + search(query), background ? { headers: BACKGROUND } : {});
}

/** A change, with JSON or a FormData as its body. `key` makes a repetition harmless; see newKey. */
export async function send(method, path, body = null, { key = null } = {}) {
  const headers = { "X-CSRF-Token": await csrfToken() };
  if (key) headers["Idempotency-Key"] = key;
  if (body !== null && !(body instanceof FormData)) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(body);
  }
  return call(method, path, { headers, body });
}

/**
 * A POST that is done once, however often it has to be sent: the key stays the same until the service has answered.
 * `what`: whatever tells this thing from others, where the body holds the time or something made up; the first body counts.
 */
export async function sendOnce(path, body = null, { what = body } = {}) {
  const name = JSON.stringify([path, what]);
  const attempt = attempts.get(name) ?? { key: newKey(), body };
  attempts.set(name, attempt);
  try {
    const answer = await send("POST", path, attempt.body, { key: attempt.key });
    attempts.delete(name);
    return answer;
  } catch (problem) {
    if (!isUncertain(problem)) attempts.delete(name);
    throw problem;
  }
}

/** Whether it may have been done all the same, or will be when it is sent again as it is. */
export function isUncertain({ status, code }) {
  return status === 0 || status === 401 || status === 429 || status >= 500 || code === "idempotency_in_progress";
}

/** The token that everything but GET carries; that of another session where this one is over. */
export async function csrfToken() {
  if (!isSignedOut) return token;
  try {
    const answer = await fetch(location.href, { credentials: "same-origin", headers: { Accept: "text/html" } });
    const fresh = tokenOf(new DOMParser().parseFromString(await answer.text(), "text/html"));
    if (fresh) [token, isSignedOut] = [fresh, false];
  } catch {
    // The call itself fails too, and says so.
  }
  return token;
}

/**
 * POST of a FormData that tells how far it is: `onProgress(0..1)`. `signal` stops the sending; what has been sent whole
 * is answered, because the service does it.
 */
export async function upload(path, form, { onProgress = () => {}, key = newKey(), signal = null } = {}) {
  const csrf = await csrfToken();
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let isSent = false;
    request.open("POST", path);
    request.setRequestHeader("X-CSRF-Token", csrf);
    request.setRequestHeader("Idempotency-Key", key);
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.upload.onload = () => (isSent = true);
    request.onload = () =>
      request.status < 300
        ? resolve({ status: request.status, body: request.response })
        : reject(refusal("POST", request.status, request.response ?? {}));
    request.onerror = () => reject(new Problem(0, {}));
    request.onabort = () => reject(new DOMException("stopped", "AbortError"));
    signal?.addEventListener("abort", () => isSent || request.abort());
    request.send(form);
  });
}

/** A new Idempotency-Key: the same one for every attempt at one and the same thing. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // randomUUID exists on https only
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function search(query) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

async function call(method, path, options = {}) {
  let answer, body;
  try {
    answer = await fetch(path, { method, credentials: "same-origin", ...options });
    // 204 says that it is JSON too, and is empty.
    const isJson = answer.status !== 204 && (answer.headers.get("content-type") ?? "").includes("json");
    body = isJson ? await answer.json() : null;
  } catch {
    throw new Problem(0, {}); // not reached, or gone in the middle of its answer
  }
  if (!answer.ok) throw refusal(method, answer.status, body ?? {});
  return body;
}

function refusal(method, status, body) {
  if (status === 401) signIn(method);
  if (body.code === "csrf_invalid") isSignedOut = true; // signed in anew beside this page: the next try asks for the token
  return new Problem(status, body);
}

/** The session is over. What was to be sent stays on the page: whoever signs in beside it sends it again. */
function signIn(method) {
  const here = location.pathname + location.search;
  if (method === "GET" && !isSignedOut) location.assign(`/login?next=${encodeURIComponent(here)}`);
  if (method === "GET") return;
  isSignedOut = true;
  const link = make("a", { href: "/login", target: "_blank" }, t("Sign in (in a new tab)"));
  toast(make("span", {}, t("You are signed out. Nothing that you typed is lost: sign in, come back to this page, and try again."), " ", link), "bad");
}

function tokenOf(page) {
  return page.querySelector('meta[name="csrf-token"]')?.content ?? "";
}
