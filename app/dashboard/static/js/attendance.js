// The grid of a month: the arrow keys move in it, and Tab leaves it.
const grid = document.querySelector("table.sheet");

const rows = grid ? [...grid.tBodies[0].rows].map((row) => [...row.querySelectorAll("a.cell")]) : [];

function place(cell) {
  const row = rows.findIndex((cells) => cells.includes(cell));
  return [row, rows[row]?.indexOf(cell) ?? -1];
}

function enter(row, column) {
  const cell = rows[row]?.[column];
  if (!cell) return;
  grid.querySelector('a.cell[tabindex="0"]')?.setAttribute("tabindex", "-1");
  cell.setAttribute("tabindex", "0");
  cell.focus();
}

function pressed(event) {
  const cell = event.target.closest("a.cell");
  if (!cell || event.altKey || event.metaKey) return;
  const [row, column] = place(cell);
  const last = rows[row].length - 1;
  const targets = {
    ArrowRight: [row, Math.min(column + 1, last)],
    ArrowLeft: [row, Math.max(column - 1, 0)],
    ArrowDown: [row + 1, column],
    ArrowUp: [row - 1, column],
    Home: event.ctrlKey ? [0, 0] : [row, 0],
    End: event.ctrlKey ? [rows.length - 1, last] : [row, last],
    PageDown: [Math.min(row + 10, rows.length - 1), column],
    PageUp: [Math.max(row - 10, 0), column],
  };
  if (!(event.key in targets)) return;
  event.preventDefault();
  enter(...targets[event.key]);
}

if (rows.length) {
  grid.addEventListener("keydown", pressed);
  // One cell can be reached by Tab: today's of the first person, or else the first.
  const first = rows[0].find((cell) => cell.closest("td").classList.contains("today")) ?? rows[0][0];
  first.setAttribute("tabindex", "0");
  // On screens that do not hold the whole month, today is in sight from the start.
  const scroll = grid.closest(".sheet-scroll");
  const today = grid.querySelector("th.today");
  if (today && scroll.scrollWidth > scroll.clientWidth) {
    scroll.scrollLeft = Math.max(0, today.offsetLeft - scroll.clientWidth / 2);
  }
}
