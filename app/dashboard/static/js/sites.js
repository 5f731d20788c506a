// Sites and holidays.
import { send, sendOnce } from "./api.js";
import "./dialogs.js";
import { t } from "./i18n.js";
import { reloadSaying } from "./said-later.js";
import { busy, confirmed, make, onSubmit } from "./ui.js";

const LINE = /^\s*(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})[\s,;:]+(.+?)\s*$/;

const zones = document.getElementById("zones");
zones.append(...Intl.supportedValuesOf("timeZone").map((zone) => make("option", { value: zone })));

onSubmit(document.getElementById("site-form"), async ({ id, name, timezone, repeat_window_s, unknown_days }) => {
  const site = {
    name,
    timezone: timezone.trim() || null,
    repeat_window_s: Number(repeat_window_s),
    unknown_days: Number(unknown_days),
  };
  if (id) await send("PATCH", `/v1/sites/${id}`, site);
  else await sendOnce("/v1/sites", site);
  reloadSaying(id ? t("The site was changed.") : t("The site was added."));
});

onSubmit(document.getElementById("holiday-form"), async ({ site_id, lines }, form) => {
  const given = lines.split("\n").filter((line) => line.trim());
  const left = [];
  let n = 0;
  for (const line of given) {
    const problem = await added(line, site_id || null);
    if (problem) left.push({ line, problem });
    else n += 1;
  }
  if (!left.length) return reloadSaying(t("Holidays were added: {n}.", { n }));
  form.elements.lines.value = left.map(({ line }) => line).join("\n");
  showLeft(left, n);
});

/** Adds the holiday of a line; returns what was wrong with it, or null. */
async function added(line, siteId) {
  const found = LINE.exec(line);
  if (!found) return t("Write it as 2027-05-01, a space, and the name.");
  const date = `${found[1]}-${found[2].padStart(2, "0")}-${found[3].padStart(2, "0")}`;
  try {
    await sendOnce("/v1/holidays", { date, name: found[4], site_id: siteId });
    return null;
  } catch (problem) {
    return problem.errors?.length ? t("There is no such day.") : problem.message;
  }
}

function showLeft(left, n) {
  const items = left.map(({ line, problem }) => make("li", {}, make("strong", {}, line.trim()), " ", problem));
  document.getElementById("holiday-results").replaceChildren(
    make(
      "div",
      { class: "notice warn" },
      n ? t("Holidays were added: {n}.", { n }) : "",
      " ",
      t("These lines were not taken; mend them above:"),
      make("ul", {}, ...items),
    ),
  );
  document.getElementById("holiday-dialog").addEventListener("close", () => n && location.reload(), { once: true });
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-delete-holiday]");
  if (!button) return;
  const isSure = await confirmed({
    title: t("Delete {name}?", { name: button.dataset.name }),
    text: t("People are expected on that day again. If it is in the past, their days are worked out anew."),
    action: t("Delete"),
  });
  if (!isSure) return;
  await busy(button, async () => {
    await send("DELETE", `/v1/holidays/${button.dataset.deleteHoliday}`);
    reloadSaying(t("The holiday was deleted."));
  });
});
