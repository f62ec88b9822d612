// Relative times grow older while the page stands. The words are those of webapp/web/filters.py.
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const MONTH = 30 * DAY;
const YEAR = 365 * DAY;
const STEP = 10;
const AGES = [
  [HOUR, MINUTE, "min"],
  [DAY, HOUR, "h"],
  [MONTH, DAY, "d"],
  [YEAR, MONTH, "mo"],
  [Infinity, YEAR, "y"],
];

function span(seconds) {
  if (seconds < MINUTE) return `${Math.floor(seconds / STEP) * STEP} s`;
  const [, divisor, unit] = AGES.find(([below]) => seconds < below);
  return `${Math.floor(seconds / divisor)} ${unit}`;
}

export function relative(age) {
  const seconds = Math.floor(Math.abs(age));
  if (seconds < STEP) return age >= 0 ? "just now" : "in a moment";
  return age >= 0 ? `${span(seconds)} ago` : `in ${span(seconds)}`;
}

function update() {
  if (document.hidden) return;
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const text = relative((Date.now() - Date.parse(time.dateTime)) / 1000);
    if (time.textContent !== text) time.textContent = text;
  }
}

document.addEventListener("visibilitychange", update);
setInterval(update, STEP * 1000);
