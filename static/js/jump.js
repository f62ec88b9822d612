// The jump box: "/" or Ctrl-K, then a few letters of any link on the page that has data-jump.
const dialog = document.getElementById("jump");
const input = dialog?.querySelector("input");
const list = dialog?.querySelector("[role=listbox]");
const MOST = 50;
let chosen = 0;

function places() {
  const seen = new Map();
  for (const link of document.querySelectorAll("a[data-jump]")) {
    const name = (link.querySelector(".menu__label") ?? link).textContent.trim();
    if (!seen.has(link.href)) seen.set(link.href, { name, href: link.href, kind: link.dataset.jump });
  }
  return [...seen.values()];
}

// Lower is better: at the start, at the start of a word, anywhere; not at all is Infinity.
function rank(name, word) {
  const at = name.toLowerCase().indexOf(word);
  if (at < 0) return Infinity;
  return at === 0 ? 0 : /[^a-z0-9]/i.test(name[at - 1]) ? 1 : 2;
}

function matches(query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  return places()
    .map((place) => ({ ...place, score: words.reduce((sum, word) => sum + rank(`${place.name} ${place.kind}`, word), 0) }))
    .filter((place) => place.score < Infinity)
    .sort((a, b) => a.score - b.score)
    .slice(0, MOST);
}

function option(place, index) {
  const item = document.createElement("li");
  Object.assign(item, { id: `jump-result-${index}`, className: "jump__result", role: "option" });
  item.dataset.href = place.href;
  for (const part of ["name", "kind"]) {
    const span = Object.assign(document.createElement("span"), { className: `jump__${part}`, textContent: place[part] });
    item.append(span);
  }
  return item;
}

function render() {
  list.replaceChildren(...matches(input.value).map(option));
  dialog.querySelector(".jump__none").hidden = list.children.length > 0;
  choose(0);
}

function choose(index) {
  const count = list.children.length;
  chosen = count ? (index + count) % count : 0;
  [...list.children].forEach((item, at) => item.setAttribute("aria-selected", String(at === chosen)));
  const current = list.children[chosen];
  if (!current) return input.removeAttribute("aria-activedescendant");
  input.setAttribute("aria-activedescendant", current.id);
  current.scrollIntoView({ block: "nearest" });
}

function go(item) {
  if (item) location.assign(item.dataset.href);
}

function open() {
  if (document.querySelector("dialog[open]")) return;
  const drawer = document.getElementById("navigation");
  if (drawer?.matches(":popover-open")) drawer.hidePopover();
  input.value = "";
  render();
  dialog.showModal();
}

function onKey(event) {
  if (event.key === "ArrowDown") choose(chosen + 1);
  else if (event.key === "ArrowUp") choose(chosen - 1);
  else if (event.key === "Enter") go(list.children[chosen]);
  else return;
  event.preventDefault();
}

if (dialog) {
  input.addEventListener("input", render);
  input.addEventListener("keydown", onKey);
  list.addEventListener("click", (event) => go(event.target.closest("[role=option]")));
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.addEventListener("click", (event) => event.target.closest("[data-jump-open]") && open());
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, select, textarea, [contenteditable]");
    const slash = event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey;
    if (!slash && !((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k")) return;
    event.preventDefault();
    open();
  });
}
