// Starts Converse.js with the settings of this server. All that it loads comes from where this page comes from.

const trouble = document.getElementById("trouble");

/** The WebSocket at a path of this very server: encrypted if the page is. */
function webSocketAt(path) {
  const url = new URL(path, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
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
  const { default: converse } = await import(`${assets}converse.min.js`);
  if (websocket) settings.websocket_url = webSocketAt(websocket);
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
