// The page: one feed, and the views that show what it brings.

import { fleetFigure, Chart, loadPlotly, readPalette } from "./charts.js";
import { KeyedList, byId, setHidden, setText } from "./dom.js";
import { Feed } from "./feed.js";
import { Tiles, fleetSeries, sorted } from "./fleet.js";
import { age } from "./format.js";
import { HeatMap } from "./heatmap.js";
import { Overview } from "./overview.js";
import { Panel } from "./panel.js";
import { Syntheses } from "./syntheses.js";

const MOST_PANELS = 12;
const WATCHED = 3;

class Page {
  constructor() {
    this.body = null;
    this.pinned = new Map();
    this.watched = new Set();
    this.palette = readPalette();
    this.overview = new Overview();
    this.syntheses = new Syntheses();
    this.tiles = new Tiles((card) => this.togglePin(card));
    this.map = new HeatMap((card) => this.togglePin(card));
    this.fleetChart = new Chart(byId("fleet-chart"), fleetFigure);
    this.panels = new KeyedList(
      byId("panels"),
      () => new Panel((card) => this.togglePin(card)),
      (panel, card) => panel.update(card, this.palette, this.pinned.has(card.key)),
      (panel) => panel.close(),
    );
    for (const id of ["order", "query"]) {
      byId(id).addEventListener("input", () => this.show(this.body));
    }
    const restyle = () => {
      this.palette = readPalette();
      this.show(this.body);
    };
    document.addEventListener("themechange", restyle);
    window.addEventListener("resize", restyle);
  }

  show(body) {
    if (body === null) return;
    this.body = body;
    const { cards, inference } = body;
    const fleet = cards.length > MOST_PANELS;
    this.overview.show(body);
    setHidden(byId("no-cards"), cards.length > 0);
    setHidden(byId("fleet"), !fleet);
    setHidden(byId("watched"), !fleet);
    setHidden(byId("browse"), !fleet);
    byId("panels").dataset.many = String(!fleet && cards.length > 2);
    if (fleet) this.showFleet(cards);
    else this.panels.show(sorted(cards, "place"), (card) => card.key);
    this.syntheses.show(inference, cards, this.palette);
  }

  showFleet(cards) {
    for (const key of this.pinned.keys()) {
      const card = cards.find((one) => one.key === key);
      if (card) this.pinned.set(key, card);
      else this.pinned.delete(key);
    }
    this.tiles.show(cards);
    this.map.show(cards, byId("order").value, this.palette);
    this.fleetChart.show(fleetSeries(cards), this.palette);
    const chosen = this.pinned.size ? [...this.pinned.values()] : this.watch();
    const order = byId("order").selectedOptions[0].textContent.toLowerCase();
    setText(byId("map-title"), `Each card by ${order === "node" ? "temperature" : order}`);
    setText(byId("watched"), this.pinned.size ? "Chosen cards" : `Near the top by ${order}`);
    this.panels.show(chosen, (card) => card.key);
  }

  /** The first cards; one that has a panel keeps it while it is near the top, for calm. */
  watch() {
    const near = this.tiles.first(2 * WATCHED);
    const kept = near.filter((card) => this.watched.has(card.key));
    const others = near.filter((card) => !this.watched.has(card.key));
    const chosen = [...kept, ...others].slice(0, WATCHED);
    this.watched = new Set(chosen.map((card) => card.key));
    return near.filter((card) => this.watched.has(card.key));
  }

  /** A chosen card has a panel until it is chosen again; the oldest makes room. */
  togglePin(card) {
    if (!this.pinned.delete(card.key)) {
      this.pinned.set(card.key, card);
      if (this.pinned.size > MOST_PANELS) this.pinned.delete(this.pinned.keys().next().value);
    }
    this.show(this.body);
  }
}

/** The line that says how fresh the page is, and the banner when it is not. */
class Freshness {
  constructor(feed) {
    this.feed = feed;
    this.state = null;
    this.nextAt = 0;
    byId("retry").addEventListener("click", () => feed.wake());
    setInterval(() => this.draw(), 1000);
  }

  set(state) {
    this.state = state;
    this.nextAt = performance.now() + state.waitMs;
    this.draw();
  }

  draw() {
    if (this.state === null) return;
    const { ok, message } = this.state;
    const aged = this.feed.ageS === null ? null : age(this.feed.ageS);
    document.body.dataset.live = String(ok);
    setText(byId("live"), ok ? "● live" : "○ not live");
    setText(byId("updated"), aged === null ? "no data yet" : `updated ${aged} ago`);
    setHidden(byId("banner"), ok);
    if (ok) return;
    const shown = aged === null ? "There is no data yet." : "Below is what was known then.";
    setText(byId("banner-text"), `The service does not answer: ${message}. ${shown}`);
    const since = aged === null ? "" : `Last answer ${aged} ago. `;
    const left = Math.max(0, Math.round((this.nextAt - performance.now()) / 1000));
    setText(byId("banner-age"), `${since}Next attempt in ${left} s.`);
  }
}

const page = new Page();
const feed = new Feed(
  "get_metrics",
  (body) => page.show(body),
  (state) => freshness.set(state),
);
const freshness = new Freshness(feed);
document.body.dataset.framed = String(window.top !== window.self);
feed.wake();
loadPlotly("monitor/assets/plotly.min.js")
  .then(() => page.show(page.body))
  .catch((error) => {
    setText(byId("no-charts"), error.message);
    setHidden(byId("no-charts"), false);
    document.body.dataset.charts = "none";
  });
