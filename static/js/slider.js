// A percentage as number field, track and quick stops, kept in step. The number field is what is sent.
const numbers = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const STEPS = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 };
let dragging = false;

const partsOf = (slider) => ({
  field: slider.querySelector("input[type=number]"),
  range: slider.querySelector("input[type=range]"),
  output: slider.querySelector("output"),
  stops: slider.querySelectorAll("[data-stop]"),
});

const bounded = (value) => Math.min(100, Math.max(0, Math.round((Number(value) || 0) * 100) / 100));

function meaning(slider, value) {
  if (value === 0) return "on for nobody";
  const population = Number(slider.dataset.population);
  if (!population) return value === 100 ? "on for everybody" : "";
  return `about ${numbers.format(Math.round((population * value) / 100))} of ${numbers.format(population)} ${slider.dataset.noun}`;
}

// What saving would change, and what that means.
function story(slider, value) {
  const saved = Number(slider.dataset.saved ?? value);
  const share = `${numbers.format(value)} %`;
  const means = meaning(slider, value);
  if (saved === value) return means || `on for about ${share}`;
  return `${numbers.format(saved)} % → ${share}${means && `, ${means}`}`;
}

function show(slider, value, source) {
  const { field, range, output, stops } = partsOf(slider);
  if (source !== field) field.value = String(value);
  if (source !== range || dragging) range.value = String(value);
  range.style.setProperty("--fill", `${value}%`);
  range.setAttribute("aria-valuetext", `${numbers.format(value)} %`);
  output.textContent = story(slider, value);
  for (const stop of stops) stop.setAttribute("aria-pressed", String(Number(stop.dataset.stop) === value));
  slider.dataset.ready = "";
}

function set(slider, value) {
  const { field } = partsOf(slider);
  show(slider, bounded(value));
  field.dispatchEvent(new Event("change", { bubbles: true }));
}

function prepare(root) {
  for (const slider of root.querySelectorAll("[data-slider]:not([data-ready])")) {
    show(slider, bounded(partsOf(slider).field.value), partsOf(slider).field);
  }
}

document.addEventListener("input", (event) => {
  const slider = event.target.closest("[data-slider]");
  if (!slider) return;
  // By hand one means whole percents; below one, tenths. Keys and the field reach every hundredth.
  const raw = bounded(event.target.value);
  const byHand = event.target.type === "range" && dragging;
  show(slider, byHand ? (raw >= 1 ? Math.round(raw) : Math.round(raw * 10) / 10) : raw, event.target);
});

document.addEventListener("keydown", (event) => {
  if (event.target.type !== "range" || !(event.key in STEPS)) return;
  const slider = event.target.closest("[data-slider]");
  if (!slider) return;
  event.preventDefault();
  set(slider, Number(partsOf(slider).field.value) + STEPS[event.key] * (event.shiftKey ? 0.01 : 1));
});

document.addEventListener("click", (event) => {
  const stop = event.target.closest("[data-stop]");
  if (stop) set(stop.closest("[data-slider]"), stop.dataset.stop);
});

document.addEventListener("focusout", (event) => {
  const slider = event.target.matches("[data-slider] input[type=number]") && event.target.closest("[data-slider]");
  if (slider && event.target.value !== "") show(slider, bounded(event.target.value));
});

document.addEventListener("pointerdown", (event) => (dragging = event.target.matches?.("[data-slider] input[type=range]")));
for (const name of ["pointerup", "pointercancel"]) document.addEventListener(name, () => setTimeout(() => (dragging = false)));
document.addEventListener("htmx:load", (event) => prepare(event.target.parentNode ?? document));
// A page that comes back from the browser's cache has its fields as they were left.
window.addEventListener("pageshow", () => {
  for (const slider of document.querySelectorAll("[data-slider]")) delete slider.dataset.ready;
  prepare(document);
});
prepare(document);
