// The list of people: searching as one types, and adding somebody.
import { sendOnce } from "./api.js";
import { openDialog } from "./dialogs.js";
import { t } from "./i18n.js";
import { reloadParts } from "./parts.js";
import { personOf } from "./person-form.js";
import { onSubmit, toast } from "./ui.js";

const PAUSE_MS = 250;
const filters = document.getElementById("people-filters");
let timer = null;
let running = null;

async function search() {
  clearTimeout(timer);
  running?.abort();
  running = new AbortController();
  const given = [...new FormData(filters)].filter(([, value]) => value.trim());
  const url = given.length ? `/people?${new URLSearchParams(given)}` : "/people";
  const results = document.getElementById("people-results");
  results.setAttribute("aria-busy", "true");
  try {
    await reloadParts("#people-results", url, { signal: running.signal });
    history.replaceState(null, "", url);
    const n = document.querySelectorAll("#people-results tbody tr").length;
    document.getElementById("people-status").textContent = shownWords(n);
  } catch (problem) {
    if (problem.name !== "AbortError") toast(problem.message, "bad");
  }
}

function shownWords(n) {
  if (n === 0) return t("Nobody matches");
  return n === 1 ? t("One person is shown") : t("{n} people are shown", { n });
}

filters.addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
filters.addEventListener("change", (event) => event.target.tagName === "SELECT" && search());
filters.elements.query.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(search, PAUSE_MS);
});

const dialog = document.getElementById("add-person");
const form = dialog.querySelector("form");
let wanted = "enroll";

document.addEventListener("click", (event) => event.target.closest("[data-add-person]") && openDialog(dialog));
form.addEventListener("submit", (event) => (wanted = event.submitter?.value ?? "enroll"), { capture: true });

onSubmit(form, async (values) => {
  const consent = values.has_consent ? { given_at: new Date().toISOString(), method: values.consent_method } : null;
  const person = await sendOnce("/v1/people", { ...personOf(values), consent }, { what: values });
  if (wanted === "enroll") location.assign(`/people/${person.id}#enroll`);
  else {
    dialog.close();
    form.reset();
    await search();
    toast(t("{name} was added.", { name: person.name }), "good");
  }
});
