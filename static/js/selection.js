// Rows that are ticked for an action on many. Ticks belong to a form outside the list by their "form"
// attribute; while there are any, the list is not asked for again (live.js), so that none is lost.
const ticks = () => [...document.querySelectorAll("[data-select]")];

function show() {
  const form = document.querySelector("form:has([data-selected-count])");
  if (!form) return;
  const all = ticks();
  const count = all.filter((tick) => tick.checked).length;
  const shown = form.querySelector("[data-selected-count]");
  shown.textContent = count;
  shown.hidden = count === 0;
  form.querySelector("[data-selected-note]").hidden = count === 0;
  const toggle = form.querySelector("[data-select-all]");
  toggle.hidden = all.length === 0;
  toggle.textContent = count && count === all.length ? "Select none" : "Select this page";
}

document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-select-all]")) return;
  const all = ticks();
  const rest = all.some((tick) => !tick.checked);
  for (const tick of all) tick.checked = rest;
  show();
});
document.addEventListener("change", (event) => event.target.matches("[data-select]") && show());
document.addEventListener("htmx:afterSwap", show);
// Whoever comes back finds ticks as they left them, or as the browser remembers them.
window.addEventListener("pageshow", show);
show();
