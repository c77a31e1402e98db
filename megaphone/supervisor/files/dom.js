// Makes elements; text is always text, never markup.

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

export const byId = (id) => document.getElementById(id);

/** A number that numbers.js keeps up to date. */
export function number(metric, format, attributes = {}) {
  return element("span", { "data-metric": metric, "data-format": format, ...attributes });
}

/** A whole table of `[title, isNumber]` columns and rows of cells. */
export function fill(table, columns, rows) {
  const cells = (row) => row.map((cell, place) => element("td", { class: columns[place][1] ? "number" : null }, cell));
  const titles = columns.map(([title, isNumber]) => element("th", { scope: "col", class: isNumber ? "number" : null }, title));
  table.replaceChildren(
    element("thead", {}, element("tr", {}, ...titles)),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...cells(row)))),
  );
}
