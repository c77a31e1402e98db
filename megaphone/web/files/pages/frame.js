// Shows a stranger's HTML. It is given nothing: no scripts, no origin, no network, no way out.
//
//   sandbox=""         an opaque origin (no cookies, no storage, no parent), no scripts, forms, popups, top navigation
//   its own policy     inline styles, and pictures, fonts and media out of data: only; first in its head
//   our page's policy  a srcdoc document inherits it: no connection, no frame, so that the frame itself goes nowhere
//
// Scripts stay off although the sandbox would keep them from us: with them a page could use the visitor's processor,
// look like a login that answers, and speak to the network by ways that no policy covers (WebRTC).
// What would only be blocked is taken out before; what a policy does not cover (<link rel=preconnect>) with it.

const POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; media-src data:";
const TAKEN_OUT =
  "script, link, base, meta, iframe, frame, frameset, object, embed, portal, template, noscript, form[action], fencedframe";
const STYLE =
  "html{background:#fff;color:#1b1b26;color-scheme:light;font:16px/1.55 system-ui,sans-serif}body{margin:1rem}" +
  "img,video{max-width:100%;height:auto}pre{overflow:auto}.plain{white-space:pre-wrap;overflow-wrap:anywhere}";

export function show(place, text) {
  const frame = document.createElement("iframe");
  frame.id = "frame";
  frame.title = "A page written by somebody";
  frame.setAttribute("sandbox", "");
  frame.setAttribute("referrerpolicy", "no-referrer");
  frame.srcdoc = documentOf(text);
  place.replaceChildren(frame);
}

export function documentOf(text) {
  const head =
    `<!doctype html><html><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${POLICY}">` +
    `<base target="_blank"><style>${STYLE}</style></head><body`;
  if (!/<[a-z!/]/i.test(text)) return `${head} class="plain">${escaped(text)}</body></html>`;
  const read = new DOMParser().parseFromString(text, "text/html"); // runs and loads nothing
  for (const element of read.querySelectorAll(TAKEN_OUT)) element.remove();
  const styles = Array.from(read.head.querySelectorAll("style"), (style) => style.outerHTML).join("");
  return `${head}>${styles}${read.body.innerHTML}</body></html>`;
}

function escaped(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;");
}
