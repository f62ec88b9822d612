// Parts of a page that keep themselves up to date. An element with data-live="MILLISECONDS", an id,
// hx-trigger="refresh" and a morphing hx-swap is asked for again at that interval, but never while the
// tab is hidden, a dialog is open, something in it is being typed, ticked or selected, or it is being asked for.
// Elements are known by their id, so that one which a swap has replaced goes on as before.
const BEAT = 250;
const SLOWEST = 30000;
const CONTROLS = "input:not([data-tick], [data-tick-all]), select, textarea, [contenteditable]";
const GONE = new Set([401, 403, 404, 410]);

const parts = new Map(); // id -> { due, waiting, failures, stopped, etag, path }

function stateOf(element) {
  if (!parts.has(element.id)) {
    const first = performance.now() + Number(element.dataset.live);
    parts.set(element.id, { due: first, failures: 0, etag: element.dataset.etag, path: element.getAttribute("hx-get") });
  }
  return parts.get(element.id);
}

function busy(element) {
  if (document.querySelector("dialog[open]")) return true;
  if (element.contains(document.activeElement) && document.activeElement.matches(CONTROLS)) return true;
  const selection = document.getSelection();
  return !selection.isCollapsed && element.contains(selection.anchorNode);
}

function beat() {
  if (document.hidden) return;
  for (const element of document.querySelectorAll("[data-live]")) {
    const state = stateOf(element);
    if (state.stopped || state.waiting || performance.now() < state.due || busy(element)) continue;
    // What is ticked keeps a list still, but for whoever has just done something to it.
    if (state.due > 0 && element.querySelector("[data-tick]:checked")) continue;
    state.waiting = true;
    htmx.trigger(element, "refresh");
  }
}

function hurry() {
  for (const state of parts.values()) state.due = 0;
  beat();
}

const isPoll = (detail) => detail.elt.matches?.("[data-live]") && parts.has(detail.elt.id);

document.addEventListener("htmx:configRequest", ({ detail }) => {
  if (!isPoll(detail)) return;
  const state = parts.get(detail.elt.id);
  // The tag of another view of the same part would hide a change.
  if (state.path !== detail.path) Object.assign(state, { path: detail.path, etag: undefined });
  if (state.etag) detail.headers["If-None-Match"] = state.etag;
});

document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const source = detail.requestConfig.elt;
  // Whatever else is swapped in may change a live part, so its tag no longer speaks for what is shown.
  if (!source.matches?.("[data-live]")) parts.forEach((state) => (state.etag = undefined));
  else if (busy(source)) detail.shouldSwap = false;
});

document.addEventListener("htmx:afterSwap", ({ detail }) => {
  const source = detail.requestConfig.elt;
  if (source.matches?.("[data-live]")) stateOf(source).etag = detail.xhr.getResponseHeader("ETag") ?? undefined;
});

function settle(detail) {
  const state = parts.get(detail.elt.id);
  const status = detail.xhr.status;
  state.waiting = false;
  state.stopped = GONE.has(status);
  state.failures = status === 0 || status >= 400 ? state.failures + 1 : 0;
  const every = Number(detail.elt.dataset.live);
  state.due = performance.now() + Math.min(every * 2 ** Math.min(state.failures, 6), Math.max(every, SLOWEST));
}

document.addEventListener("htmx:afterRequest", ({ detail }) => {
  if (isPoll(detail)) settle(detail);
  // What a write has changed shows at once.
  else if (detail.requestConfig.verb !== "get" && detail.successful) hurry();
});

// What a person has opened stays open when its part is morphed.
Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) =>
  !(name === "open" && node.matches("details, dialog"));

document.addEventListener("refresh-live", hurry);
document.addEventListener("visibilitychange", () => document.hidden || hurry());
setInterval(beat, BEAT);
