// 1 000 people as dots: those whom an error meets in full colour, those whom it may meet besides in a weaker one.
import { faded } from "./threshold-chart.js";

const COLUMNS = 50;
const ROWS = 20;

/** Draws `rate` ({ value, low, high }) of 1 000 into a canvas. */
export function drawDots(canvas, rate, colour, rest) {
  const scale = Math.min(3, window.devicePixelRatio || 1);
  const width = 500;
  const cell = width / COLUMNS;
  if (canvas.width !== width * scale) {
    canvas.width = width * scale;
    canvas.height = cell * ROWS * scale;
  }
  const ink = canvas.getContext("2d");
  ink.setTransform(scale, 0, 0, scale, 0, 0);
  ink.clearRect(0, 0, width, cell * ROWS);
  const [sure, perhaps] = [Math.round(1000 * rate.value), Math.round(1000 * rate.high)];
  for (let i = 0; i < COLUMNS * ROWS; i += 1) {
    ink.fillStyle = i < sure ? colour : i < perhaps ? faded(colour, 0.45) : rest;
    ink.beginPath();
    ink.arc(((i % COLUMNS) + 0.5) * cell, (Math.floor(i / COLUMNS) + 0.5) * cell, cell * 0.36, 0, 2 * Math.PI);
    ink.fill();
  }
}
