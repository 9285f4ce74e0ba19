// Every card as one square in a fixed place: the whole fleet at a glance.

import { byId, setText } from "./dom.js";
import { cardState, isUnknown } from "./format.js";
import { METRICS, sorted } from "./fleet.js";

const LARGEST = 26;
const SMALLEST = 4;

export class HeatMap {
  constructor(onPick) {
    this.canvas = byId("heatmap");
    this.cards = [];
    this.cell = LARGEST;
    this.columns = 1;
    this.canvas.addEventListener("click", (event) => {
      const card = this.at(event);
      if (card) onPick(card);
    });
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    new ResizeObserver(() => this.draw()).observe(this.canvas.parentElement);
  }

  show(cards, metric, palette) {
    this.cards = sorted(cards, "place");
    this.metric = METRICS[metric] ?? METRICS.temp;
    this.palette = palette;
    this.draw();
  }

  /** Squares as large as fit into the place that is there. */
  measure() {
    const { clientWidth, clientHeight } = this.canvas.parentElement;
    const ratio = window.devicePixelRatio || 1;
    const fits = (cell) =>
      Math.ceil(this.cards.length / Math.floor(clientWidth / cell)) * cell <= clientHeight;
    let cell = LARGEST;
    while (cell > SMALLEST && !fits(cell)) cell -= 1;
    this.cell = cell;
    this.columns = Math.max(1, Math.floor(clientWidth / cell));
    const height = Math.ceil(this.cards.length / this.columns) * cell;
    this.canvas.width = Math.round(clientWidth * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.height = `${height}px`;
    return ratio;
  }

  draw() {
    if (!this.cards.length || !this.canvas.parentElement.clientWidth) return;
    const ratio = this.measure();
    const pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const gap = this.cell > 8 ? 2 : 1;
    this.cards.forEach((card, place) => {
      const x = (place % this.columns) * this.cell;
      const y = Math.floor(place / this.columns) * this.cell;
      this.square(pen, card, x, y, this.cell - gap);
    });
    this.describe();
  }

  /** Stale cards are hollow, unread ones crossed and paused ones framed, so that colour is not the only sign. */
  square(pen, card, x, y, size) {
    const state = cardState(card);
    const value = this.metric.of(card);
    const { low, high } = this.metric;
    const share = value === null ? 0 : Math.min(Math.max((value - low) / (high - low), 0), 1);
    pen.globalAlpha = 1;
    if (!isUnknown(card)) {
      pen.globalAlpha = 0.1 + 0.9 * share ** 1.4;
      pen.fillStyle = this.palette.temp;
      pen.fillRect(x, y, size, size);
      pen.globalAlpha = 1;
      if (state === "paused") this.frame(pen, this.palette.bad, x, y, size);
      return;
    }
    this.frame(pen, state === "error" ? this.palette.bad : this.palette.dim, x, y, size);
    if (state !== "error") return;
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(x + size, y + size);
    pen.moveTo(x + size, y);
    pen.lineTo(x, y + size);
    pen.stroke();
  }

  frame(pen, colour, x, y, size) {
    pen.strokeStyle = colour;
    pen.lineWidth = 1;
    pen.strokeRect(x + 0.5, y + 0.5, size - 1, size - 1);
  }

  at(event) {
    const column = Math.floor(event.offsetX / this.cell);
    if (column >= this.columns) return undefined;
    return this.cards[Math.floor(event.offsetY / this.cell) * this.columns + column];
  }

  point(event) {
    const card = this.at(event);
    const state = card ? cardState(card) : "";
    this.canvas.title = card
      ? `${card.host} · ${card.index}: ${this.metric.text(this.metric.of(card))} ${state}`.trim()
      : "";
  }

  describe() {
    const values = this.cards.map(this.metric.of).filter((value) => value !== null);
    const { text, low, high } = this.metric;
    const span = values.length
      ? `from ${text(values.reduce((a, b) => Math.min(a, b)))} ` +
        `to ${text(values.reduce((a, b) => Math.max(a, b)))}`
      : "no readings";
    this.canvas.setAttribute("aria-label", `Map of ${this.cards.length} cards: ${span}.`);
    setText(byId("scale-low"), text(low));
    setText(byId("scale-high"), text(high));
  }
}
