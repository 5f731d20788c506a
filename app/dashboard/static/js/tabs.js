// Tabs, as the ARIA practices describe them: one is shown, the arrow keys go round, Tab leads into what is shown.

/** Enlivens the tabs in `list`; each names its panel by aria-controls, looked for in `place`. `onShow(tab)` follows. */
export function enlivenTabs(list, place = document, onShow = () => {}) {
  const tabs = [...list.querySelectorAll('[role="tab"]')];
  const show = (chosen) => {
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", String(tab === chosen));
      tab.tabIndex = tab === chosen ? 0 : -1;
      place.querySelector(`#${tab.getAttribute("aria-controls")}`).hidden = tab !== chosen;
    }
    onShow(chosen);
  };
  for (const [number, tab] of tabs.entries()) {
    tab.addEventListener("click", () => show(tab));
    tab.addEventListener("keydown", ({ key }) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
      if (!step) return;
      const next = tabs[(number + step + tabs.length) % tabs.length];
      next.focus();
      show(next);
    });
  }
}
