// Two users of strophe.js in a room: node strophe.js URL ROOM JID PASSWORD JID PASSWORD. Prints what each hears, as JSON.
// The URL says how: ws://, wss:// (RFC 7395), http:// or https:// (BOSH).
"use strict";

const XMLHttpRequest = require("xhr2");
const { Strophe, $iq, $msg, $pres } = require("strophe.js");

/** What browsers have for BOSH, and Node has not; strophe.js 5.0.0 needs the answer's document, though it could parse it. */
globalThis.XMLHttpRequest = class extends XMLHttpRequest {
  constructor() {
    super();
    Object.defineProperty(this, "responseXML", {
      get: () => (this.readyState === 4 && this.responseText ? new DOMParser().parseFromString(this.responseText, "text/xml") : null),
    });
  }
};

const [url, room, ...credentials] = process.argv.slice(2);
const MUC = "http://jabber.org/protocol/muc";

function fail(why) {
  console.error(why);
  process.exit(1);
}

/** Take the room that was made by entering it as it is (XEP-0045 section 10.1.2). */
const unlock = (connection) =>
  new Promise((resolve) => {
    const form = $iq({ to: room, type: "set" }).c("query", { xmlns: `${MUC}#owner` }).c("x", { xmlns: "jabber:x:data", type: "submit" });
    connection.sendIQ(form, resolve, (error) => fail(Strophe.serialize(error)));
  });

/** Log in, enter the room as `nick`, and call `heard(nick, text)` for what is said there. */
function enter(jid, password, nick, heard) {
  const connection = new Strophe.Connection(url);
  return new Promise((resolve) => {
    connection.addHandler((presence) => {
      if (presence.getAttribute("type") === "error") fail(`${nick}: ${Strophe.serialize(presence)}`);
      const codes = [...presence.getElementsByTagName("status")].map((each) => each.getAttribute("code"));
      if (codes.includes("201")) unlock(connection).then(() => resolve(connection));
      else if (codes.includes("110")) resolve(connection);
      return true;
    }, null, "presence", null, null, `${room}/${nick}`);
    connection.addHandler((message) => {
      const body = message.getElementsByTagName("body")[0];
      if (body) heard(Strophe.getResourceFromJid(message.getAttribute("from")), body.textContent);
      return true;
    }, null, "message", "groupchat");
    connection.connect(jid, password, (status, condition) => {
      if ([Strophe.Status.CONNFAIL, Strophe.Status.AUTHFAIL, Strophe.Status.ERROR].includes(status)) fail(`${jid}: ${condition}`);
      if (status === Strophe.Status.CONNECTED) connection.send($pres({ to: `${room}/${nick}` }).c("x", { xmlns: MUC }));
    });
  });
}

const say = (connection, text) => connection.send($msg({ to: room, type: "groupchat" }).c("body").t(text));

/** Call `end`, and return when the connection has ended. */
const leave = (connection) =>
  new Promise((resolve) => {
    connection.connect_callback = (status) => status === Strophe.Status.DISCONNECTED && resolve();
    connection.disconnect();
  });

async function main() {
  const heard = [];
  let all;
  const everything = new Promise((resolve) => { all = resolve; });
  let second;
  const hears = (who) => (from, text) => {
    heard.push([who, from, text]);
    if (who === "two" && text.startsWith("Hello")) say(second, "I hear you <& more>");
    if (heard.length === 4) all();
  };
  const first = await enter(credentials[0], credentials[1], "one", hears("one"));
  second = await enter(credentials[2], credentials[3], "two", hears("two"));
  say(first, "Hello, \u{1F44B} two");
  await everything;
  await Promise.all([leave(first), leave(second)]);
  console.log(JSON.stringify(heard));
  process.exit(0);
}

main().catch((error) => fail(error.stack));
