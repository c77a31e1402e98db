// Two users of @xmpp/client in a room: node xmpp_client.js URL ROOM JID PASSWORD JID PASSWORD. Prints what each hears, as JSON.
"use strict";

const { client, jid, xml } = require("@xmpp/client");

const [service, room, ...credentials] = process.argv.slice(2);
const MUC = "http://jabber.org/protocol/muc";

function fail(why) {
  console.error(why);
  process.exit(1);
}

/** Take the room that was made by entering it as it is (XEP-0045 section 10.1.2). */
const unlock = (xmpp) =>
  xmpp.iqCaller.set(xml("query", `${MUC}#owner`, xml("x", { xmlns: "jabber:x:data", type: "submit" })), room);

/** Log in, enter the room as `nick`, and call `heard(nick, text)` for what is said there. */
async function enter(address, password, nick, heard) {
  const { local, domain } = jid(address);
  const xmpp = client({ service, domain, username: local, password });
  xmpp.on("error", (error) => fail(`${nick}: ${error}`));
  const inside = new Promise((resolve) => {
    xmpp.on("stanza", (stanza) => {
      if (stanza.is("presence") && stanza.attrs.type === "error") fail(`${nick}: ${stanza}`);
      const codes = (stanza.getChild("x", `${MUC}#user`)?.getChildren("status") ?? []).map((each) => each.attrs.code);
      if (codes.includes("201")) unlock(xmpp).then(resolve);
      else if (codes.includes("110")) resolve();
      const text = stanza.is("message") && stanza.attrs.type === "groupchat" && stanza.getChildText("body");
      if (text) heard(jid(stanza.attrs.from).resource, text);
    });
  });
  // It starts to count stanzas (XEP-0198) a moment after <enabled/>: what comes with that would be acknowledged wrongly.
  const counting = new Promise((resolve) => xmpp.on("nonza", (nonza) => nonza.is("enabled") && setImmediate(resolve)));
  await xmpp.start();
  await counting;
  await xmpp.send(xml("presence", { to: `${room}/${nick}` }, xml("x", MUC)));
  await inside;
  return xmpp;
}

const say = (xmpp, text) => xmpp.send(xml("message", { to: room, type: "groupchat" }, xml("body", {}, text)));

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
  await say(first, "Hello, \u{1F44B} two");
  await everything;
  await Promise.all([first.stop(), second.stop()]);
  console.log(JSON.stringify(heard));
  process.exit(0);
}

main().catch((error) => fail(error.stack));
