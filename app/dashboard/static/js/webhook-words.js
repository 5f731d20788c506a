// What went wrong with a message, in words that say what to do.
import { t } from "./i18n.js";

/** Of an HTTP status, or null where there was no answer, and the error that the service noted. */
export function troubleInWords(status, error) {
  if (error === "the person was erased") return t("The person it was about was erased.");
  return status === null ? withoutAnswer(error) : ofStatus(status);
}

function withoutAnswer(error) {
  if (error.startsWith("no answer")) return t("No answer in time. Check that the receiver runs and answers quickly.");
  if (error.startsWith("ConnectError")) return t("No connection. Check the name, the port, and the network in between.");
  return t("The message could not be sent. Check the address.");
}

function ofStatus(status) {
  if (status < 400) return t("It leads elsewhere, which is not followed. Set the address that it leads to.");
  if (status === 401 || status === 403) return t("The receiver refuses us. Check the signing secret there, and who may call it.");
  if (status === 404) return t("There is nothing at this address. Check its path.");
  if (status === 410) return t("The receiver says that it is gone for good, so it was switched off.");
  if (status === 429) return t("The receiver is told too much at once. It is told more slowly.");
  if (status < 500) return t("The receiver does not accept the message. Its own log says why.");
  return t("The receiver has trouble of its own. It is tried again by itself.");
}
