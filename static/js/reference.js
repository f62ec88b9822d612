/* Draws the API reference. Requests that are tried out go as the person who is signed in. */

const place = document.getElementById("reference");
const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");
const csrf = JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];

function followTheme() {
  const theme = root.dataset.theme;
  root.classList.toggle("dark-mode", theme === "dark" || (theme === "auto" && dark.matches));
}

followTheme();
dark.addEventListener("change", followTheme);
new MutationObserver(followTheme).observe(root, { attributeFilter: ["data-theme"] });

window.SwaggerUIBundle({
  url: place.dataset.document,
  domNode: place,
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
  requestInterceptor: (request) => {
    if (new URL(request.url, location.href).origin === location.origin) {
      request.headers["X-CSRFToken"] = csrf;
    }
    return request;
  },
});
