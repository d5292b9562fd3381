// The fits, newest first, a page at a time.

import { json } from "./api.js";
import { element, moment, number, table } from "./elements.js";

const LIMIT = 25;
const REFRESH_MS = 5000;
const STATUSES = ["", "queued", "running", "cancelling", "succeeded", "failed", "cancelled"];

export async function showList(view, signal, report) {
  let [status, before] = ["", []];
  const rows = element("div");
  const older = element("button", { onclick: () => turn(older.dataset.cursor) }, "Older");
  const newer = element("button", { onclick: () => turn(null) }, "Newer");
  const choice = element(
    "select",
    { onchange: () => ((status = choice.value), (before = []), show()) },
    ...STATUSES.map((name) => element("option", { value: name }, name || "all")),
  );

  function turn(cursor) {
    if (cursor) before.push(cursor);
    else before.pop();
    show();
  }

  async function show() {
    const query = new URLSearchParams({ limit: LIMIT });
    if (status) query.set("status", status);
    if (before.length) query.set("after", before.at(-1));
    const page = await json(`v1/fits?${query}`, { signal }).catch(report);
    if (!page || signal.aborted) return;
    rows.replaceChildren(
      page.data.length
        ? table(["Fit", "Status", "Model", "Loss", "Made"], page.data.map(row))
        : element("p", { class: "quiet" }, "There are none."),
    );
    older.dataset.cursor = page.next_cursor ?? "";
    older.disabled = !page.has_more;
    newer.disabled = !before.length;
  }

  view.replaceChildren(
    element("div", { class: "row" }, element("label", {}, "Status ", choice), newer, older),
    rows,
  );
  await show();
  const timer = setInterval(() => document.hidden || show(), REFRESH_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
}

function row(fit) {
  return [
    element("a", { href: `#${fit.id}` }, fit.id),
    element("span", { class: fit.status }, fit.stop_reason ?? fit.status),
    fit.spec.model.kind,
    number(fit.final_loss ?? fit.progress?.loss),
    moment(fit.created_at),
  ];
}
