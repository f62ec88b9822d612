// Short messages about what an action did. They come from the server, by the event "toast" (htmx raises
// it from the HX-Trigger header), or from a refused request, whose text is shown as the server gave it.
const LIFETIME = 6000;
const LONGEST = 300;
const region = document.getElementById("toasts");

function show(tone, text) {
  const template = document.getElementById(`toast-${tone}`) ?? document.getElementById("toast-info");
  const toast = template.content.firstElementChild.cloneNode(true);
  toast.querySelector(".toast__text").textContent = text;
  region.append(toast);
  expire(toast);
}

// What went wrong stays until it is dismissed; the rest goes by itself, but never under the pointer or focus.
function expire(toast) {
  if (toast.dataset.tone === "danger") return;
  setTimeout(() => (toast.matches(":hover, :focus-within") ? expire(toast) : toast.remove()), LIFETIME);
}

function reasonOf(xhr) {
  const type = xhr.getResponseHeader("Content-Type") ?? "";
  if (type.includes("json")) {
    try {
      const problem = JSON.parse(xhr.responseText);
      return problem.detail || problem.title;
    } catch {
      return "";
    }
  }
  if (type.startsWith("text/plain")) return xhr.responseText.slice(0, LONGEST);
  const page = new DOMParser().parseFromString(xhr.responseText, "text/html");
  return page.querySelector("[data-problem]")?.textContent.trim();
}

document.addEventListener("toast", ({ detail }) => show(detail.tone, detail.text));

document.addEventListener("htmx:responseError", ({ detail }) => {
  const polled = detail.elt.matches("[data-live]");
  if (polled && detail.xhr.status >= 500) return; // The banner says it, once (connection.js).
  if ((detail.xhr.getResponseHeader("HX-Trigger") ?? "").includes('"toast"')) return;
  show("danger", reasonOf(detail.xhr) || `The server answered with status ${detail.xhr.status}.`);
});

region.addEventListener("click", (event) => {
  event.target.closest("[data-dismiss]")?.closest(".toast").remove();
});

region.querySelectorAll(".toast").forEach(expire);
