// The form of parameters: what differs is marked, counted and alone sent. The server compares again.

const form = document.getElementById("parameters");

function followChanges() {
  const fields = [...form.querySelectorAll("[data-value]")];
  const differs = (field) => field.value.trim() !== field.dataset.value;
  const status = document.getElementById("changes");
  const untouched = status.innerHTML;

  function show() {
    const found = fields.filter(differs);
    for (const field of fields) field.closest(".param").classList.toggle("differs", differs(field));
    for (const section of form.querySelectorAll("details")) {
      const count = [...section.querySelectorAll("[data-value]")].filter(differs).length;
      const chip = section.querySelector(".changed");
      chip.hidden = count === 0;
      chip.textContent = `${count} changed`;
    }
    if (found.length === 0) status.innerHTML = untouched;
    else {
      status.replaceChildren("Changes ");
      for (const field of found) {
        status.append(Object.assign(document.createElement("code"), { textContent: `${field.name} ${field.value}` }), " ");
      }
    }
  }

  form.addEventListener("input", show);
  form.addEventListener("submit", () => {
    for (const field of fields) field.disabled = !differs(field);
    setTimeout(() => fields.forEach((field) => (field.disabled = false)), 1000); // for whoever comes back
  });
  show();
}

if (form) followChanges();
// A run that waits begins by itself: the list shows it soon after.
if (document.getElementById("waiting-title")) setInterval(() => document.hidden || location.reload(), 5000);
// A run that has just ended well has figures to show.
const run = document.getElementById("run");
if (run && run.dataset.state === "running") {
  new MutationObserver(() => run.dataset.state === "succeeded" && location.reload()).observe(run, { attributes: true });
}
