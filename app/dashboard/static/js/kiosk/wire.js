// Calls to /v1 with the camera's key. What was refused is an answer here too: { status, body, afterMs }.
import { read } from "./settings.js";

const TIMEOUT_MS = 30_000;

/** Status 0: nobody answered. Without a key nobody is asked. */
export async function call(method, path, { body = null, headers = {}, key = read().key } = {}) {
  if (!key) return { status: 401, body: { code: "key_missing" }, afterMs: null };
  const isForm = body instanceof FormData;
  const sent = {
    method,
    credentials: "omit",
    cache: "no-store",
    headers: { "X-API-Key": key, ...(body && !isForm ? { "Content-Type": "application/json" } : {}), ...headers },
    body: body && !isForm ? JSON.stringify(body) : body,
    signal: AbortSignal.timeout(TIMEOUT_MS),
  };
  try {
    const answer = await fetch(path, sent);
    const isJson = (answer.headers.get("content-type") ?? "").includes("json");
    return { status: answer.status, body: isJson ? await answer.json() : {}, afterMs: pause(answer.headers.get("Retry-After")) };
  } catch {
    return { status: 0, body: {}, afterMs: null };
  }
}

/** A new Idempotency-Key. */
export function newKey() {
  return crypto.randomUUID();
}

function pause(retryAfter) {
  return retryAfter && /^\d+$/.test(retryAfter) ? 1000 * Number(retryAfter) : null;
}
