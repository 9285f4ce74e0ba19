// More cards than fit as panels: sums over all of them, a map, sorted tiles by the page.

import { KeyedList, byId, fromTemplate, setHidden, setText } from "./dom.js";
import * as show from "./format.js";

const RESORT_MS = 10000;
const BUCKET_S = 2;
const BUCKETS = 30;
const SVG_WIDTH = 100;
const SVG_HEIGHT = 28;

export const METRICS = {
  temp: { of: (card) => card.temp, low: 25, high: 90, text: show.celsius },
  util: { of: (card) => card.gpu_util, low: 0, high: 100, text: show.percent },
  memory: { of: show.memoryPercent, low: 0, high: 100, text: show.percent },
};

const byPlace = (a, b) =>
  show.byName(a.host, b.host) || show.byName(a.node, b.node) || a.index - b.index;

/** Cards in the order asked for; trouble sorts by what was last known, unknown values last. */
export function sorted(cards, order) {
  const placed = [...cards].sort(byPlace);
  if (!(order in METRICS)) return placed;
  const { of } = METRICS[order];
  return placed.sort((a, b) => (of(b) ?? -Infinity) - (of(a) ?? -Infinity));
}

/** Words a card can be found by. */
const searchable = (card) =>
  `${card.host} ${card.node} ${card.index} ${card.uuid} ${card.name} ${show.cardState(card)} ` +
  (card.simulated ? "simulated" : "");

export function matches(card, query) {
  const text = searchable(card).toLowerCase();
  return query
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

/** Percentiles over all cards in steps of 2 s, as arrays of 30, oldest first. */
export function fleetSeries(cards) {
  const utils = Array.from({ length: BUCKETS }, () => []);
  const temps = Array.from({ length: BUCKETS }, () => []);
  for (const card of cards) {
    const { time, util, temp } = card.history;
    for (let at = 0; at < time.length; at += 1) {
      const bucket = BUCKETS - 1 - Math.floor((card.now - time[at]) / BUCKET_S);
      if (bucket < 0 || bucket >= BUCKETS) continue;
      if (util[at] !== null) utils[bucket].push(util[at]);
      if (temp[at] !== null) temps[bucket].push(temp[at]);
    }
  }
  const ranked = (lists) => lists.map((list) => Float64Array.from(list).sort());
  const [util, temp] = [ranked(utils), ranked(temps)];
  const at = (share) => (list) =>
    list.length ? list[Math.round(share * (list.length - 1))] : null;
  return {
    x: util.map((_, bucket) => (bucket - BUCKETS + 1) * BUCKET_S),
    utilLow: util.map(at(0.1)),
    utilMid: util.map(at(0.5)),
    utilHigh: util.map(at(0.9)),
    tempMid: temp.map(at(0.5)),
    tempHigh: temp.map(at(1)),
  };
}

/** Sorted, filtered tiles, one page of them. */
export class Tiles {
  constructor(onPick) {
    this.order = byId("order");
    this.query = byId("query");
    this.list = new KeyedList(byId("tiles"), () => newTile(onPick), updateTile);
    this.page = 0;
    this.cards = [];
    this.ranking = [];
    this.rankedAt = -Infinity;
    this.order.addEventListener("change", () => this.again());
    this.query.addEventListener("input", () => this.again());
    byId("previous").addEventListener("click", () => this.turn(-1));
    byId("next").addEventListener("click", () => this.turn(1));
    new ResizeObserver(() => this.draw()).observe(byId("tiles"));
  }

  show(cards) {
    this.cards = cards;
    this.rank(false);
    this.draw();
  }

  again() {
    this.page = 0;
    this.rank(true);
    this.draw();
  }

  turn(by) {
    this.page += by;
    this.draw();
  }

  /** The first cards of the present order. */
  first(count) {
    return this.ranking.slice(0, count);
  }

  /** Tiles that change places at each reading can't be read: re-sort now and then, and never
   *  under somebody's hand. */
  rank(now) {
    const held = byId("tiles").matches(":hover, :focus-within");
    const due = performance.now() - this.rankedAt > RESORT_MS && !held;
    const wanted = this.cards.filter((card) => matches(card, this.query.value.trim()));
    if (now || due || wanted.length !== this.ranking.length) {
      this.ranking = sorted(wanted, this.order.value);
      this.rankedAt = performance.now();
    } else {
      const known = new Map(wanted.map((card) => [card.key, card]));
      this.ranking = this.ranking.map((card) => known.get(card.key)).filter(Boolean);
    }
  }

  draw() {
    const columns = getComputedStyle(byId("tiles")).gridTemplateColumns.split(" ").length;
    const size = Math.max(columns, 2) * Math.max(3, Math.round(24 / columns));
    const pages = Math.max(1, Math.ceil(this.ranking.length / size));
    this.page = Math.min(Math.max(this.page, 0), pages - 1);
    const start = this.page * size;
    const shown = this.ranking.slice(start, start + size);
    this.list.show(shown, (card) => card.key);
    const range = shown.length ? `${start + 1}–${start + shown.length} of ` : "";
    setText(byId("range"), `${range}${show.plural(this.ranking.length, "card")}`);
    byId("previous").disabled = this.page === 0;
    byId("next").disabled = this.page >= pages - 1;
  }
}

function newTile(onPick) {
  const { root, parts } = fromTemplate("tile-template");
  const view = { root, parts, card: null };
  root.addEventListener("click", () => onPick(view.card));
  return view;
}

function updateTile(view, card) {
  view.card = card;
  const { root, parts } = view;
  const state = show.cardState(card);
  root.dataset.state = state;
  setText(parts.host, card.host);
  setText(parts.index, `· ${card.index}`);
  setHidden(parts.simulated, !card.simulated);
  setHidden(parts.state, state === "");
  setText(parts.state, tileState(card, state));
  setText(parts.util, show.percent(card.gpu_util));
  setText(parts.temp, show.celsius(card.temp));
  setText(parts.memory, show.gib(card.mem_used, 0));
  parts.utilLine.setAttribute("points", points(card, card.history.util, 0, 100));
  parts.tempLine.setAttribute("points", points(card, card.history.temp, 20, 100));
  root.title = `${card.name}, ${card.uuid}${card.error === null ? "" : `: ${card.error}`}`;
}

function tileState(card, state) {
  if (state === "error") return "⚠ error";
  if (state === "stale") return `○ ${show.age(card.age_s)} old`;
  return state === "paused" ? "⏸ paused" : "◐ eased";
}

/** A sparkline's points; what is not known is left out. */
function points(card, values, low, high) {
  const placed = [];
  for (let at = 0; at < values.length; at += 1) {
    if (values[at] === null) continue;
    const share = Math.min(Math.max((values[at] - low) / (high - low), 0), 1);
    const x = SVG_WIDTH * (1 + (card.history.time[at] - card.now) / 60);
    placed.push(`${x.toFixed(1)},${(SVG_HEIGHT - 1 - share * (SVG_HEIGHT - 2)).toFixed(1)}`);
  }
  return placed.join(" ");
}
