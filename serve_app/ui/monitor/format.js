// Numbers for people. What is not known is shown as a dash, never as 0.

export const UNKNOWN = "–";

// Making a format costs far more than using it.
const FORMATS = [0, 1, 2, 3].map(
  (digits) =>
    new Intl.NumberFormat("en-GB", {
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
    }),
);

/** With 0 to 3 digits behind the point. */
export function number(value, digits = 0) {
  if (value === null || value === undefined || !Number.isFinite(value)) return UNKNOWN;
  return FORMATS[digits].format(value);
}

export function withUnit(value, unit, digits = 0) {
  const shown = number(value, digits);
  return shown === UNKNOWN ? UNKNOWN : `${shown}\u202f${unit}`;
}

export const percent = (value) => withUnit(value, "%");
export const celsius = (value) => withUnit(value, "°C");

/** MiB as GiB. */
export function gib(mib, digits = 1) {
  return mib === null || mib === undefined ? UNKNOWN : withUnit(mib / 1024, "GiB", digits);
}

/** A factor of real time, with three figures or so. */
export function factor(value) {
  if (value === null || value === undefined) return UNKNOWN;
  return `${number(value, value < 10 ? 2 : value < 100 ? 1 : 0)}\u202f×`;
}

export function rtf(value) {
  return number(value, value !== null && value < 0.1 ? 3 : 2);
}

export function seconds(value) {
  return withUnit(value, "s", value !== null && value < 10 ? 2 : 1);
}

/** A length of audio: 42 s, 12 min 05 s, 3 h 20 min. */
export function duration(value) {
  if (value === null || value === undefined) return UNKNOWN;
  const whole = Math.round(value);
  const pad = (part) => String(part).padStart(2, "0");
  if (whole < 60) return `${whole}\u202fs`;
  if (whole < 3600) return `${Math.floor(whole / 60)}\u202fmin ${pad(whole % 60)}\u202fs`;
  return `${number(Math.floor(whole / 3600))}\u202fh ${pad(Math.floor((whole % 3600) / 60))}\u202fmin`;
}

/** How long ago, in one unit. */
export function age(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value < 120) return `${Math.round(value)}\u202fs`;
  return value < 7200 ? `${Math.round(value / 60)}\u202fmin` : `${Math.round(value / 3600)}\u202fh`;
}

export function power(watts) {
  return watts !== null && watts >= 10000 ? withUnit(watts / 1000, "kW", 1) : withUnit(watts, "W");
}

export function clockTime(unixSeconds) {
  return new Date(unixSeconds * 1000).toLocaleTimeString("en-GB");
}

export function plural(count, word) {
  return `${number(count)} ${word}${count === 1 ? "" : "s"}`;
}

export const shortId = (id) => (id.length > 18 ? `${id.slice(0, 12)}…` : id);

/** Order of names in which node-2 comes before node-10. */
export const byName = new Intl.Collator("en", { numeric: true }).compare;

/** Memory used as a share of the whole, in percent, or null. */
export function memoryPercent(sample) {
  if (sample.mem_used === null || !sample.mem_total) return null;
  return (100 * sample.mem_used) / sample.mem_total;
}

/** The word for a card's trouble, or "" when all is well. */
export function cardState(card) {
  if (card.error !== null) return "error";
  if (card.stale) return "stale";
  return card.guard === "paused" || card.guard === "eased" ? card.guard : "";
}

/** Whether what a card tells says nothing about the present. */
export const isUnknown = (card) => card.error !== null || card.stale;

// What a clock is held down by on purpose, or for want of work, is no news.
const QUIET = new Set(["idle", "clock_setting", "sync_boost", "display"]);
const REASONS = {
  power_cap: "power cap",
  hw_slowdown: "hardware slowdown",
  sw_thermal: "heat (driver)",
  hw_thermal: "heat (hardware)",
  power_brake: "power brake",
};

/** What slows a card down, in words; "" if nothing does. */
export function throttle(card) {
  const reasons = (card.throttle ?? []).filter((reason) => !QUIET.has(reason));
  return reasons.map((reason) => REASONS[reason] ?? reason).join(", ");
}

/** A synthesis that went wrong; one whose listener left did not. */
export const hasFailed = (record) => record.error !== null && record.error !== "cancelled";
