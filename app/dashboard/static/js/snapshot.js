// What a camera sees: the picture, a box around each face, and beside it what is made of each.
import { language, t } from "./i18n.js";
import { make } from "./ui.js";

const percent = (share) => `${(100 * share).toFixed(3)}%`;
const score = new Intl.NumberFormat(language, { minimumFractionDigits: 3, maximumFractionDigits: 3 });

/** Shows a snapshot that is not waited for any more. */
export async function showSnapshot(place, snapshot, imageUrl) {
  if (snapshot.status !== "done") {
    place.replaceChildren(make("p", { class: "notice warn" }, whyNot(snapshot)));
    return;
  }
  const image = make("img", { src: imageUrl, alt: t("The picture that the camera has taken") });
  await image.decode();
  const picture = make("div", { class: "seen" }, image, ...snapshot.faces.map((face, index) => boxAround(face, index, snapshot.image)));
  place.replaceChildren(make("p", { class: `notice ${snapshot.faces.length ? "good" : "warn"}` }, headline(snapshot)), picture, table(snapshot), footnote(snapshot));
}

function whyNot({ status, trouble }) {
  if (status === "unanswered") return t("The camera has sent no picture. Is it online? Programs that only send captures never hear the wish: use the camera client or the kiosk. A kiosk that sleeps does not answer: touch it.");
  if (trouble === "image_invalid") return t("The camera has sent something that is no picture. Try again; if it happens again, restart it.");
  return t("The camera client is running, but gets no picture from its camera. Check the cable, the address of the stream and the password.");
}

function headline({ faces }) {
  if (!faces.length) return t("No face was found. Step in front of the camera and take another picture.");
  return faces.length === 1 ? t("One face was found.") : t("{n} faces were found.", { n: faces.length });
}

function boxAround({ box_xyxy: [x1, y1, x2, y2], outcome, person }, index, { width, height }) {
  const box = make("div", { class: `seen-box ${kindOf(outcome)}` }, make("span", {}, person ? `${index + 1} ${person.name}` : String(index + 1)));
  box.style.left = percent(x1 / width);
  box.style.top = percent(y1 / height);
  box.style.width = percent((x2 - x1) / width);
  box.style.height = percent((y2 - y1) / height);
  return box;
}

function kindOf(outcome) {
  return { identified: "good", low_quality: "bad" }[outcome] ?? "";
}

function table({ faces, threshold, min_face_px: least }) {
  if (!faces.length) return "";
  const heads = ["#", t("Who"), t("Score"), t("Size"), t("Quality"), t("What stands against it")];
  const rows = faces.map((face, index) =>
    make(
      "tr",
      {},
      cell("#", String(index + 1)),
      cell(t("Who"), who(face)),
      cell(t("Score"), face.score === null ? "–" : t("{score}, needs {threshold}", { score: score.format(face.score), threshold: score.format(threshold) })),
      cell(t("Size"), t("{n} px", { n: Math.round(face.size_px) })),
      cell(t("Quality"), face.quality.toFixed(2)),
      cell(t("What stands against it"), face.reasons.length ? face.reasons.map((reason) => inWords(reason, face, least)).join(" ") : t("nothing")),
    ),
  );
  return make("table", { class: "table" }, make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))), make("tbody", {}, ...rows));
}

function cell(label, content) {
  return make("td", { "data-label": label }, content);
}

function who({ outcome, person }) {
  if (person) return make("a", { href: `/people/${person.id}` }, person.name);
  const words = { unknown: t("Unknown"), low_quality: t("Not searched for"), attack_suspected: t("Suspected attack") };
  return make("span", { class: "muted" }, words[outcome] ?? outcome);
}

/** Why a face is not good enough, and what to do. */
export function inWords(reason, face, least) {
  const words = {
    face_too_small: t("Too small: {n} px, needs {least}. Come closer, or lower the smallest face in the settings.", { n: Math.floor(face.size_px), least }),
    blurred: t("Blurred. Stand still, or give the camera more light."),
    too_dark: t("Too dark. More light on the face."),
    too_bright: t("Too bright. No lamp or window right on the face."),
    extreme_pose: t("Turned away too far. Hang the camera at the height of faces."),
    occluded: t("Covered."),
    low_detection_score: t("Not surely a face."),
    low_quality: t("The quality is below what this camera’s settings ask for."),
  };
  return words[reason] ?? reason;
}

function footnote({ timing_ms: timing, model, image }) {
  return make("p", { class: "muted" }, t("Picture of {width} × {height} px, looked at in {ms} ms by {model}.", { width: image.width, height: image.height, ms: Math.round(timing.total), model }));
}
