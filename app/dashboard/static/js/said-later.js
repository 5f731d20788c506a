// What is said after the page has been loaded anew.
import { toast } from "./ui.js";

const KEY = "rollcall-said-later";

/** Loads the page anew, because much of it has changed, or another one, and says there that it went well. */
export function reloadSaying(message, path = null) {
  sessionStorage.setItem(KEY, message);
  if (path) location.assign(path);
  else location.reload();
}

const message = sessionStorage.getItem(KEY);
sessionStorage.removeItem(KEY);
if (message) toast(message, "good");
