// Parts of a page, rendered anew by the server: the rest stays as it is, with its focus and what was typed.
import { t } from "./i18n.js";
import { forgiving } from "./ui.js";
import { BACKGROUND, Problem } from "./api.js";

const LONGEST_PRESS_MS = 2000; // some presses are never told to end, such as those that open a menu

let letGo = Promise.resolve();

// What is pressed on one element and let go on its successor would be no click.
document.addEventListener(
  "pointerdown",
  ({ button, isPrimary }) => {
    if (button !== 0 || !isPrimary) return;
    letGo = new Promise((resolve) => {
      const end = () => setTimeout(resolve); // the click comes right after
      for (const name of ["pointerup", "pointercancel"]) window.addEventListener(name, end, { once: true, capture: true });
      setTimeout(resolve, LONGEST_PRESS_MS);
    });
  },
  true,
);

/**
 * Fetches a page and puts those of its elements that match `selector` (by their id) in the place of ours.
 * `background`: a timer asks, not a person.
 */
export async function reloadParts(selector, url = location.href, { signal = null, background = false } = {}) {
  const fresh = await fetchPage(url, { signal, headers: { Accept: "text/html", ...(background ? BACKGROUND : {}) } });
  await letGo;
  signal?.throwIfAborted();
  for (const part of document.querySelectorAll(selector)) {
    const next = fresh.getElementById(part.id);
    if (!next) continue;
    const adopted = document.importNode(next, true);
    adopted.querySelectorAll("img.face").forEach(forgiving);
    part.replaceWith(adopted);
  }
}

async function fetchPage(url, options) {
  let answer;
  try {
    answer = await fetch(url, { credentials: "same-origin", ...options });
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new Problem(0, {});
  }
  if (answer.redirected && new URL(answer.url).pathname === "/login") location.reload();
  if (!answer.ok) throw new Problem(answer.status, { detail: t("The page cannot be loaded. Try again in a moment.") });
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}
