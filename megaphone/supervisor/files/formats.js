// Numbers in the words of people; the same as in `megaphone top`.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const UNITS = ["kB", "MB", "GB", "TB"];

export function count(value) {
  return whole.format(value);
}

/** With a decimal where that says something: on an axis, or of a rate. */
export function amount(value) {
  return value < 10 && !Number.isInteger(value) ? value.toFixed(1) : count(value);
}

export function bytes(value) {
  let rounded = Math.round(value);
  if (rounded < 1000) return `${rounded} B`;
  let power = 0;
  while (value >= 999.95 && power < UNITS.length) {
    value /= 1000;
    power += 1;
  }
  return `${value.toFixed(1)} ${UNITS[power - 1]}`;
}

export function seconds(value) {
  if (value < 0.000995) return `${value && (value * 1000).toFixed(2)} ms`;
  return value < 1 ? `${(value * 1000).toFixed(1)} ms` : `${value.toFixed(2)} s`;
}

export function age(value) {
  let rest = Math.max(0, Math.floor(value));
  const parts = [];
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]]) {
    const part = Math.floor(rest / length);
    rest %= length;
    if (part || (unit === "s" && !parts.length)) parts.push(`${part} ${unit}`);
  }
  return parts.slice(0, 2).join(" ");
}

export function perSecond(value) {
  return `${amount(value)}/s`;
}

export function bytesPerSecond(value) {
  return `${bytes(value)}/s`;
}

export function percent(value) {
  return `${(value * 100).toFixed(1)} %`;
}

export const formats = { count, bytes, seconds, age, perSecond, bytesPerSecond, percent };
