// The page for people: the fits, or the one that the address names.

import { useKey } from "./api.js";
import { showFit } from "./fit.js";
import { showList } from "./list.js";

const view = document.getElementById("view");
const message = document.getElementById("message");
const keyForm = document.getElementById("key");
let shown = new AbortController();

function report(error) {
  if (error.name === "AbortError") return;
  message.textContent = error.message;
  if (error.status === 401 || error.status === 403) keyForm.hidden = false;
}

function show() {
  shown.abort();
  shown = new AbortController();
  message.textContent = "";
  view.replaceChildren();
  const id = decodeURIComponent(location.hash.slice(1));
  const showing = id
    ? showFit(view, encodeURIComponent(id), shown.signal, report)
    : showList(view, shown.signal, report);
  showing.catch(report);
}

keyForm.addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(new FormData(keyForm).get("key"));
  keyForm.reset();
  keyForm.hidden = true;
  show();
});
addEventListener("hashchange", show);
show();
