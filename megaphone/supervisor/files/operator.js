// What only who has the token sees: who is connected, who talks most, the cluster's nodes; and kick and drain.
//
// The token is in this page's memory only, and leaves it in a header only.

import { byId, element, fill } from "/dashboard/dom.js";
import { age, bytes, bytesPerSecond, seconds } from "/dashboard/formats.js";

const TALKERS = 10;
const PAGE = 25;
const EMPTY_PAGES = 100; // that a search turns by itself, each over some thousand connections
const ENDING_MS = 500; // a client that was kicked has some seconds to end the stream itself: looked at again until then
const ENDING_LOOKS = 30;
let token = null;
let talkersBefore = new Map();

async function ask(method, path, body) {
  const answer = await fetch(path, {
    method,
    headers: { Authorization: `Bearer ${token}` },
    body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
  });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error ?? `HTTP status ${answer.status}`);
  return said;
}

function sure(question) {
  byId("question").textContent = question;
  const dialog = byId("sure");
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true }));
}

function missing(workers) {
  return workers.length ? ` No answer from worker ${workers.join(", ")}.` : "";
}

async function attempt(said, what) {
  try {
    said.textContent = await what();
  } catch (error) {
    said.textContent = error.message;
  }
}

function kick(row, said, then) {
  const whom = row.jid ?? `${row.address} port ${row.port}`;
  return element("button", {
    class: "grave",
    type: "button",
    click: async () => {
      if (!(await sure(`End the connection of ${whom}?`))) return;
      await attempt(said, async () => {
        const { kicked, missing_workers: lost } = await ask("POST", "/kick", { connection: row.id });
        return (kicked ? `Ended the connection of ${whom}.` : "It had ended already.") + missing(lost);
      });
      await then();
    },
  }, "Kick");
}

const COLUMNS = [
  [""], ["JID"], ["address"], ["state"], ["transport"], ["TLS"], ["upstream"], ["worker"], ["age", true],
  ["round trip", true], ["in", true], ["out", true],
];

function cells(row, button) {
  const address = row.address.includes(":") ? `[${row.address}]:${row.port}` : `${row.address}:${row.port}`;
  return [
    button, row.jid ? element("span", { class: "jid", title: row.jid }, row.jid) : "–", address, row.state, row.transport ?? "–", row.tls ?? "–", row.upstream ?? "–", `${row.worker}`,
    age(row.age_seconds), row.round_trip_seconds === null ? "–" : seconds(row.round_trip_seconds), bytes(row.bytes_in), bytes(row.bytes_out),
  ];
}

function connections() {
  const search = element("input", { type: "search", "aria-label": "Search", placeholder: "part of a JID, or an address", maxlength: "512" });
  const state = element("select", { "aria-label": "State" }, element("option", { value: "" }, "any state"),
    ...["authenticated", "preauth", "connecting", "negotiating", "closing", "relaying"].map((each) => element("option", {}, each)));
  const table = element("table", { id: "connections" });
  const said = element("p", { class: "said", role: "status" });
  const back = element("button", { type: "button", click: () => turn(-1) }, "Back");
  const next = element("button", { type: "button", id: "next", click: () => turn(1) }, "Next");
  let places = ["0.0"];
  let following = null;
  let asked = 0;

  async function show(note = "", looks = 0) {
    const number = (asked += 1);
    await attempt(said, async () => {
      let from = places.at(-1);
      let answer;
      const rows = [];
      const lost = new Set();
      for (let turned = 0; turned < EMPTY_PAGES; turned += 1) {
        const query = new URLSearchParams({ search: search.value.trim(), from, limit: PAGE - rows.length });
        if (state.value) query.set("state", state.value);
        answer = await ask("GET", `/page?${query}`);
        if (number !== asked) return said.textContent; // somebody has typed on meanwhile
        rows.push(...answer.connections);
        answer.missing_workers.forEach((worker) => lost.add(worker));
        if (rows.length >= PAGE || answer.next === null) break;
        from = answer.next;
        said.textContent = "Looking …";
      }
      following = answer.next;
      fill(table, COLUMNS, rows.map((row) => cells(row, kick(row, said, () => show(said.textContent, ENDING_LOOKS)))));
      back.disabled = places.length < 2;
      next.disabled = following === null;
      if (looks && rows.some((row) => row.state === "closing")) {
        setTimeout(() => number === asked && show(note, looks - 1), ENDING_MS);
      }
      const found = rows.length ? `${rows.length} connections${following === null ? "" : ", and there may be more"}.` : "No connection matches.";
      return note || found + missing([...lost]);
    });
  }

  function turn(pages) {
    if (pages > 0) places.push(following);
    else places.pop();
    return show();
  }

  const again = () => {
    places = ["0.0"];
    return show();
  };
  let pause;
  search.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(again, 300);
  });
  state.addEventListener("change", again);
  show();
  return element("section", {}, element("h2", {}, "Who is connected"),
    element("form", { class: "search", submit: (event) => { event.preventDefault(); again(); } }, search, state,
      element("button", {}, "Search"), back, next),
    said, element("div", { class: "scroll" }, table));
}

function talkers() {
  const table = element("table", { id: "talkers" });
  const said = element("p", { class: "said", role: "status" });
  async function show() {
    await attempt(said, async () => {
      const { connections: rows, missing_workers: lost } = await ask("GET", `/talkers?limit=${TALKERS}`);
      const at = performance.now();
      const known = new Map(rows.map((row) => [row.id, [row.bytes_in + row.bytes_out, at]]));
      fill(table, [...COLUMNS, ["now", true]], rows.map((row) => {
        const before = talkersBefore.get(row.id);
        const grown = before ? Math.max(0, row.bytes_in + row.bytes_out - before[0]) / ((at - before[1]) / 1000) : null;
        return [...cells(row, kick(row, said, show)), grown === null ? "–" : bytesPerSecond(grown)];
      }));
      talkersBefore = known;
      return missing(lost) || said.textContent;
    });
  }
  show();
  const timer = setInterval(() => document.hidden || show(), 5000);
  return [timer, element("section", {}, element("h2", {}, "Top talkers"),
    element("p", { class: "note" }, "The most bytes since the connection was opened, in and out."), said, element("div", { class: "scroll" }, table))];
}

async function nodes() {
  const { workers } = await ask("GET", "/nodes");
  const known = new Map(workers.flatMap((worker) => worker.nodes).map((node) => [node.key, node]));
  fill(byId("nodes"), [["node"], ["workers", true], ["since"], ["addresses"]], [...known.values()].map((node) => [
    node.name + (node.own ? " (this one)" : ""), `${node.workers}`, new Date(node.since_ms).toLocaleString("en-GB"), node.addresses.join(", ") || "–",
  ]));
}

function steering(feed) {
  const said = element("span", { class: "quiet", role: "status" });
  const workers = feed.metrics.megaphone_connections.map(([labels]) => labels.worker);
  const which = element("select", { "aria-label": "What to drain" }, element("option", { value: "" }, "the node"),
    ...[...new Set(workers)].map((worker) => element("option", { value: worker }, `worker ${worker}`)));
  const drain = element("button", {
    class: "grave",
    id: "drain",
    type: "button",
    click: async () => {
      const worker = which.value === "" ? null : Number(which.value);
      const question = worker === null
        ? "Send all clients away and end this node?"
        : `Send the clients of worker ${worker} away and replace it?`;
      if (!(await sure(question))) return;
      await attempt(said, async () => {
        const answer = await ask("POST", "/drain", { worker });
        return `draining, at most ${age(answer.deadline_seconds)}`;
      });
    },
  }, "Drain");
  return [said, which, drain];
}

/** Offers to unlock where a token is set; everything here is made only once the server has taken it. */
export function offer(feed) {
  const form = byId("unlock");
  byId("locked").hidden = token !== null;
  form.hidden = token !== null || !feed.token;
  if (form.dataset.offered) return;
  form.dataset.offered = "yes";
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    token = byId("token").value.trim();
    byId("token").value = "";
    try {
      await ask("GET", "/talkers?limit=1");
    } catch (error) {
      token = null;
      byId("token").placeholder = error.message;
      return;
    }
    form.hidden = true;
    byId("locked").hidden = true;
    byId("steering").replaceChildren(...steering(feed));
    const [, busiest] = talkers();
    byId("operator").replaceChildren(busiest, connections());
    if (!byId("cluster").hidden) nodes().catch(() => {});
  });
}
