// Choosing a person by part of their name or code: a combobox, as the ARIA practices describe it.
//
//   const picker = new PersonPicker(input, (person) => …);   // null while nobody is chosen
//   picker.person                                            // whoever is chosen: { id, employee_code, name, … }
//   picker.choose(person); picker.clear();
import { get } from "./api.js";
import { t } from "./i18n.js";
import { make } from "./ui.js";

const WAIT_MS = 180;
const MOST = 8;
const SHEET = "/assets/css/person-picker.css";
let n = 0;

export class PersonPicker {
  /** `query` is added to that of /v1/people, such as `{ active: "" }` to find people who have left too. */
  constructor(input, onChoose = () => {}, { query = {} } = {}) {
    addSheet();
    this.input = input;
    this.person = null;
    this._onChoose = onChoose;
    this._query = { active: true, ...query };
    this._people = [];
    this._active = -1;
    this._asked = 0;
    this._build();
    this._listen();
  }

  /** Takes this person, without telling whoever listens. */
  choose(person) {
    this.person = person;
    this.input.value = person ? `${person.name} (${person.employee_code})` : "";
    this._close();
  }

  clear() {
    this.choose(null);
  }

  _build() {
    const id = `person-picker-${++n}`;
    const label = this.input.labels?.[0]?.textContent.trim() || t("People");
    this._list = make("ul", { id, class: "picker-list", role: "listbox", "aria-label": label, hidden: true });
    this._status = make("span", { class: "visually-hidden", role: "status" });
    this._frame = make("span", { class: "picker" });
    this.input.replaceWith(this._frame);
    this._frame.append(this.input, this._list, this._status);
    const attributes = {
      role: "combobox",
      autocomplete: "off",
      spellcheck: "false",
      "aria-label": label, // the list is inside the <label> too
      "aria-autocomplete": "list",
      "aria-expanded": "false",
      "aria-controls": id,
      placeholder: this.input.placeholder || t("Name or employee code"),
    };
    for (const [name, value] of Object.entries(attributes)) this.input.setAttribute(name, value);
  }

  _listen() {
    this.input.addEventListener("input", () => this._typed());
    this.input.addEventListener("focus", () => !this.person && this._search());
    this.input.addEventListener("click", () => !this.person && !this._isOpen && this._search());
    // Not at once: what is pressed must not move away, where the list makes a dialog scroll, before it is clicked.
    this.input.addEventListener("blur", () => setTimeout(() => document.activeElement !== this.input && this._close(), WAIT_MS));
    this.input.addEventListener("keydown", (event) => this._pressed(event));
    // Before the input loses the focus, which closes the list.
    this._list.addEventListener("pointerdown", (event) => event.preventDefault());
    this._list.addEventListener("click", (event) => this._take(event.target.closest("[role=option]")));
  }

  get _isOpen() {
    return !this._list.hidden;
  }

  _typed() {
    if (this.person) {
      this.person = null;
      this._onChoose(null);
    }
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this._search(), WAIT_MS);
  }

  async _search() {
    const turn = ++this._asked;
    let found;
    try {
      found = await get("/v1/people", { ...this._query, query: this.input.value.trim(), limit: MOST });
    } catch (problem) {
      if (turn === this._asked) this._say(problem.message);
      return;
    }
    const isStale = turn !== this._asked || this.person || document.activeElement !== this.input;
    if (!isStale) this._show(found.items, Boolean(found.next_cursor));
  }

  _show(people, isMore) {
    this._people = people;
    this._active = -1;
    this._list.replaceChildren(...people.map((person, number) => this._option(person, number)));
    if (!people.length) return this._say(t("Nobody has this name or code."));
    if (isMore) this._list.append(note(t("There are more: type more of the name.")));
    this._open();
    this._status.textContent = t("{n} people to choose from; use the arrow keys.", { n: people.length });
    if (this.input.value.trim()) this._mark(0);
  }

  _option(person, number) {
    const initial = make("span", { class: "avatar", "aria-hidden": "true" }, person.name.slice(0, 1).toUpperCase());
    const about = [person.employee_code, person.department].filter(Boolean).join(" · ");
    const words = make("span", {}, make("strong", {}, person.name), make("small", {}, about));
    return make("li", { id: `${this._list.id}-${number}`, role: "option", "aria-selected": "false" }, initial, words);
  }

  _say(words) {
    this._people = [];
    this._list.replaceChildren(note(words));
    this._status.textContent = words;
    this._open();
  }

  _open() {
    this._list.hidden = false;
    this.input.setAttribute("aria-expanded", String(this._people.length > 0));
    this.input.removeAttribute("aria-activedescendant");
  }

  _close() {
    clearTimeout(this._timer);
    this._asked++;
    this._list.hidden = true;
    this._active = -1;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  _pressed(event) {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!this._isOpen) this._search();
      else this._move(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Enter" && this._isOpen && this._active >= 0) {
      event.preventDefault();
      this._take(this._options[this._active]);
    } else if (event.key === "Escape" && this._isOpen) {
      event.preventDefault(); // the dialog that it stands in stays open
      event.stopPropagation();
      this._close();
    }
  }

  get _options() {
    return [...this._list.querySelectorAll("[role=option]")];
  }

  _move(step) {
    const count = this._people.length;
    if (count) this._mark((this._active + step + count + (this._active < 0 && step < 0 ? 1 : 0)) % count);
  }

  _mark(number) {
    this._options.forEach((option, each) => option.setAttribute("aria-selected", String(each === number)));
    this._active = number;
    const option = this._options[number];
    this.input.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  }

  _take(option) {
    if (!option) return;
    this.choose(this._people[this._options.indexOf(option)]);
    this._onChoose(this.person);
  }
}

function note(words) {
  return make("li", { class: "picker-note", role: "presentation" }, words);
}

function addSheet() {
  if (document.querySelector(`link[href="${SHEET}"]`)) return;
  document.head.append(make("link", { rel: "stylesheet", href: SHEET }));
}
