// Starts Converse.js with the settings of this server. All that it loads comes from where this page comes from.

const WEBSOCKET_MILLISECONDS = 5000; // for its handshake, before BOSH is tried instead
const trouble = document.getElementById("trouble");

/** The WebSocket at a path of this very server: encrypted if the page is. */
function webSocketAt(path) {
  const url = new URL(path, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

/** Whether a WebSocket gets through to there: some networks let none. */
function getsThrough(url) {
  return new Promise((resolve) => {
    const socket = new WebSocket(url, "xmpp");
    const timer = setTimeout(() => decide(false), WEBSOCKET_MILLISECONDS);
    const decide = (whether) => {
      clearTimeout(timer);
      socket.close();
      resolve(whether);
    };
    socket.onopen = () => decide(true);
    socket.onerror = () => decide(false);
  });
}

/** What Converse.js shows around its login, with links and pictures from elsewhere: the names of what shows ours instead.
 * It defines no element that is there already. */
function defineFrame(assets, version) {
  customElements.define("converse-brand-logo", class extends HTMLElement {
    connectedCallback() {
      const heading = document.createElement("h1");
      heading.textContent = this.closest(".modal") ? "Converse.js" : document.title; // there it says who made it
      this.replaceChildren(heading);
    }
  });
  customElements.define("converse-footer", class extends HTMLElement {
    connectedCallback() {
      const licences = document.createElement("a");
      licences.href = `${assets}NOTICES.txt`;
      licences.target = "_blank";
      licences.textContent = `Converse.js ${version} and its licences`;
      this.replaceChildren(licences);
    }
  });
  customElements.define("converse-controlbox-navbar", class extends HTMLElement {});
}

async function start() {
  const answer = await fetch("/chat/settings.json");
  if (!answer.ok) throw new Error(`the settings: ${answer.status}`);
  const { assets, version, websocket, bosh, converse: settings } = await answer.json();
  defineFrame(assets, version);
  const url = websocket && webSocketAt(websocket);
  const usable = bosh && url ? getsThrough(url) : Boolean(url); // Converse.js would go on trying it for ever
  const { default: converse } = await import(`${assets}converse.min.js`);
  if (await usable) settings.websocket_url = url;
  if (bosh) settings.bosh_service_url = new URL(bosh, location.href).href;
  await converse.initialize(settings);
}

if (!window.isSecureContext) {
  trouble.textContent = "Your browser lets nobody log in here: it wants https:// for that (or http://localhost).";
  trouble.hidden = false;
}

start().catch((error) => {
  trouble.textContent = `The chat does not start: ${error.message}. Please reload the page.`;
  trouble.hidden = false;
  console.error(error);
});
