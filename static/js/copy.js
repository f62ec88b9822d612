// Copy buttons: data-copy="#ID" copies the text of that element.
const SHOWN = 1500;

async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    // Without HTTPS there is no clipboard to write to; the selection can still be copied.
    document.getSelection().selectAllChildren(source);
    document.execCommand("copy");
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  const source = button && document.querySelector(button.dataset.copy);
  if (!source) return;
  await copy(source);
  const label = button.querySelector("[data-copy-label]");
  const before = label.textContent;
  if (before === "Copied") return;
  label.textContent = "Copied";
  setTimeout(() => (label.textContent = before), SHOWN);
});
