// What an expression is worth in a feed. `a{x="y"} - b / c` adds up the samples of each metric that carry the labels.
//
//   expression = terms ["/" terms]      terms = term {"-" term}      term = metric ["{" label="value" {, ...} "}"]

import { formats } from "/dashboard/formats.js";

const TERM = /^\s*([a-z0-9_]+)(?:\{((?:[^}"]|"(?:[^"\\]|\\.)*")*)\})?\s*$/;
const LABEL = /([a-z_]+)=("(?:[^"\\]|\\.)*")/g;
const OUTSIDE = /"(?:[^"\\]|\\.)*"|([-/])/g;

/** A metric with labels, as an expression. */
export function term(metric, labels) {
  const written = Object.entries(labels).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return `${metric}{${written.join(", ")}}`;
}

export function samples(feed, metric) {
  return feed.metrics[metric] ?? [];
}

function split(text, sign) {
  const parts = [];
  let begin = 0;
  for (const found of text.matchAll(OUTSIDE)) {
    if (found[1] !== sign) continue;
    parts.push(text.slice(begin, found.index));
    begin = found.index + 1;
  }
  return [...parts, text.slice(begin)];
}

function valueOfTerm(text, feed, merge) {
  const [, metric, labels = ""] = TERM.exec(text);
  const wanted = [...labels.matchAll(LABEL)].map(([, name, value]) => [name, JSON.parse(value)]);
  const values = samples(feed, metric)
    .filter(([carried]) => wanted.every(([name, value]) => carried[name] === value))
    .map(([, value]) => value);
  if (!values.length) return null;
  return merge === "max" ? Math.max(...values) : values.reduce((sum, value) => sum + value, 0);
}

function valueOfTerms(text, feed, merge) {
  const [first, ...rest] = split(text, "-").map((each) => valueOfTerm(each, feed, merge));
  if (first === null || rest.includes(null)) return null;
  return rest.reduce((left, right) => left - right, first);
}

/** The number; null where nobody counts it, or it would be divided by nothing. */
export function value(expression, feed, merge = "sum") {
  const [above, below] = split(expression, "/").map((each) => valueOfTerms(each, feed, merge));
  if (below === undefined) return above;
  return above === null || !below ? null : above / below;
}

/** How much it has grown each second between two feeds; null before there are two. */
export function rate(expression, feed, before) {
  if (before === null || feed.at_seconds <= before.at_seconds) return null;
  const [now, then] = [value(expression, feed), value(expression, before)];
  if (now === null) return null;
  return Math.max(0, now - then) / (feed.at_seconds - before.at_seconds);
}

/** Writes every number of the page. */
export function show(feed, before) {
  for (const each of document.querySelectorAll("[data-metric]")) {
    const { metric, format, merge } = each.dataset;
    let number = "rate" in each.dataset ? rate(metric, feed, before) : value(metric, feed, merge);
    if (format === "age" && number !== null) number = number ? feed.at_seconds - number : null;
    each.dataset.value = number ?? "";
    const text = number === null ? "–" : formats[format](number);
    if (each.textContent !== text) each.textContent = text;
  }
  for (const each of document.querySelectorAll("[data-only]")) each.hidden = each.dataset.only !== feed.kind;
  for (const each of document.querySelectorAll("[data-not]")) each.hidden = each.dataset.not === feed.kind;
  for (const each of document.querySelectorAll("[data-where]")) {
    const found = samples(feed, each.dataset.where);
    each.hidden = !found.some(([, value]) => !("aboveZero" in each.dataset) || value > 0);
  }
}
