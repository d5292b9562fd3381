// Elements of the page. Whatever comes from users gets in as text, never as markup.

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...children.map((child) => child ?? ""));
  return made;
}

export function table(heads, rows) {
  const cells = (tag, row) => element("tr", {}, ...row.map((cell) => element(tag, {}, cell)));
  return element(
    "table",
    {},
    element("thead", {}, cells("th", heads)),
    element("tbody", {}, ...rows.map((row) => cells("td", row))),
  );
}

export function number(value) {
  return typeof value === "number" ? String(Number(value.toPrecision(7))) : "–";
}

export function moment(timestamp) {
  return timestamp ? new Date(timestamp).toLocaleString() : "–";
}
