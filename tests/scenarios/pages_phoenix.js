// The message flow of the original ephemeral2 (its app.js), with the library `phoenix` from npm as it is, for two windows.
// Arguments: the socket's address, the page's text. Prints one line for each thing that happens.

const { createHash } = require("node:crypto");
const { Socket } = require("phoenix");
const WebSocket = require("ws");

const [address, content] = process.argv.slice(2);
const hash = createHash("sha256").update(content).digest("hex");

function open(name) {
  const log = (...said) => console.log(name, ...said);
  const socket = new Socket(address, { transport: WebSocket });
  socket.connect();
  socket.channel("all", {}).join().receive("ok", () => log("connected"));
  return { socket, log };
}

function haveContent({ socket, log }, text) {
  if (socket.channels.some((channel) => channel.topic === "have:" + hash)) return;
  const channel = socket.channel("have:" + hash, {});
  channel.on("content_request", () => {
    log("content_request");
    channel.push("content", { content: text, hash });
  });
  channel.on("visitors_count", ({ count }) => log("visitors_count", count));
  channel.onError((reason) => log("error", JSON.stringify(reason)));
  channel.join().receive("ok", () => log("joined have"));
}

function wantContent(window) {
  const { socket, log } = window;
  let interval;
  const channel = socket.channel("want:" + hash, {});
  channel.on("content", (message) => {
    clearInterval(interval);
    log("content", message.content === content);
    channel.leave();
    haveContent(window, message.content);
  });
  channel.join().receive("ok", () => {
    log("joined want");
    interval = setInterval(() => channel.push("content_request", { hash }), 2000);
  });
}

const first = open("first");
haveContent(first, content);
const second = open("second");
wantContent(second);
const liar = open("liar");
process.on("SIGUSR1", () => {
  // the first leaves, and one comes who says something else
  first.socket.disconnect();
  haveContent(liar, "something else");
});
process.on("SIGUSR2", () => second.socket.disconnect());
process.on("SIGHUP", () => wantContent(open("third")));
