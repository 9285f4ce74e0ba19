// Figures for plotly.js, which is loaded late: the page is useful before and without it.

import { hasFailed, isUnknown } from "./format.js";

const CONFIG = { displayModeBar: false, responsive: true, doubleClick: false };
const COLOURS = ["ink", "dim", "line", "card", "util", "mem", "temp", "bad"];
export const DASHES = { util: "solid", mem: "dot", temp: "dash" };

/** Resolves once plotly.js is here; rejects with what the service says when it has none. */
export function loadPlotly(url) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = url;
    script.onload = resolve;
    script.onerror = () => explainMissing(url).then((why) => reject(new Error(why)));
    document.head.append(script);
  });
}

async function explainMissing(url) {
  try {
    const answer = await fetch(url);
    return answer.ok ? "plotly.js could not be run." : await answer.text();
  } catch {
    return "plotly.js could not be loaded.";
  }
}

/** The theme's colours by name, the font and the size of 1 rem, as the browser resolves them. */
export function readPalette() {
  const probe = document.createElement("span");
  document.body.append(probe);
  const palette = {
    family: getComputedStyle(document.body).fontFamily,
    rem: parseFloat(getComputedStyle(document.documentElement).fontSize),
  };
  for (const name of COLOURS) {
    probe.style.color = `var(--${name})`;
    palette[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return palette;
}

/** Charts that wait to be drawn: one a frame, so that a dozen of them never hold up the page. */
const waiting = new Set();

function drawNext() {
  const [chart] = waiting;
  if (chart === undefined) return; // it was closed meanwhile
  waiting.delete(chart);
  chart.draw();
  if (waiting.size) requestAnimationFrame(drawNext);
}

/** A chart in an element; draws only while it can be seen, and only what is new. */
export class Chart {
  constructor(target, figure) {
    Object.assign(this, { target, figure, pending: null, visible: false });
    this.observer = new IntersectionObserver((entries) => {
      this.visible = entries.at(-1).isIntersecting;
      this.schedule();
    });
    this.observer.observe(target);
  }

  show(...data) {
    this.pending = data;
    this.schedule();
  }

  schedule() {
    if (!this.visible || this.pending === null || window.Plotly === undefined) return;
    if (!waiting.size) requestAnimationFrame(drawNext);
    waiting.add(this);
  }

  draw() {
    const { data, layout } = this.figure(...this.pending);
    this.pending = null;
    window.Plotly.react(this.target, data, layout, CONFIG);
  }

  close() {
    this.observer.disconnect();
    waiting.delete(this);
    if (window.Plotly !== undefined) window.Plotly.purge(this.target);
  }
}

function faded(colour, alpha) {
  return colour.replace(/^rgb\((.*)\)$/, `rgba($1, ${alpha})`);
}

function layout(palette, more) {
  const { rem, family, dim } = palette;
  const font = { family, color: dim };
  return {
    autosize: true,
    margin: { l: 2.9 * rem, r: 3.2 * rem, t: 0.7 * rem, b: 1.7 * rem },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { ...font, size: 0.75 * rem },
    showlegend: false,
    dragmode: false,
    hovermode: "x unified",
    hoverlabel: {
      bgcolor: palette.card,
      bordercolor: palette.line,
      font: { ...font, color: palette.ink, size: 0.8 * rem },
    },
    ...more,
  };
}

function axis(palette, more) {
  return {
    fixedrange: true,
    zeroline: false,
    gridcolor: palette.line,
    tickcolor: palette.line,
    linecolor: palette.line,
    ...more,
  };
}

const lastMinute = (palette) =>
  axis(palette, {
    range: [-60, 0],
    tickvals: [-60, -40, -20, 0],
    ticktext: ["−60 s", "−40", "−20", "now"],
    hoverformat: ".0f",
    showgrid: false,
  });

const ticks = (tickvals, unit) => ({
  tickvals,
  ticktext: tickvals.map((value) => `${value} ${unit}`),
});

/** Two scales whose three grid lines fall together: 0..100 % left, deg C right. */
function loadAndHeat(palette, temps) {
  const known = temps.filter((temp) => temp !== null);
  const low = Math.min(...known) < 20 ? 0 : 20;
  const high = Math.max(...known) > 100 ? 120 : 100;
  const headroom = 1.04;
  return {
    yaxis: axis(palette, {
      range: [0, 100 * headroom],
      ...ticks([0, 50, 100], "%"),
    }),
    yaxis2: axis(palette, {
      overlaying: "y",
      side: "right",
      range: [low, low + (high - low) * headroom],
      ...ticks([low, (low + high) / 2, high], "°C"),
      tickfont: { color: palette.temp },
      showgrid: false,
    }),
  };
}

function line(x, y, name, colour, dash, unit, more = {}) {
  return {
    type: "scatter",
    mode: "lines",
    x,
    y,
    name,
    line: { color: colour, width: 2, dash },
    hovertemplate: `%{y:.0f} ${unit}`,
    ...more,
  };
}

/** One card: utilisation and memory in percent, temperature on its own axis. */
export function cardFigure(card, palette) {
  const { time, util, memory, temp } = card.history;
  const x = time.map((at) => at - card.now);
  const grey = isUnknown(card);
  const colour = (name) => (grey ? palette.dim : palette[name]);
  return {
    data: [
      line(x, util, "Utilisation", colour("util"), DASHES.util, "%", {
        fill: "tozeroy",
        fillcolor: faded(colour("util"), 0.1),
      }),
      line(x, memory, "Memory", colour("mem"), DASHES.mem, "%"),
      line(x, temp, "Temperature", colour("temp"), DASHES.temp, "°C", { yaxis: "y2" }),
    ],
    layout: layout(palette, { xaxis: lastMinute(palette), ...loadAndHeat(palette, temp) }),
  };
}

/** All cards: median and 10..90 % band of utilisation, median and highest temperature. */
export function fleetFigure(fleet, palette) {
  const edge = { line: { width: 0 }, hoverinfo: "skip" };
  const band = line(fleet.x, fleet.utilHigh, "", palette.util, "solid", "%", {
    ...edge,
    fill: "tonexty",
    fillcolor: faded(palette.util, 0.16),
  });
  return {
    data: [
      line(fleet.x, fleet.utilLow, "", palette.util, "solid", "%", edge),
      band,
      line(fleet.x, fleet.utilMid, "Utilisation, median", palette.util, DASHES.util, "%"),
      line(fleet.x, fleet.tempMid, "Temperature, median", palette.temp, DASHES.mem, "°C", {
        yaxis: "y2",
      }),
      line(fleet.x, fleet.tempHigh, "Temperature, highest", palette.temp, DASHES.temp, "°C", {
        yaxis: "y2",
      }),
    ],
    layout: layout(palette, {
      xaxis: lastMinute(palette),
      ...loadAndHeat(palette, fleet.tempHigh),
    }),
  };
}

/** The last syntheses: bars of throughput, markers of the real-time factor on their own axis. */
export function synthesesFigure(records, palette) {
  const x = records.map((_, place) => place + 1);
  const good = (name) => records.map((record) => (record.error === null ? record[name] : null));
  return {
    data: [
      {
        type: "bar",
        x,
        y: good("throughput_rt"),
        name: "Throughput",
        marker: { color: faded(palette.util, 0.55), line: { color: palette.util, width: 1 } },
        hovertemplate: "%{y:.2f} × real time",
      },
      {
        ...line(x, good("rtf"), "RTF", palette.temp, DASHES.temp, ""),
        mode: "lines+markers",
        marker: { symbol: "diamond", size: 7 },
        yaxis: "y2",
        hovertemplate: "%{y:.3f}",
      },
      {
        type: "scatter",
        mode: "markers",
        x,
        y: records.map((record) => (hasFailed(record) ? 0 : null)),
        name: "Failed",
        marker: { symbol: "x", size: 9, color: palette.bad },
        cliponaxis: false,
        hovertemplate: "failed",
      },
    ],
    layout: layout(palette, {
      bargap: 0.35,
      xaxis: axis(palette, {
        range: [0.3, 20.7],
        tickvals: [1, 20],
        ticktext: records.length === 20 ? ["oldest", "newest"] : ["first", ""],
        showgrid: false,
      }),
      yaxis: axis(palette, { rangemode: "tozero", ticksuffix: " ×", nticks: 4 }),
      yaxis2: axis(palette, {
        overlaying: "y",
        side: "right",
        rangemode: "tozero",
        tickfont: { color: palette.temp },
        tickmode: "auto",
        nticks: 5,
        showgrid: false,
      }),
    }),
  };
}
