// Runs before anything can be pressed: no module, no import. A button that is pressed while the page's modules are still
// on their way would be heard by nobody, or send a form past them; what was pressed last is pressed again for them.
(() => {
  let pressed = null;

  function keep(event) {
    const button = event.target.closest("button, [role=button]");
    if (!button) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    pressed = button;
  }

  document.addEventListener("click", keep, true);
  // Modules have run by then: they are deferred.
  document.addEventListener("DOMContentLoaded", () => {
    document.removeEventListener("click", keep, true);
    pressed?.click();
  });
})();
