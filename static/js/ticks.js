// Rows that are ticked for an action on many. A checkbox with data-tick names the form that it belongs to;
// data-tally="FORM" says how many of that form's are ticked, data-tick-all="FORM" ticks all on the page, and
// buttons with data-for-ticked wait for the first. While there are any, the list is not asked for again
// (live.js), so that none is lost. Without this script the boxes work by themselves, one by one.
const boxesOf = (id) => [...document.querySelectorAll(`[data-tick][form="${id}"]`)];

function tell(tally) {
  const id = tally.dataset.tally;
  const boxes = boxesOf(id);
  const ticked = boxes.filter((box) => box.checked).length;
  tally.textContent = ticked ? `${ticked} ticked; the list stands still` : "0 ticked";
  for (const all of document.querySelectorAll(`[data-tick-all="${id}"]`)) {
    (all.closest("label") ?? all).hidden = boxes.length === 0;
    all.checked = ticked > 0 && ticked === boxes.length;
    all.indeterminate = ticked > 0 && ticked < boxes.length;
  }
  for (const button of document.querySelectorAll(`#${id} [data-for-ticked]`)) button.disabled = ticked === 0;
}

function tellAll() {
  for (const tally of document.querySelectorAll("[data-tally]")) tell(tally);
}

document.addEventListener("change", ({ target }) => {
  if (target.dataset.tickAll) for (const box of boxesOf(target.dataset.tickAll)) box.checked = target.checked;
  if (target.dataset.tickAll || target.matches("[data-tick]")) tellAll();
});
// A list that is put in place anew knows nothing of what was ticked meanwhile.
const before = Idiomorph.defaults.callbacks.beforeAttributeUpdated;
Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node, change) =>
  !(["checked", "hidden"].includes(name) && node.matches("[data-tick], [data-tick-all]")) &&
  before(name, node, change);

document.addEventListener("htmx:afterSwap", tellAll);
// Whoever comes back finds ticks as they left them, or as the browser remembers them.
window.addEventListener("pageshow", tellAll);
tellAll();
