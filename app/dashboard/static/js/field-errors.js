// What is wrong with a field, in words: the service's own sentences hold numbers, so they are known by their pattern.
import { t } from "./i18n.js";

const VALUE_ERROR = /^Value error, /;

const PATTERNS = [
  [/^(Field required|String should have at least 1 character)$/, () => t("This is needed.")],
  [/^String should have at least (\d+) characters$/, (n) => t("Use at least {n} characters.", { n })],
  [/^String should have at most (\d+) characters?$/, (n) => t("Use at most {n} characters.", { n })],
  [/^String should match pattern/, () => t("This is not written the way it has to be.")],
  [/^Input should be greater than or equal to (\S+)$/, (n) => t("It must be {n} or more.", { n })],
  [/^Input should be less than or equal to (\S+)$/, (n) => t("It must be {n} or less.", { n })],
  [/^Input should be greater than (\S+)$/, (n) => t("It must be more than {n}.", { n })],
  [/^Input should be less than (\S+)$/, (n) => t("It must be less than {n}.", { n })],
  [/^Input should be a valid integer/, () => t("Give a whole number.")],
  [/^Input should be a (valid|finite) number/, () => t("Give a number.")],
  [/^Input should be a valid (date|datetime)\b/, () => t("Give a day that exists, written out in full.")],
  [/^Input should be in a valid time format|^Input should be a valid time\b/, () => t("Give a time such as 09:00.")],
  [/^Input should be '/, () => t("Choose one of those that are offered.")],
  [/^List should have at least (\d+) items?/, (n) => t("Choose at least {n}.", { n })],
  [/^List should have at most (\d+) items?/, (n) => t("Choose at most {n}.", { n })],
];

/** The words for what the service says of one field. */
export function fieldWords(message) {
  for (const [pattern, words] of PATTERNS) {
    const found = pattern.exec(message);
    if (found) return words(found[1]);
  }
  return t(message).replace(VALUE_ERROR, "");
}

/** What a form calls its field, or else the name that the service has for it. */
export function labelOf(form, name) {
  const found = form.elements[name];
  const input = found instanceof RadioNodeList ? found[0] : found;
  const title = input?.closest("fieldset")?.querySelector("legend") ?? input?.labels?.[0];
  return title?.textContent.trim() || name;
}
