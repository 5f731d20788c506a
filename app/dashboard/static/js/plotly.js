// The library that draws charts, once there is something to draw: it is large, and nothing else waits for it.
import { make } from "./ui.js";

let library = null;

/** Loads it, as `window.Plotly`; the page holds the style elements that it would else make itself (plotly.py). */
export function loadPlotly() {
  library ??= new Promise((resolve, reject) => {
    document.head.append(make("script", { src: "/assets/plotly.min.js", onload: resolve, onerror: reject }));
  });
  return library;
}
