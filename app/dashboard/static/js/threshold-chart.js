// The chart of scores and errors, and the line on it that can be dragged.
import { t, language } from "./i18n.js";
import { loadPlotly } from "./plotly.js";
import { perThousand, written } from "./threshold-rates.js";

const MARGIN = { l: 56, r: 16, t: 24, b: 34 }; // threshold.css knows left and right too
const LEAST_SHOWN = 1e-4; // the errors' axis is logarithmic and ends here
const REACH_PX = 6; // the line snaps to what is this near
const percent = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 2 });

/** Draws into #plot; `onMove(threshold)` is called while the line is dragged or put somewhere by a click. */
export class Chart {
  constructor(rates, { inForce, magnets, onMove }) {
    this.rates = rates;
    this.inForce = inForce;
    this.magnets = magnets;
    this.onMove = onMove;
    this.threshold = inForce;
    this.box = document.getElementById("chart");
    this.plot = document.getElementById("plot");
    this.line = document.getElementById("line");
  }

  /** Draws it anew, in the colours of the theme. */
  async draw() {
    await loadPlotly();
    const look = colours();
    this.look = look;
    this.paintedBin = null;
    await window.Plotly.react(this.plot, this.#traces(look), this.#layout(look), { displayModeBar: false, responsive: true });
    document.getElementById("chart-wait").hidden = true;
    this.line.hidden = false;
    this.moveTo(this.threshold);
  }

  /** From here on it follows pointers, the theme, and the size of its box. */
  listen() {
    this.line.addEventListener("pointerdown", (event) => this.#hold(event));
    this.line.addEventListener("pointermove", (event) => this.isHeld && this.#follow(event));
    for (const end of ["pointerup", "pointercancel"]) this.line.addEventListener(end, () => this.#release());
    this.box.addEventListener("click", (event) => !this.line.contains(event.target) && this.#follow(event));
    new ResizeObserver(() => this.moveTo(this.threshold)).observe(this.box);
    new MutationObserver(() => this.draw()).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** Puts the line at a threshold, and colours what is wrong there. */
  moveTo(threshold) {
    this.threshold = threshold;
    this.line.style.transform = `translateX(${this.#x(threshold)}px)`;
    document.getElementById("flag").textContent = written(threshold);
    this.#paintErrors();
  }

  #hold(event) {
    this.isHeld = true;
    this.line.setPointerCapture(event.pointerId);
    this.line.classList.add("is-held");
    event.preventDefault();
  }

  #release() {
    this.isHeld = false;
    this.line.classList.remove("is-held");
  }

  #follow(event) {
    const { left } = this.box.getBoundingClientRect();
    const perPixel = (this.rates.max - this.rates.min) / this.#width();
    const pointed = this.rates.min + (event.clientX - left - MARGIN.l) * perPixel;
    this.onMove(this.rates.snapped(this.rates.clamped(pointed), this.magnets, REACH_PX * perPixel));
  }

  #width() {
    return Math.max(1, this.box.clientWidth - MARGIN.l - MARGIN.r);
  }

  #x(threshold) {
    return MARGIN.l + ((threshold - this.rates.min) / (this.rates.max - this.rates.min)) * this.#width();
  }

  /** Strangers at or above the line and staff below it in full colour; only when the line enters another bar. */
  #paintErrors() {
    if (!this.look) return;
    const { bin_edges: edges } = this.rates.curve;
    const bin = edges.findLastIndex((edge) => edge <= this.threshold);
    if (bin === this.paintedBin) return;
    this.paintedBin = bin;
    window.Plotly.restyle(this.plot, { "marker.color": barColours(edges.length - 1, bin, this.look) }, [0, 1]);
  }

  #traces(look) {
    const { curve } = this.rates;
    const bin = curve.bin_edges.findLastIndex((edge) => edge <= this.threshold);
    const [strangers, staff] = barColours(curve.bin_edges.length - 1, bin, look);
    return [
      bars(curve, curve.non_mated_histogram, strangers, t("strangers")),
      bars(curve, curve.mated_histogram, staff, t("staff")),
      ...band(curve, curve.fpir_low, curve.fpir_high, look.strangers),
      ...band(curve, curve.fnir_low, curve.fnir_high, look.staff),
      rate(curve, curve.fpir, look.strangers, "solid", (value) => t("{n} of 1 000 strangers are named", { n: perThousand(value) })),
      rate(curve, curve.fnir, look.staff, "dash", (value) => t("{n} of 1 000 of the staff are not recognised", { n: perThousand(value) })),
    ];
  }

  #layout(look) {
    const ticks = [1e-4, 1e-3, 1e-2, 1e-1, 1];
    const axis = { fixedrange: true, zeroline: false, gridcolor: look.grid, linecolor: look.grid, color: look.soft };
    const title = (words) => ({ text: words, standoff: 6, font: { size: 12 } });
    const isEmpty = this.rates.curve.n_non_mated + this.rates.curve.n_mated === 0;
    return {
      margin: { ...MARGIN, pad: 0 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(this.plot).fontFamily, size: 12, color: look.soft },
      barmode: "overlay",
      bargap: 0.08,
      showlegend: false,
      dragmode: false,
      hovermode: "closest",
      hoverlabel: { bgcolor: look.surface, bordercolor: look.soft, font: { color: look.ink } },
      xaxis: { ...axis, range: [this.rates.min, this.rates.max], anchor: "y2", tickformat: ".3~f", nticks: this.box.clientWidth < 500 ? 5 : 10 },
      yaxis: { ...axis, domain: [0.56, 1], rangemode: "tozero", showticklabels: false, title: title(t("How many score so")), autorange: !isEmpty, range: isEmpty ? [0, 1] : undefined },
      yaxis2: { ...axis, domain: [0, 0.5], type: "log", range: [Math.log10(LEAST_SHOWN), 0.05], tickvals: ticks, ticktext: ticks.map((each) => percent.format(each)) },
      shapes: [{ type: "line", xref: "x", yref: "paper", x0: this.inForce, x1: this.inForce, y0: 0, y1: 1, line: { color: look.soft, width: 1, dash: "dot" } }],
      annotations: [
        { text: t("in force"), x: this.inForce, xref: "x", y: 1, yref: "paper", xanchor: "left", yanchor: "top", xshift: 4, showarrow: false, font: { size: 11, color: look.soft } },
        { text: t("Errors at each threshold"), x: 0, xref: "paper", y: 0.505, yref: "paper", xanchor: "left", yanchor: "bottom", showarrow: false, font: { size: 12, color: look.soft } },
        ...(isEmpty ? [{ text: t("No scores of your own people yet"), x: 0.5, xref: "paper", y: 0.78, yref: "paper", showarrow: false, font: { size: 13, color: look.soft } }] : []),
      ],
    };
  }
}

function bars(curve, histogram, colour, who) {
  const edges = curve.bin_edges;
  const all = histogram.reduce((sum, n) => sum + n, 0);
  return {
    type: "bar",
    x: histogram.map((_, i) => (edges[i] + edges[i + 1]) / 2),
    y: histogram.map((n) => (all ? n / all : 0)),
    text: histogram.map((n, i) => t("{share} of the scores of {who}, around {score}", { share: percent.format(all ? n / all : 0), who, score: written((edges[i] + edges[i + 1]) / 2) })),
    textposition: "none",
    hovertemplate: "%{text}<extra></extra>",
    marker: { color: colour, line: { width: 0 } },
  };
}

/** Colours of the two sets of bars: full where they are errors. */
function barColours(n, bin, look) {
  const bins = Array.from({ length: n }, (_, i) => i);
  return [
    bins.map((i) => (i >= bin ? look.strangers : faded(look.strangers, 0.4))),
    bins.map((i) => (i < bin ? look.staff : faded(look.staff, 0.4))),
  ];
}

function band(curve, low, high, colour) {
  const line = { x: curve.thresholds, yaxis: "y2", mode: "lines", line: { width: 0, shape: "linear" }, hoverinfo: "skip" };
  return [
    { ...line, y: low.map(shown) },
    { ...line, y: high.map(shown), fill: "tonexty", fillcolor: faded(colour, 0.16) },
  ];
}

function rate(curve, values, colour, dash, words) {
  return {
    x: curve.thresholds,
    y: values.map(shown),
    yaxis: "y2",
    mode: "lines",
    line: { color: colour, width: 2.5, dash },
    text: values.map((value, i) => `${written(curve.thresholds[i])}: ${words(value)}`),
    hovertemplate: "%{text}<extra></extra>",
  };
}

/** A logarithmic axis has no zero: what is less than its end is drawn there. */
function shown(value) {
  return Math.max(value, LEAST_SHOWN / 2);
}

/** What the style sheet's variables stand for in the theme there is. */
export function colours() {
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const read = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const found = { strangers: read("--strangers"), staff: read("--staff"), ink: read("--ink"), soft: read("--ink-soft"), grid: read("--line"), surface: read("--surface") };
  probe.remove();
  return found;
}

export function faded(rgb, alpha) {
  const [red, green, blue] = rgb.match(/[\d.]+/g);
  return `rgba(${red}, ${green}, ${blue}, ${alpha})`;
}
