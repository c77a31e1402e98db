// The live plots: the last minutes, as far as this page has seen them.

import uPlot from "/dashboard/uplot/uPlot.esm.js";
import { byId } from "/dashboard/dom.js";
import { amount, bytes, count, percent, seconds } from "/dashboard/formats.js";
import { rate, term, value } from "/dashboard/numbers.js";

const POINTS = 300;
const HEIGHT = 200;
const WORKERS = 5; // lines that can be told apart

const LEAST = new Map([[count, 4], [amount, 1], [bytes, 4000], [seconds, 0.002], [percent, 0.1]]); // that an axis reaches to
const WHOLE = Array.from({ length: 10 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)).flat();
const STEPS = new Map([[count, WHOLE], [amount, [0.1, 0.2, 0.5, ...WHOLE]]]); // else 0.25 would be written as 0.3
const BESIDE = 28; // to the right of a plot: half of a time, which may stand at its end

const now = (expression, merge) => (feed) => value(expression, feed, merge);
const each = (expression) => (feed, before) => rate(expression, feed, before);

const workers = (read) => Array.from({ length: WORKERS }, (_, worker) => [`worker ${worker}`, read({ worker: `${worker}` })]);
const roundTrip = (percentile) => now(term("megaphone_client_round_trip_now_seconds", { percentile }), "max");

const PLOTS = [
  ["connections", count, [
    ["authenticated", now('megaphone_connections{state="authenticated"}')],
    ["preauth", now('megaphone_connections{state="preauth"}')],
    ["negotiating", now('megaphone_connections{state="negotiating"}')],
    ["connecting", now('megaphone_connections{state="connecting"}')],
    ["closing", now('megaphone_connections{state="closing"}')],
    ["relaying", now('megaphone_connections{state="relaying"}')],
  ]],
  ["stanzas", amount, [
    ["from clients", each('megaphone_stanzas_total{direction="in"}')],
    ["to clients", each('megaphone_stanzas_total{direction="out"}')],
  ]],
  ["traffic", bytes, [
    ["from clients", each('megaphone_stream_bytes_total{direction="in"}')],
    ["to clients", each('megaphone_stream_bytes_total{direction="out"}')],
  ]],
  ["roundtrip", seconds, [
    ["median", roundTrip("50")],
    ["90 % within", roundTrip("90")],
    ["worst", roundTrip("100")],
  ]],
  ["latency", seconds, [
    ["slowest link", now("megaphone_link_round_trip_seconds", "max")],
    ["slowest check", now("megaphone_upstream_check_duration_seconds", "max")],
    ["worker's lag", now("megaphone_worker_loop_lag_seconds", "max")],
  ]],
  ["turnover", amount, [
    ["opened", each("megaphone_connections_accepted_total")],
    ["ended", each("megaphone_connections_closed_total")],
  ]],
  ["memory", bytes, workers((worker) => now(term("megaphone_worker_resident_memory_bytes", worker)))],
  ["cpu", percent, workers((worker) => each(term("megaphone_worker_cpu_seconds_total", worker)))],
];

const time = [];
const series = PLOTS.map(([, , lines]) => lines.map(() => []));
let charts = [];

/** A line that has always been nothing would only fill the legend; of such lines only, the first is shown. */
function shownOf(lines) {
  const found = [...lines.keys()].filter((place) => lines[place].some((each) => each));
  return found.length ? found : [0];
}

function style(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function chart([id, format, lines], data) {
  const parent = byId(`plot-${id}`);
  const axis = { stroke: style("--quiet"), grid: { stroke: style("--line"), width: 1 }, ticks: { stroke: style("--line"), width: 1 } };
  const shown = shownOf(data).map((place) => [lines[place], data[place], place]);
  const options = {
    width: Math.max(200, parent.clientWidth),
    height: HEIGHT,
    padding: [null, BESIDE, null, null],
    scales: { y: { range: (_, low, high) => [0, Math.max(LEAST.get(format), high * 1.1)] } },
    series: [
      { value: (_, at) => (at === null ? "" : new Date(at * 1000).toLocaleTimeString("en-GB")) },
      ...shown.map(([[label], , place]) => ({
        label,
        stroke: style(`--series-${place + 1}`),
        width: 2,
        points: { show: false },
        value: (_, number) => (number === null || number === undefined ? "–" : format(number)),
      })),
    ],
    axes: [
      { ...axis, values: (_, splits) => splits.map((at) => new Date(at * 1000).toLocaleTimeString("en-GB").slice(0, 8)), space: 90 },
      { ...axis, ...(STEPS.has(format) ? { incrs: STEPS.get(format) } : {}), size: 76, values: (_, splits) => splits.map((number) => format(number)) },
    ],
  };
  parent.replaceChildren();
  return { plot: new uPlot(options, [time, ...shown.map(([, points]) => points)], parent), places: shown.map(([, , place]) => place), parent };
}

/** Writes what is now below each plot, unless somebody points at it; later, as uPlot empties a legend when it draws. */
function writeNewest() {
  queueMicrotask(() => {
    for (const { plot } of charts) if (!(plot.cursor.left >= 0)) plot.setLegend({ idx: time.length - 1 });
  });
}

/** Draws all plots anew: at first, in other colours, or when there are other lines. */
export function drawPlots() {
  for (const { plot } of charts) plot.destroy();
  charts = PLOTS.map((each, place) => chart(each, series[place]));
  writeNewest();
}

/** Adds a point to each line. */
export function addPoints(feed, before) {
  time.push(feed.at_seconds);
  PLOTS.forEach(([, , lines], place) => lines.forEach(([, read], line) => series[place][line].push(read(feed, before))));
  if (time.length > POINTS) {
    time.shift();
    series.flat().forEach((points) => points.shift());
  }
  const isOther = ({ places }, number) => String(shownOf(series[number])) !== String(places);
  if (!charts.length || charts.some(isOther)) {
    drawPlots();
    return;
  }
  charts.forEach(({ plot, places }, number) => plot.setData([time, ...places.map((place) => series[number][place])]));
  writeNewest();
}

function fit() {
  for (const { plot, parent } of charts) {
    const width = Math.max(200, parent.clientWidth);
    if (width !== plot.width) plot.setSize({ width, height: HEIGHT });
  }
  writeNewest();
}

new ResizeObserver(fit).observe(document.querySelector(".plots"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.length && drawPlots());
