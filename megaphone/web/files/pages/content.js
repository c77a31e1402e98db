// The content of a page: its hash, which is its name, and its parts, when it is too long for one message.

const PART_CHARACTERS = 16_384;

// Browsers have WebCrypto only in a secure context: https, or a loopback address.
export const canHash = Boolean(globalThis.crypto?.subtle);

export async function hashOf(text) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const bytesOf = (text) => new TextEncoder().encode(text).length;

// Half a surrogate pair has no UTF-8: what is hashed and what is sent must be the same.
export const wellFormed = (text) =>
  text.toWellFormed?.() ?? text.replace(/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g, "\uFFFD");

export function partsOf(text) {
  const parts = [];
  for (let at = 0; at < text.length || !parts.length; ) {
    let end = Math.min(text.length, at + PART_CHARACTERS);
    const last = text.charCodeAt(end - 1);
    if (end < text.length && last >= 0xd800 && last <= 0xdbff) end--; // not between the halves of a character
    parts.push(text.slice(at, end));
    at = end;
  }
  return parts;
}

// Puts parts together as they come, in order; returns the whole with the last one.
export class Assembly {
  parts = [];

  add({ index, count, part }) {
    if (index === 0) this.parts = [];
    if (index !== this.parts.length) return null;
    this.parts.push(part);
    return this.parts.length === count ? this.parts.join("") : null;
  }
}
