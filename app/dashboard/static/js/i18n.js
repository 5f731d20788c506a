// Messages: English is what the code says; a catalogue says it in the page's language.
const language = document.documentElement.lang || "en";
const messages =
  language === "en" ? {} : (await import(`/assets/messages/${language}.js`)).messages;

/** The message in the page's language, with {names} filled in. */
export function t(message, values = {}) {
  const words = messages[message] ?? message;
  return words.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

export { language };
