// The tables of numbers: which rows there are follows from the labels in the feed; numbers.js fills them.

import { byId, fill, number } from "/dashboard/dom.js";
import { samples, term } from "/dashboard/numbers.js";

const ROWS = 100; // of one table; a node with more has `megaphone links` and Prometheus
const rate = { "data-rate": true };
const drawn = new Map();

function distinct(feed, metric, label) {
  return [...new Set(samples(feed, metric).map(([labels]) => labels[label]))];
}

/** Draws a table anew only if it has other rows than before, so that what is selected stays selected. */
function draw(id, columns, keys, row) {
  const shown = keys.slice(0, ROWS);
  const written = JSON.stringify([shown, keys.length]);
  if (drawn.get(id) === written) return;
  drawn.set(id, written);
  const rows = shown.map(row);
  if (keys.length > ROWS) rows.push([`and ${keys.length - ROWS} more`, ...columns.slice(1).map(() => "")]);
  fill(byId(id), columns, rows);
}

function states(feed) {
  const workers = distinct(feed, "megaphone_connections", "worker");
  const all = distinct(feed, "megaphone_connections", "state").filter(
    (state) => ["connecting", "closing"].includes(state) || (state === "relaying") === (feed.kind === "hub"),
  );
  draw(
    "states",
    [["state"], ["all", true], ...workers.slice(0, 16).map((worker) => [`worker ${worker}`, true])],
    all,
    (state) => [
      state,
      number(term("megaphone_connections", { state }), "count"),
      ...workers.slice(0, 16).map((worker) => number(term("megaphone_connections", { worker, state }), "count")),
    ],
  );
}

const TRANSPORTS = [
  ["TCP", "megaphone_connections - megaphone_websocket_connections - megaphone_bosh_sessions - megaphone_http_connections"],
  ["WebSocket", "megaphone_websocket_connections"],
  ["BOSH", "megaphone_bosh_sessions"],
  ["HTTP", "megaphone_http_connections"],
];

function transports() {
  draw("transports", [["transport"], ["connections", true]], TRANSPORTS, ([name, metric]) => [name, number(metric, "count")]);
}

function reasons(feed) {
  const ended = samples(feed, "megaphone_connections_closed_total").filter(([, count]) => count > 0);
  ended.sort((left, right) => right[1] - left[1]);
  draw("reasons", [["reason"], ["ended", true], ["now", true]], ended.map(([labels]) => labels), (labels) => {
    const metric = term("megaphone_connections_closed_total", labels);
    return [labels.reason, number(metric, "count"), number(metric, "perSecond", rate)];
  });
}

function service() {
  const rows = [
    ["sessions", 'megaphone_sessions{state="bound"}'],
    ["of them waiting for their client", 'megaphone_sessions{state="waiting"}'],
    ["rooms", "megaphone_rooms"],
    ["occupants", "megaphone_room_occupants"],
    ["logins", 'megaphone_logins_total{result="ok"}'],
    ["failed logins", 'megaphone_logins_total{result="failed"}'],
  ];
  draw("service", [["what"], ["now", true]], rows, ([name, metric]) => [name, number(metric, "count")]);
}

function pages() {
  const rows = [
    ["pages", "megaphone_pages"],
    ["windows", 'megaphone_pages_windows{state="connected"}'],
    ["that hold a page", 'megaphone_pages_windows{state="holding"}'],
    ["that wait for one", 'megaphone_pages_windows{state="waiting"}'],
  ];
  draw("pages", [["what"], ["now", true]], rows, ([name, metric]) => [name, number(metric, "count")]);
}

function hub() {
  const rows = [
    ["links attached", 'megaphone_hub_links{state="attached"}', "count"],
    ["links waiting for a new socket", 'megaphone_hub_links{state="waiting"}', "count"],
    ["resumed", 'megaphone_hub_attaches_total{session="resumed"}', "count"],
    ["breaks", "megaphone_hub_breaks_total", "count"],
    ["refused", "megaphone_hub_refused_total", "count"],
    ["from edges", 'megaphone_hub_link_bytes_total{direction="in"}', "bytesPerSecond", rate],
    ["to edges", 'megaphone_hub_link_bytes_total{direction="out"}', "bytesPerSecond", rate],
    ["kept", "megaphone_hub_kept_bytes", "bytes"],
    ["unsent", "megaphone_hub_unsent_bytes", "bytes"],
  ];
  draw("hub", [["what"], ["now", true]], rows, ([name, ...of]) => [name, number(...of)]);
}

function workers(feed) {
  const versions = Object.fromEntries(samples(feed, "megaphone_worker_info").map(([each]) => [each.worker, each.version]));
  const columns = [
    ["worker"], ["version"], ["up", true], ["connections", true], ["accepted", true], ["CPU", true], ["memory", true],
    ["open files", true], ["may open", true], ["lag", true], ["worst lag", true], ["waiting", true], ["restarts", true],
  ];
  const keys = distinct(feed, "megaphone_connections", "worker").map((worker) => [worker, versions[worker] ?? "–"]);
  draw("workers", columns, keys, ([worker, version]) => {
    const of = (metric, format, more) => number(term(metric, { worker }), format, more);
    return [
      worker,
      version,
      of("megaphone_worker_start_time_seconds", "age"),
      of("megaphone_connections", "count"),
      of("megaphone_connections_accepted_total", "count"),
      of("megaphone_worker_cpu_seconds_total", "percent", rate),
      of("megaphone_worker_resident_memory_bytes", "bytes"),
      of("megaphone_worker_open_fds", "count"),
      of("megaphone_worker_max_fds", "count"),
      of("megaphone_worker_loop_lag_seconds", "seconds"),
      of("megaphone_worker_loop_lag_max_seconds", "seconds"),
      of("megaphone_mailbox_bytes", "bytes"),
      of("megaphone_worker_restarts_total", "count"),
    ];
  });
}

function upstreams(feed) {
  const columns = [
    ["upstream"], ["healthy for", true], ["connections", true], ["opened", true], ["failed", true], ["check", true],
    ["links attached", true], ["waiting", true], ["first answer", true],
  ];
  draw("upstreams", columns, distinct(feed, "megaphone_upstream_connections", "upstream"), (upstream) => {
    const of = (metric, format, labels = {}) => number(term(metric, { upstream, ...labels }), format);
    const answer = (what) => term(`megaphone_admission_answer_duration_seconds_${what}`, { upstream });
    return [
      upstream,
      of("megaphone_upstream_healthy", "count"),
      of("megaphone_upstream_connections", "count"),
      of("megaphone_upstream_connects_total", "count", { result: "ok" }),
      of("megaphone_upstream_connects_total", "count", { result: "failed" }),
      of("megaphone_upstream_check_duration_seconds", "seconds"),
      of("megaphone_links", "count", { state: "attached" }),
      of("megaphone_admission_waiting", "count"),
      number(`${answer("sum")} / ${answer("count")}`, "seconds"),
    ];
  });
}

function links(feed) {
  const columns = [
    ["upstream"], ["worker"], ["link"], ["streams", true], ["round trip", true], ["in", true], ["out", true],
    ["kept", true], ["unsent", true], ["waits for credit", true], ["waited", true], ["waits for a turn", true],
    ["resumed", true], ["breaks", true],
  ];
  draw("links", columns, samples(feed, "megaphone_link_streams").map(([labels]) => labels), (labels) => {
    const of = (metric, format, more = {}, attributes = {}) => number(term(metric, { ...labels, ...more }), format, attributes);
    return [
      labels.upstream,
      labels.worker,
      labels.link,
      of("megaphone_link_streams", "count"),
      of("megaphone_link_round_trip_seconds", "seconds"),
      of("megaphone_link_bytes_total", "bytesPerSecond", { direction: "in" }, rate),
      of("megaphone_link_bytes_total", "bytesPerSecond", { direction: "out" }, rate),
      of("megaphone_link_kept_bytes", "bytes"),
      of("megaphone_link_unsent_bytes", "bytes"),
      of("megaphone_link_credit_waits_total", "count"),
      of("megaphone_link_credit_wait_seconds_total", "seconds"),
      of("megaphone_link_turn_waits_total", "count"),
      of("megaphone_link_attaches_total", "count", { session: "resumed" }),
      of("megaphone_link_breaks_total", "count"),
    ];
  });
}

export function drawTables(feed) {
  states(feed);
  transports();
  reasons(feed);
  if (feed.kind === "service") service();
  if (feed.kind === "hub") hub();
  pages();
  workers(feed);
  if (samples(feed, "megaphone_upstream_connections").length) upstreams(feed);
  if (samples(feed, "megaphone_link_streams").length) links(feed);
}
