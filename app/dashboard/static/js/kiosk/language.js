// The first module of the page: the language that was chosen on this device, before any other module asks for it.
const chosen = localStorage.getItem("rollcall-kiosk-language");
if (chosen) document.documentElement.lang = chosen;

/** How dates are written: as this device's owner does, if that is in the language of the page. */
export const locale = navigator.language.startsWith(document.documentElement.lang) ? navigator.language : document.documentElement.lang;

/** Goes over to another language, now and after every reload. */
export function choose(language) {
  localStorage.setItem("rollcall-kiosk-language", language);
  location.reload();
}
