// The fields of a person, as /v1/people takes them.
const FIELDS = ["employee_code", "name", "department", "timezone", "shift_id", "site_id"];

/** What the form says; an empty field is null. */
export function personOf(values) {
  return Object.fromEntries(FIELDS.map((name) => [name, values[name]?.trim() || null]));
}

/** Only what differs from how the form was when the page came. */
export function changesOf(values, form) {
  const now = personOf(values);
  return Object.fromEntries(Object.entries(now).filter(([name, value]) => value !== (original(form.elements[name]) || null)));
}

function original(field) {
  return field.tagName === "SELECT" ? [...field.options].find((option) => option.defaultSelected)?.value ?? "" : field.defaultValue;
}
