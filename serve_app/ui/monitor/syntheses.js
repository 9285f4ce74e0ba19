// The last 20 syntheses as a chart and a table.

import { Chart, synthesesFigure } from "./charts.js";
import { byId, element, setHidden, setText } from "./dom.js";
import * as show from "./format.js";

// Heading, text of a record, and the class that says on which screens the column is worth its place.
const COLUMNS = [
  ["Time", (record) => show.clockTime(record.timestamp), ""],
  ["Card", (record, where) => where(record), ""],
  ["Engine", (record) => record.engine, "wide"],
  ["Characters", (record) => show.number(record.input_characters), "wide number"],
  ["Audio", (record) => show.seconds(record.output_duration), "number"],
  ["Took", (record) => show.seconds(record.inference_time), "number"],
  ["Throughput", (record) => show.factor(record.throughput_rt), "number"],
  ["RTF", (record) => show.rtf(record.rtf), "number"],
  ["First audio", (record) => show.seconds(record.first_audio_s), "wide number"],
  ["Waited", (record) => show.seconds(record.queue_s), "widest number"],
  ["Tokens/s", (record) => show.number(record.tokens_per_s), "wide number"],
  ["Trace", (record) => record.trace_id.slice(0, 8) || show.UNKNOWN, "widest code"],
  ["Result", (record) => result(record), ""],
];

export class Syntheses {
  constructor() {
    this.chart = new Chart(byId("syntheses-chart"), synthesesFigure);
    const head = byId("syntheses-head");
    for (const [heading, , kind] of COLUMNS) {
      const cell = element("th", kind, heading);
      cell.scope = "col";
      head.append(cell);
    }
  }

  show(records, cards, palette) {
    setHidden(byId("syntheses-none"), records.length > 0);
    setHidden(byId("syntheses-some"), records.length === 0);
    if (!records.length) return;
    const byUuid = new Map(cards.map((card) => [card.uuid, card]));
    const where = (record) => placeOf(record, byUuid.get(record.card_uuid));
    fillTable(records.toReversed(), where);
    setText(byId("recent"), recentText(records));
    this.chart.target.setAttribute("aria-label", summary(records));
    this.chart.show(records, palette);
  }
}

function placeOf(record, card) {
  if (card) return `${card.host} · ${card.index}`;
  return record.card_uuid === null ? "CPU" : show.shortId(record.card_uuid);
}

function result(record) {
  if (show.hasFailed(record)) return `✕ ${record.error}`;
  if (record.error !== null) return `○ ${record.error}`;
  return record.simulated ? "✓ simulated" : "✓";
}

/** Rows are made once and rewritten: twenty of them never cost more than their changed text. */
function fillTable(records, where) {
  const body = byId("syntheses-body");
  while (body.rows.length > records.length) body.deleteRow(-1);
  records.forEach((record, at) => {
    const row = body.rows[at] ?? newRow(body);
    row.dataset.state = show.hasFailed(record) ? "error" : (record.error ?? "");
    row.title = record.trace_id ? `trace ${record.trace_id}, replica ${record.replica}` : "";
    COLUMNS.forEach(([, text], column) => setText(row.cells[column], text(record, where)));
  });
}

function newRow(body) {
  const row = body.insertRow();
  for (const [, , kind] of COLUMNS) row.insertCell().className = kind;
  return row;
}

/** Audio over the time from the first start to the last end of what is shown. */
export function recentThroughput(records) {
  const good = records.filter((record) => record.error === null);
  if (!good.length) return null;
  const begun = Math.min(...good.map((record) => record.timestamp - record.inference_time));
  const ended = Math.max(...good.map((record) => record.timestamp));
  const audio = good.reduce((sum, record) => sum + record.output_duration, 0);
  return ended > begun ? audio / (ended - begun) : null;
}

function recentText(records) {
  const audio = records.reduce((sum, record) => sum + record.output_duration, 0);
  return (
    `${show.duration(audio)} of audio, together ` +
    `${show.factor(recentThroughput(records))} real time`
  );
}

function summary(records) {
  const last = records.at(-1);
  return (
    `The last ${records.length} syntheses; the newest ran at ` +
    `${show.factor(last.throughput_rt)} real time, real-time factor ${show.rtf(last.rtf)}.`
  );
}
