// One fit, live until its end.

import { ask, blobUrl, events, json } from "./api.js";
import { Curve } from "./curve.js";
import { element, moment, number, table } from "./elements.js";

const ENDED = ["succeeded", "failed", "cancelled"];

export async function showFit(view, id, signal, report) {
  const path = `v1/fits/${id}`;
  const state = element("p", { "aria-live": "polite" });
  const bar = element("progress", { max: 1, value: 0, "aria-label": "Progress" });
  const cancel = element("button", { onclick: () => end().catch(report) }, "Cancel");
  const facts = element("div");
  const curve = new Curve();
  view.replaceChildren(
    element("h2", {}, id), element("div", { class: "row" }, state, cancel), bar, curve.svg, facts,
  );

  async function end() {
    cancel.disabled = true;
    await ask(`${path}/cancel`, { method: "POST", signal });
  }

  function tell(status, reason) {
    state.textContent = reason && reason !== status ? `${status}: ${reason}` : status;
    state.className = status;
    cancel.hidden = ENDED.includes(status) || status === "cancelling";
  }

  let fit = await json(path, { signal });
  tell(fit.status, fit.stop_reason);
  if (!ENDED.includes(fit.status)) {
    for await (const { type, data } of events(`${path}/events`, signal)) {
      if (type === "progress") {
        bar.value = data.fraction;
        curve.add(data.step, data.loss);
      } else if (type === "status" || type === "end") tell(data.status, data.stop_reason);
    }
    fit = await json(path, { signal });
    tell(fit.status, fit.stop_reason);
  }
  bar.value = fit.progress?.fraction ?? bar.value;
  if (fit.loss_history) curve.set(fit.loss_history.step, fit.loss_history.loss);
  facts.replaceChildren(...described(fit, report));
}

function described(fit, report) {
  return [
    ...problem(fit.error),
    table(["", ""], [
      ["Final loss", number(fit.final_loss)],
      ["Made, ended", `${moment(fit.created_at)}, ${moment(fit.finished_at)}`],
      ["Dataset", `${fit.dataset.n_rows} rows, ${fit.dataset.id}`],
      ["Tags", fit.tags?.join(", ") || "–"],
    ]),
    ...section("Coefficients", fit.coefficients && flat(fit.coefficients)),
    ...section("Metrics", fit.metrics && flat(fit.metrics)),
    ...files("Pictures", Object.values(fit.plots ?? {}), picture(report)),
    ...files("Files", addresses(fit.artifacts), (url) => link(url, report)),
    element("details", {}, element("summary", {}, "What was asked for"),
      element("pre", {}, JSON.stringify(fit.spec, null, 2))),
  ];
}

function problem(error) {
  if (!error) return [];
  const hint = error.hint ? ` ${error.hint}` : "";
  return [element("p", { class: "failed" }, `${error.message}.${hint}`)];
}

// Nested numbers as rows of a dotted name and a number.
function flat(value, name = "") {
  if (value === null || typeof value !== "object") return [[name, number(value)]];
  const dotted = (key) => (name ? `${name}.${key}` : key);
  return Object.entries(value).flatMap(([key, one]) => flat(one, dotted(key)));
}

function section(title, rows) {
  return rows?.length ? [element("h3", {}, title), table(["", ""], rows)] : [];
}

function addresses(value) {
  if (typeof value === "string") return [value];
  return value ? Object.values(value).flatMap(addresses) : [];
}

function files(title, urls, made) {
  return urls.length
    ? [element("h3", {}, title), element("div", { class: "row" }, ...urls.map(made))]
    : [];
}

// Drawn when it is asked for, for that takes a moment.
function picture(report) {
  return (url) => {
    const name = fileName(url);
    const details = element("details", { ontoggle: draw }, element("summary", {}, name));
    async function draw() {
      if (!details.open || details.querySelector("img")) return;
      const source = await blobUrl(url).catch(report);
      if (source) details.append(element("img", { src: source, alt: name }));
    }
    return details;
  };
}

function link(url, report) {
  const made = element("a", { href: url, onclick: take }, fileName(url));
  async function take(event) {
    event.preventDefault();
    const source = await blobUrl(url).catch(report);
    if (source) element("a", { href: source, download: fileName(url) }).click();
  }
  return made;
}

function fileName(url) {
  return new URL(url).pathname.split("/").at(-1);
}
