// Ephemeral pages in the browser: write one and hold it, or find one and hold it from then on.
//
//   /            editor ── publish ──► hold(hash)          history.pushState to /<hash>
//   /<hash>      want(hash) ── content, its hash checked ──► hold(hash)

import { Assembly, bytesOf, canHash, hashOf, partsOf, wellFormed } from "./content.js";
import { Console } from "./console.js";
import { show } from "./frame.js";
import { Socket } from "./socket.js";

const ASK_AGAIN_MS = 2_000;
const PATIENCE_MS = 5_000; // then we say that nobody seems to have it, and go on asking
const PAGE = /^\/([0-9a-f]{64})$/;

const $ = (id) => document.getElementById(id);
const events = new Console($("events"));
const contents = new Map(); // what this window holds, or has held: hash to text
let topics = []; // of the page that is shown
let asking = null;
let pageBytes = Infinity; // of the largest page that the server takes; it says so

const socket = new Socket("/ws", {
  up() {
    $("state").textContent = "connected";
    $("state").classList.add("up");
    events.log("Connected.");
  },
  down() {
    $("state").textContent = "connecting";
    $("state").classList.remove("up");
    events.log("The connection is lost; trying again.");
  },
});
socket.channel("all").on("joined", ({ page_bytes }) => {
  pageBytes = page_bytes ?? Infinity;
  measure();
});

function view(name) {
  for (const each of ["editor", "search", "page"]) $(each).hidden = each !== name;
  for (const each of ["viewers", "copy"]) $(each).hidden = name !== "page";
}

function warn(text) {
  $("warning").textContent = text;
  $("warning").hidden = !text;
}

function leaveAll() {
  clearInterval(asking);
  for (const topic of topics) topic.leave();
  topics = [];
}

function open() {
  leaveAll();
  const hash = PAGE.exec(location.pathname)?.[1];
  document.title = hash ? `Page ${hash.slice(0, 8)}` : "Ephemeral pages";
  if (!canHash) {
    view("search");
    searching("This needs https", "Open this site by https, or as http://localhost.", true);
    warn("Browsers compute SHA-256 (WebCrypto) only over https or on localhost, so pages cannot be checked here.");
  } else if (!hash) {
    view("editor");
  } else if (contents.has(hash)) {
    hold(hash, contents.get(hash));
  } else {
    want(hash);
  }
}

// --- writing ---

async function publish(event) {
  event.preventDefault();
  const text = wellFormed($("content").value);
  if (!text) return $("content").focus();
  const hash = await hashOf(text);
  contents.set(hash, text);
  history.pushState({}, "", `/${hash}`);
  events.log(`Published as ${hash.slice(0, 12)}…, ${bytesOf(text)} bytes.`);
  open();
}

function measure() {
  const bytes = bytesOf($("content").value);
  const over = bytes > pageBytes;
  $("size").textContent = bytes ? `${bytes.toLocaleString()} bytes${over ? `, at most ${pageBytes.toLocaleString()}` : ""}` : "";
  $("size").classList.toggle("over", over);
  $("publish").disabled = over;
}

// --- holding ---

function hold(hash, text) {
  view("page");
  show($("page"), text);
  const topic = socket.channel(`have:${hash}`, { parts: true });
  topics.push(topic);
  topic
    .on("joined", () => events.log("Holding this page; ready to share it."))
    .on("visitors_count", ({ count }) => {
      if ($("count").textContent !== String(count)) events.log(`Currently viewing: ${count}.`);
      $("count").textContent = count;
    })
    .on("content_request", () => {
      const parts = partsOf(text);
      if (parts.length === 1) topic.push("content", { content: text, hash });
      else parts.forEach((part, index) => topic.push("content_part", { index, count: parts.length, part, hash }));
      events.log("Somebody asked for this page; sent it.");
    })
    .on("refused", (reason) => events.log(`The server does not take this page: ${said(reason)}.`));
}

// --- wanting ---

function want(hash) {
  view("search");
  searching("Looking for this page", "Asking the windows that show it…");
  const began = Date.now();
  const topic = socket.channel(`want:${hash}`, { parts: true });
  const assembly = new Assembly();
  topics.push(topic);

  function ask() {
    topic.push("content_request", { hash });
    if (Date.now() - began > PATIENCE_MS) {
      searching("Nobody shows this page", "It may be gone for good. Should somebody open it, it appears here.", true);
    }
  }

  async function take(text) {
    if (text === null || topic.left) return;
    if ((await hashOf(text)) !== hash) {
      events.log("What came is not this page: its hash is another. Asking again.");
      return;
    }
    if (topic.left) return;
    events.log(`Received the page, ${bytesOf(text)} bytes; its hash is right.`);
    contents.set(hash, text);
    const wanted = topics; // left once the page is held: in between, the server would forget how many others hold it
    topics = [];
    open();
    for (const topic of wanted) topic.leave();
  }

  topic
    .on("joined", () => {
      events.log(`Looking for ${hash.slice(0, 12)}….`);
      clearInterval(asking);
      asking = setInterval(ask, ASK_AGAIN_MS);
      ask();
    })
    .on("content", ({ content }) => take(content))
    .on("content_part", (part) => take(assembly.add(part)))
    .on("refused", (reason) => events.log(`The server does not take the request: ${said(reason)}.`));
}

function searching(title, text, still = false) {
  $("search-title").textContent = title;
  $("search-text").textContent = text;
  $("spinner").classList.toggle("still", still);
}

function said(reason) {
  const reasons = {
    bad_hash: "its hash is another, or it is too large",
    rate: "too often; trying again soon",
    too_many_pages: "there are too many pages",
    too_many_viewers: "too many windows show it",
    too_many_wants: "too many windows look for it",
    too_large: "it is too large",
  };
  return reasons[reason] ?? reason;
}

// --- the page around it ---

$("editor").addEventListener("submit", publish);
$("content").addEventListener("input", measure);
$("content").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) publish(event);
});
$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(location.href);
  } catch {
    return events.log(`This browser does not let us copy; the address is ${location.href}`);
  }
  $("copy").textContent = "Copied";
  setTimeout(() => ($("copy").textContent = "Copy link"), 1_500);
});
addEventListener("popstate", open);
measure();
open();
