// Questions before actions. A button or a form with data-confirm asks in a dialog, in the words of its
// own attributes, and does what it does only after a yes. data-dialog="ID" opens a dialog of the page.
const agreed = new WeakSet();

document.addEventListener(
  "click",
  (event) => {
    const asker = event.target.closest("[data-confirm]");
    if (!asker || asker.tagName === "FORM" || agreed.delete(asker)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (asker.form && !asker.formNoValidate && !asker.form.reportValidity()) return;
    ask(asker, (button) => button.click());
  },
  true,
);

document.addEventListener(
  "submit",
  (event) => {
    const form = event.target;
    if (!form.hasAttribute("data-confirm") || agreed.delete(form)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const submitter = event.submitter;
    ask(form, (asker) => asker.requestSubmit(submitter?.isConnected ? submitter : undefined));
  },
  true,
);

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener) document.getElementById(opener.dataset.dialog)?.showModal();
});

function ask(asker, proceed) {
  const dialog = build(asker.dataset);
  document.body.append(dialog);
  dialog.addEventListener("close", () => {
    const reason = dialog.querySelector("textarea").value.trim();
    dialog.remove();
    if (dialog.returnValue === "confirm") answer(asker, reason, proceed);
    else asker.focus?.();
  });
  dialog.showModal();
}

function build({ confirm, confirmText, confirmAction, confirmTone, confirmReason }) {
  const dialog = document.getElementById("confirm-template").content.firstElementChild.cloneNode(true);
  dialog.querySelector(".dialog__title").textContent = confirm;
  dialog.querySelector(".dialog__text").textContent = confirmText ?? "";
  const accept = dialog.querySelector("[data-accept]");
  accept.textContent = confirmAction || "Confirm";
  accept.classList.add(confirmTone === "primary" ? "button--primary" : "button--solid-danger");
  const reason = dialog.querySelector("[data-reason]");
  reason.hidden = !confirmReason;
  reason.querySelector("textarea").required = confirmReason === "required";
  // Enter on a question that destroys must not be a yes.
  (confirmReason ? reason.querySelector("textarea") : dialog.querySelector("[data-cancel]")).autofocus = true;
  return dialog;
}

function answer(asker, reason, proceed) {
  const present = asker.isConnected ? asker : asker.id && document.getElementById(asker.id);
  if (!present) {
    const detail = { tone: "warning", text: "That has changed meanwhile. Nothing was done." };
    document.dispatchEvent(new CustomEvent("toast", { detail }));
    return;
  }
  carry(present.tagName === "FORM" ? present : present.form, reason);
  agreed.add(present);
  proceed(present);
}

// The reason travels as a field of the form; the next question that has none takes it out again.
function carry(form, reason) {
  if (!form) return;
  form.querySelector("input[data-asked-reason]")?.remove();
  if (!reason) return;
  const field = Object.assign(document.createElement("input"), { type: "hidden", name: "reason", value: reason });
  field.setAttribute("data-asked-reason", "");
  form.append(field);
}
