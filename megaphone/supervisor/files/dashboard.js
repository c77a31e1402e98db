// The dashboard: asks for the feed every two seconds while it can be seen, and shows it.

import { byId } from "/dashboard/dom.js";
import { age } from "/dashboard/formats.js";
import { show } from "/dashboard/numbers.js";
import { offer } from "/dashboard/operator.js";
import { addPoints } from "/dashboard/plots.js";
import { drawTables } from "/dashboard/tables.js";

const PAUSE_MS = 2000;
const PATIENCE_MS = 10000;
let before = null;

function complain(text) {
  byId("trouble").textContent = text;
  byId("trouble").hidden = text === "";
}

function head(feed) {
  const phase = byId("phase");
  phase.textContent = feed.phase === "running" && !feed.ready ? "running, not ready" : feed.phase;
  phase.className = `badge ${feed.ready ? "good" : feed.phase === "draining" ? "warn" : "bad"}`;
  phase.title = feed.reasons.join("\n");
  byId("version").textContent = feed.version;
  byId("uptime").textContent = age(feed.uptime_seconds);
  document.title = `Megaphone: ${phase.textContent}`;
  const reasons = feed.reasons.filter((reason) => reason !== "draining");
  complain(reasons.length ? `Not ready: ${reasons.slice(0, 5).join("; ")}` : "");
}

async function look() {
  const answer = await fetch("/dashboard.json", {
    cache: "no-store", credentials: "omit", redirect: "error", signal: AbortSignal.timeout(PATIENCE_MS),
  });
  if (!answer.ok) throw new Error(`HTTP status ${answer.status}`);
  const feed = await answer.json();
  head(feed);
  drawTables(feed);
  show(feed, before);
  addPoints(feed, before);
  offer(feed);
  before = feed;
}

async function watch() {
  if (!document.hidden) {
    try {
      await look();
      document.body.dataset.looks = Number(document.body.dataset.looks ?? 0) + 1;
    } catch (error) {
      complain(`Megaphone does not answer: ${error.message}. These numbers are old.`);
      byId("phase").className = "badge bad";
    }
  }
  setTimeout(watch, PAUSE_MS);
}

watch();
