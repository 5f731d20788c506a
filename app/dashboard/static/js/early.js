// Runs before anything can be pressed: no module, no import. A button that is pressed while the page's modules are still
// on their way would be heard by nobody, or send a form past them; what was pressed last is pressed again for them.
(() => {
  const SOON_MS = 5000;
  let pressed = null;
  let pressedAt = 0;

  function keep(event) {
    pressed = event.target.closest("button, [role=button]"); // whoever presses something else has thought better of it
    pressedAt = event.timeStamp;
    if (!pressed || pressed.form?.hasAttribute("action")) return; // such a form needs no module
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  // Modules have run by then: they are deferred. A page whose loading was stopped is told by its state alone.
  function pass() {
    document.removeEventListener("click", keep, true);
    const isMeant = pressed?.isConnected && performance.now() - pressedAt < SOON_MS;
    if (isMeant && !pressed.form?.hasAttribute("action")) pressed.click();
    pressed = null;
  }

  document.addEventListener("click", keep, true);
  document.addEventListener("DOMContentLoaded", pass, { once: true });
  document.addEventListener("readystatechange", () => document.readyState === "complete" && pass());
})();
