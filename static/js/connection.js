// The banner of a lost connection. It shows when a request cannot be sent, or when a live part gets
// errors; it goes with the next success, for which it asks by itself.
const PROBE_EVERY = 3000;
const LOST = "The connection is lost. What you see may be out of date; trying again.";
const FAILING = "The server answers with errors. What you see may be out of date; trying again.";
const banner = document.getElementById("connection");
let probing = null;

function lose(text) {
  banner.querySelector("[data-connection-text]").textContent = text;
  banner.hidden = false;
  probing ??= setInterval(probe, PROBE_EVERY);
}

function recover() {
  if (banner.hidden) return;
  banner.hidden = true;
  clearInterval(probing);
  probing = null;
  document.body.dispatchEvent(new CustomEvent("refresh-live", { bubbles: true }));
}

async function probe() {
  if (document.hidden) return;
  try {
    const answer = await fetch(banner.dataset.probe, { method: "HEAD", cache: "no-store" });
    if (answer.status < 500) recover();
  } catch {
    // Still away; the next beat asks again.
  }
}

if (banner) {
  for (const name of ["htmx:sendError", "htmx:timeout"]) document.addEventListener(name, () => lose(LOST));
  document.addEventListener("htmx:afterRequest", ({ detail }) => {
    const status = detail.xhr.status;
    if (status >= 500 && detail.elt.matches("[data-live]")) lose(FAILING);
    else if (status > 0 && status < 500) recover();
  });
  window.addEventListener("offline", () => lose(LOST));
  window.addEventListener("online", probe);
}
