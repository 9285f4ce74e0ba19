// Asks the service every 2 s and keeps the last minute of every card.
//
// The first question asks for no history, only for how many cards there are. Up to
// FULL_HISTORY cards, the last minute is fetched once and then only what is newer. Beyond that the
// history grows out of each answer's newest samples, so that an answer stays small with thousands
// of cards.

import { memoryPercent } from "./format.js";

const PERIOD_MS = 2000;
const TIMEOUT_MS = 8000;
const LONGEST_WAIT_MS = 30000;
const WINDOW_S = 60;
const FULL_HISTORY = 64;
const NO_HISTORY = 1e11; // a Unix time so late that no sample is newer

/** A card and its last minute, as arrays of equal length, oldest first. */
class Card {
  constructor(key) {
    this.key = key;
    this.history = { time: [], util: [], memory: [], temp: [] };
  }

  /** Take a sample unless it is known already. */
  add(sample) {
    const { time, util, memory, temp } = this.history;
    if (time.length && sample.timestamp <= time.at(-1)) return;
    time.push(sample.timestamp);
    util.push(sample.gpu_util);
    memory.push(memoryPercent(sample));
    temp.push(sample.temp);
  }

  /** What the card is now. Its own clock says what is older than a minute. */
  settle(entry) {
    Object.assign(this, entry);
    this.now = entry.timestamp + entry.age_s;
    const first = this.history.time.findIndex((time) => time > this.now - WINDOW_S);
    const drop = first < 0 ? this.history.time.length : first;
    if (drop) for (const series of Object.values(this.history)) series.splice(0, drop);
  }
}

export class Feed {
  /**
   * @param url of /get_metrics.
   * @param onData called with {cards, inference, totals, nodes, problems} after each answer.
   * @param onState called with {ok, message, waitMs} after each attempt.
   */
  constructor(url, onData, onState) {
    Object.assign(this, { url, onData, onState });
    this.cards = new Map();
    this.since = NO_HISTORY;
    this.failures = 0;
    this.receivedAt = null; // performance.now() of the last answer
    this.timer = null;
    this.asking = false;
    document.addEventListener("visibilitychange", () => this.wake());
  }

  /** Ask now, unless a question is on its way or nobody looks. */
  wake() {
    clearTimeout(this.timer);
    if (!this.asking && !document.hidden) this.ask();
  }

  get ageS() {
    return this.receivedAt === null ? null : (performance.now() - this.receivedAt) / 1000;
  }

  async ask() {
    this.asking = true;
    let body = null;
    let waitMs = PERIOD_MS;
    try {
      body = await this.fetch();
    } catch (error) {
      this.failures += 1;
      waitMs = Math.min(PERIOD_MS * 2 ** (this.failures - 1), LONGEST_WAIT_MS);
      this.onState({ ok: false, message: explain(error), waitMs });
    }
    this.asking = false;
    try {
      if (body !== null && this.take(body)) waitMs = 0;
    } finally {
      // A view that fails is told on the console, and does not end the questions.
      if (!document.hidden) this.timer = setTimeout(() => this.wake(), waitMs);
    }
  }

  async fetch() {
    const query = this.since === null ? "" : `?since=${this.since}`;
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const answer = await fetch(this.url + query, { signal, cache: "no-store" });
    if (!answer.ok) throw new Error(`it answered with status ${answer.status}`);
    return answer.json();
  }

  /** Take an answer; true if the history should be fetched at once. */
  take(body) {
    this.failures = 0;
    this.receivedAt = performance.now();
    this.onState({ ok: true, message: "", waitMs: PERIOD_MS });
    const keyOf = (entry) => `${entry.node}/${entry.uuid}`;
    const present = new Set(body.cards.map(keyOf));
    for (const key of this.cards.keys()) if (!present.has(key)) this.cards.delete(key);
    for (const key of present) if (!this.cards.has(key)) this.cards.set(key, new Card(key));
    for (const sample of body.gpu) this.cards.get(keyOf(sample))?.add(sample);
    const history = present.size <= FULL_HISTORY;
    const first = this.since === NO_HISTORY && history && present.size > 0;
    for (const entry of body.cards) {
      const card = this.cards.get(keyOf(entry));
      if (!first) card.add(entry); // else the history would end before it began
      card.settle(entry);
    }
    this.since = first ? null : history && present.size ? this.newest(body) : NO_HISTORY;
    this.onData({ ...body, cards: [...this.cards.values()] });
    return first;
  }

  /** The time from which on samples are missing: the slowest of the clocks that still go. */
  newest(body) {
    const going = body.cards.filter((card) => !card.stale).map((card) => card.timestamp);
    return going.length ? Math.min(...going) : body.timestamp - WINDOW_S;
  }
}

function explain(error) {
  if (error.name === "TimeoutError") return `no answer within ${TIMEOUT_MS / 1000} s`;
  return error instanceof TypeError ? "nothing listens there" : error.message;
}
