// What this device remembers: the camera's key and how to look. Nothing here leaves the device but the key.
const NAME = "rollcall-kiosk";
const USUAL = { key: "", lens: "", sound: true, sensitivity: "medium" };

/** What is set, with what is usual for the rest. */
export function read() {
  try {
    return { ...USUAL, ...JSON.parse(localStorage.getItem(NAME) ?? "{}") };
  } catch {
    return { ...USUAL };
  }
}

/** Changes some of it. */
export function write(changes) {
  localStorage.setItem(NAME, JSON.stringify({ ...read(), ...changes }));
}

/** Takes the key out of the link, if it holds one, and out of the address bar. */
export function takeKeyFromLink() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (!key) return false;
  write({ key });
  history.replaceState(null, "", location.pathname + location.search);
  return true;
}
