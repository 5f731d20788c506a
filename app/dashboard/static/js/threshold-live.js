// How often errors really happened of late, by what operators said of real faces.
import { get } from "./api.js";
import { t } from "./i18n.js";
import { make } from "./ui.js";
import { counted, perThousand } from "./threshold-rates.js";

const place = document.getElementById("live-words");

/** Asks for the estimate, and shows it or what to do before there is one. */
export async function showLive() {
  try {
    const live = await get("/v1/review/estimate");
    place.replaceChildren(...(live.fpir || live.fnir ? estimate(live) : advice(live)));
  } catch (problem) {
    place.replaceChildren(make("p", { class: "notice bad" }, problem.message));
  }
}

function estimate(live) {
  const rows = [
    [t("Strangers named, of 1 000"), live.fpir],
    [t("Staff not recognised, of 1 000"), live.fnir],
    [t("Of these, taken for somebody else"), live.misidentification],
  ];
  const facts = rows.flatMap(([label, rate]) => [make("dt", {}, label), make("dd", {}, rate ? rateWords(rate) : t("not known yet"))]);
  return [make("dl", { class: "facts" }, ...facts), basis(live)];
}

function rateWords({ value, low, high }) {
  return make("span", {}, make("strong", {}, perThousand(value)), ` (${perThousand(low)}–${perThousand(high)})`);
}

function basis(live) {
  const values = {
    named: counted(live.n_identified),
    namedJudged: counted(live.n_identified_judged),
    unknown: counted(live.n_unknown),
    unknownJudged: counted(live.n_unknown_judged),
  };
  return make("p", { class: "muted" }, make("small", {}, t("Somebody said of {namedJudged} of {named} named faces, and of {unknownJudged} of {unknown} unknown ones, what they were.", values)));
}

function advice(live) {
  if (!live.n_identified && !live.n_unknown) {
    return [make("p", {}, t("No face came by in this time. Once cameras send pictures, say of some of them whether the name was right.")), make("p", { class: "row" }, link("/cameras", t("Set up a camera")))];
  }
  const wanted = [
    live.n_identified_wanted > 0 && make("li", {}, t("Say of {n} more named faces whether they are right:", { n: counted(live.n_identified_wanted) }), " ", link("/", t("Today"))),
    live.n_unknown_wanted > 0 && make("li", {}, t("Say of {n} more unknown faces who they are, or that they are strangers:", { n: counted(live.n_unknown_wanted) }), " ", link("/unknown", t("Unknown"))),
  ].filter(Boolean);
  return [
    make("p", {}, t("Too little was said of real faces to know how often errors happen. Take them as they come, not only doubtful ones:")),
    make("ul", {}, ...wanted),
    basis(live),
  ];
}

function link(href, words) {
  return make("a", { href }, words);
}
