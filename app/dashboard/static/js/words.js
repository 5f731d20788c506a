// Machine words in words for people, as the page was given them: say("reason", "too_dark").
const tables = JSON.parse(document.getElementById("words")?.textContent ?? "{}");

/** The words for a machine word; what is not known is shown as it is. */
export function say(table, word) {
  return tables[table]?.[word] ?? word;
}

/** The words for an error or warning that begins with its machine word and a colon. */
export function sayFirst(table, text) {
  const word = text.split(":", 1)[0];
  return tables[table]?.[word] ?? text;
}
