// Filters act as soon as they are chosen, and an empty one stays out of the URL. Without this script the
// toolbar is a form with a button.
for (const form of document.querySelectorAll("form[data-autosubmit]")) {
  form.dataset.ready = "";
  form.addEventListener("change", (event) => event.target.matches("select, [type=checkbox]") && form.requestSubmit());
  form.addEventListener("formdata", ({ formData }) => {
    for (const [name, value] of [...formData]) if (value === "") formData.delete(name);
  });
}
