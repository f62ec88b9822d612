// Rows that are ticked for an action on many. A checkbox names the form that it belongs to; data-tally="ID"
// says how many of that form's are ticked, and data-tick-all="ID" ticks all that are on the page. Without
// this script the boxes work by themselves, one by one.
const boxesOf = (id) => [...document.querySelectorAll(`input[type="checkbox"][form="${id}"]`)];

function tell(id) {
  const boxes = boxesOf(id);
  const ticked = boxes.filter((box) => box.checked).length;
  for (const tally of document.querySelectorAll(`[data-tally="${id}"]`)) tally.textContent = `${ticked} ticked`;
  for (const all of document.querySelectorAll(`[data-tick-all="${id}"]`)) {
    all.hidden = boxes.length === 0;
    all.checked = ticked > 0 && ticked === boxes.length;
    all.indeterminate = ticked > 0 && ticked < boxes.length;
  }
  for (const button of document.querySelectorAll(`form#${id} button`)) button.disabled = ticked === 0;
}

function tellAll() {
  for (const tally of document.querySelectorAll("[data-tally]")) tell(tally.dataset.tally);
}

document.addEventListener("change", ({ target }) => {
  if (target.dataset.tickAll) for (const box of boxesOf(target.dataset.tickAll)) box.checked = target.checked;
  if (target.dataset.tickAll || target.matches("[data-tick]")) tellAll();
});

// A live part that is asked for anew knows nothing of what was ticked meanwhile.
const before = Idiomorph.defaults.callbacks.beforeAttributeUpdated;
Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node, change) =>
  !(["checked", "hidden"].includes(name) && node.matches("[data-tick], [data-tick-all]")) &&
  before(name, node, change);

document.addEventListener("htmx:afterSwap", tellAll);
window.addEventListener("pageshow", tellAll);
tellAll();
