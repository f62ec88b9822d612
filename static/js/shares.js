// The share of each variant among all weights, told while weights are typed. The server tells it too,
// with every answer; in between the words are those of the filter "percent".
const numbers = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });

const weightOf = (field) => (/^\s*\d{1,9}\s*$/.test(field.value) ? Number(field.value) : null);

function update(list) {
  const fields = [...list.querySelectorAll("[data-weight]")];
  const total = fields.reduce((sum, field) => sum + (weightOf(field) ?? 0), 0);
  for (const field of fields) {
    const weight = weightOf(field);
    const share = weight === null || !total ? "—" : `${numbers.format((100 * weight) / total)} %`;
    document.getElementById(field.dataset.weight).textContent = share;
  }
}

document.addEventListener("input", (event) => {
  const list = event.target.matches("[data-weight]") && event.target.closest("[data-shares]");
  if (list) update(list);
});
