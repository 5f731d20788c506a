// On every page: the menu of small screens, language, theme, and the zone that times are shown in.
import { forgiving } from "./ui.js";

const YEAR_S = 31536000;

function keep(name, value) {
  document.cookie = `rollcall_${name}=${encodeURIComponent(value)}; path=/; max-age=${YEAR_S}; samesite=lax`;
}

function openMenu(isOpen) {
  document.getElementById("menu").classList.toggle("is-open", isOpen);
  document.getElementById("menu-button").setAttribute("aria-expanded", String(isOpen));
}

const button = document.getElementById("menu-button");
button?.addEventListener("click", () => openMenu(button.getAttribute("aria-expanded") !== "true"));
document.addEventListener("keydown", (event) => event.key === "Escape" && button && openMenu(false));
document.getElementById("content")?.addEventListener("click", () => button && openMenu(false));

keep("zone", Intl.DateTimeFormat().resolvedOptions().timeZone);

for (const select of document.querySelectorAll("select[data-taste]")) {
  select.addEventListener("change", () => {
    keep(select.dataset.taste, select.value);
    if (select.dataset.taste === "theme") document.documentElement.dataset.theme = select.value;
    else location.reload();
  });
}

document.querySelectorAll("img.face").forEach(forgiving);
