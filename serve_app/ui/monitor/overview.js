// Totals at the top, nodes at the bottom, and what is wrong in between.

import { KeyedList, byId, element, setHidden, setText } from "./dom.js";
import * as show from "./format.js";
import { recentThroughput } from "./syntheses.js";

const STATES = { ok: "●", slow: "◐", failed: "▲", dead: "✕" };
const RANK = { failed: 0, dead: 1, slow: 2, ok: 3 };

const sum = (cards, name) => cards.reduce((total, card) => total + (card[name] ?? 0), 0);

function count(parts) {
  const named = parts.filter(([number]) => number > 0);
  return named.map(([number, word]) => `${show.number(number)} ${word}`).join(", ");
}

function cardsTile(cards) {
  const of = (state) => cards.filter((card) => show.cardState(card) === state).length;
  const notes = count([
    [of("error"), "unreadable"],
    [of("stale"), "stale"],
    [of("paused"), "paused"],
    [of("eased"), "eased"],
    [cards.filter((card) => card.simulated).length, "simulated"],
  ]);
  const none = cards.length ? "all answer" : "none is watched";
  const ill = of("stale") + of("error") + of("paused") > 0;
  return ["Cards", show.number(cards.length), notes || none, ill];
}

function speakingTile(cards) {
  const slots = sum(cards, "slots");
  const value = slots ? show.number(sum(cards, "busy")) : show.UNKNOWN;
  return ["Speaking now", value, slots ? `of ${show.plural(slots, "slot")}` : "no slot reported"];
}

function heatTile(cards) {
  const known = cards.filter((card) => card.temp !== null && !show.isUnknown(card));
  if (!known.length) return ["Hottest card", show.UNKNOWN, "no reading"];
  const hottest = known.reduce((a, b) => (b.temp > a.temp ? b : a));
  return ["Hottest card", show.celsius(hottest.temp), `${hottest.host} · ${hottest.index}`];
}

function powerTile(cards) {
  const known = cards.filter((card) => card.power_w !== null && !show.isUnknown(card));
  if (!known.length) return ["Power", show.UNKNOWN, "no reading"];
  const limit = sum(known, "power_limit_w");
  return ["Power", show.power(sum(known, "power_w")), limit ? `limit ${show.power(limit)}` : ""];
}

/** [name, value, note, alarming] of each tile. */
function tiles({ cards, totals, inference }) {
  const recent = recentThroughput(inference);
  const fleet = [
    cardsTile(cards),
    ["Audio spoken", show.duration(totals.audio_s), show.plural(totals.segments, "segment")],
    [
      "Throughput",
      show.factor(recent),
      `real time; ${show.factor(totals.throughput_rt)} overall`,
    ],
    ["RTF", show.rtf(totals.rtf), "time on a slot per audio"],
    [
      "Failures",
      show.number(totals.failures),
      `of ${show.plural(totals.segments, "attempt")}`,
      totals.failures > 0,
    ],
  ];
  if (!cards.length) return fleet;
  fleet.splice(1, 0, speakingTile(cards));
  return [...fleet, heatTile(cards), powerTile(cards)];
}

export class Overview {
  constructor() {
    this.tiles = new KeyedList(byId("totals"), newTile, updateTile);
    this.nodes = new KeyedList(byId("nodes"), newNode, updateNode);
    this.alerts = new KeyedList(byId("alerts"), newAlert, updateAlert);
    this.problems = new KeyedList(
      byId("problems"),
      () => ({ root: element("li") }),
      (view, text) => setText(view.root, text),
    );
  }

  show(body) {
    this.tiles.show(tiles(body), ([name]) => name);
    const placed = body.nodes.toSorted(
      (a, b) => RANK[a.state] - RANK[b.state] || show.byName(a.host, b.host),
    );
    this.nodes.show(placed, (node) => node.id);
    setText(byId("nodes-count"), nodesText(body.nodes));
    this.alerts.show(body.alerts, (alert) => `${alert.rule}/${alert.subject}`);
    setHidden(byId("alerts"), body.alerts.length === 0);
    this.problems.show(body.problems, (text) => text);
    setHidden(byId("problems"), body.problems.length === 0);
  }
}

function newTile([name]) {
  const root = element("div", "total");
  const [value, note] = [element("dd", "value"), element("dd", "note")];
  root.append(element("dt", "", name), value, note);
  return { root, value, note };
}

function updateTile(view, [, value, note, alarming = false]) {
  setText(view.value, value);
  setText(view.note, alarming ? `⚠ ${note}` : note);
  view.root.classList.toggle("alarming", alarming);
}

function newAlert() {
  return { root: element("li") };
}

function updateAlert(view, alert) {
  view.root.dataset.severity = alert.severity;
  const value = show.withUnit(alert.value, alert.unit, Number.isInteger(alert.value) ? 0 : 2);
  const simulated = alert.simulated ? " (simulated)" : "";
  const sign = alert.severity === "critical" ? "⚠" : "△";
  setText(view.root, `${sign} ${alert.title}: ${alert.label}${simulated}, ${value}`);
}

function newNode() {
  const root = element("li", "node");
  const parts = ["state", "host", "note"].map((kind) => element("span", kind));
  root.append(...parts);
  return { root, state: parts[0], host: parts[1], note: parts[2] };
}

function updateNode(view, node) {
  const cards = { nvml: "NVML", simulated: "simulated cards", none: "no cards" };
  view.root.dataset.state = node.state;
  view.root.title = `node ${node.id}`;
  setText(view.state, `${STATES[node.state] ?? "?"} ${node.state}`);
  setText(view.host, node.host);
  const age = node.state === "ok" ? null : `last answer ${show.age(node.age_s)} ago`;
  const notes = [cards[node.card_source], age, ...node.problems];
  setText(view.note, notes.filter(Boolean).join(" · "));
}

function nodesText(nodes) {
  const good = nodes.filter((node) => node.state === "ok").length;
  return `${show.number(good)} of ${show.plural(nodes.length, "node")} answering`;
}
