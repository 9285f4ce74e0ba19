// One card as a panel: its numbers now and its last minute.

import { Chart, cardFigure } from "./charts.js";
import { fromTemplate, setHidden, setText } from "./dom.js";
import * as show from "./format.js";

export class Panel {
  constructor(onUnpin) {
    const { root, parts } = fromTemplate("panel-template");
    Object.assign(this, { root, parts });
    this.chart = new Chart(parts.chart, cardFigure);
    if (onUnpin) parts.unpin.addEventListener("click", () => onUnpin(this.card));
  }

  update(card, palette, pinned) {
    this.card = card;
    const { parts } = this;
    const state = show.cardState(card);
    this.root.dataset.state = state;
    setText(parts.index, String(card.index));
    setText(parts.name, card.name);
    setText(parts.place, `${card.host} · ${show.shortId(card.uuid)}`);
    parts.place.title = `node ${card.node}, ${card.uuid}`;
    setHidden(parts.simulated, !card.simulated);
    setHidden(parts.unpin, !pinned);
    setHidden(parts.state, state === "");
    setText(parts.state, stateText(card, state));
    setText(parts.util, show.percent(card.gpu_util));
    setText(parts.memory, show.gib(card.mem_used));
    setText(parts.total, `Memory of ${show.gib(card.mem_total, 0)}`);
    setText(parts.temp, show.celsius(card.temp));
    setText(parts.foot, footText(card));
    parts.chart.setAttribute("aria-label", summary(card));
    this.chart.show(card, palette);
  }

  close() {
    this.chart.close();
  }
}

function stateText(card, state) {
  if (state === "error") return `⚠ Can't be read: ${card.error}`;
  if (state === "paused") return `⏸ Paused for ${show.age(card.guard_for_s)}: ${card.guard_why}`;
  if (state === "eased") return `◐ Eased to half its slots: ${card.guard_why}`;
  return state === "stale" ? `○ Stale: the last reading is ${show.age(card.age_s)} old` : "";
}

function footText(card) {
  const parts = [];
  if (card.power_w !== null) {
    const limit = card.power_limit_w === null ? "" : ` of ${show.number(card.power_limit_w)}`;
    parts.push(`${show.number(card.power_w)}${limit}\u202fW`);
  }
  if (card.sm_clock_mhz !== null) parts.push(`${show.number(card.sm_clock_mhz)}\u202fMHz`);
  if (card.margin_c !== null) parts.push(`${show.celsius(card.margin_c)} to slowdown`);
  if (card.mem_temp !== null) parts.push(`memory ${show.celsius(card.mem_temp)}`);
  if (card.slots > 0) parts.push(`speaking ${card.busy} of ${card.slots}`);
  const slowed = show.throttle(card);
  if (slowed) parts.push(`⚠ slowed by ${slowed}`);
  return parts.join(" · ");
}

/** What a reader without the picture should know. */
function summary(card) {
  const known = card.history.util.filter((value) => value !== null);
  const span = known.length
    ? ` Over the last minute utilisation went from ${show.percent(Math.min(...known))} ` +
      `to ${show.percent(Math.max(...known))}.`
    : "";
  return (
    `Card ${card.index} of ${card.host}: utilisation ${show.percent(card.gpu_util)}, ` +
    `memory ${show.gib(card.mem_used)}, temperature ${show.celsius(card.temp)}.${span}`
  );
}
