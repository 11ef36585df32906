// The slider over the budgets of a bundle: what each costs at the traffic that stands beside it. Without it, the table says so.

const panel = document.getElementById("budgets");

function slideBudgets() {
  const slider = document.getElementById("budget-slider");
  const flows = document.getElementById("flows-per-day");
  const rows = [...document.querySelectorAll("#budget-rows tbody tr")].map((row) => row.dataset);
  const chosen = document.getElementById("budget-value");
  const count = (value) => Math.round(value).toLocaleString("en").replaceAll(",", "\u2009");
  const percent = (value, digits) => `${(value * 100).toFixed(digits)}\u2009%`;
  const say = (name, text) => (panel.querySelector(`[data-fact="${name}"]`).textContent = text);

  function show() {
    const row = rows[slider.valueAsNumber];
    const traffic = flows.valueAsNumber || Number(panel.dataset.flows);
    document.getElementById("budget-now").textContent = percent(Number(row.budget), 4);
    slider.setAttribute("aria-valuetext", `${percent(Number(row.budget), 4)} of benign flows`);
    say("threshold", Number(row.threshold).toFixed(6));
    say("alerts_per_day", count(row.realised * traffic));
    say("interval", `${count(row.low * traffic)} to ${count(row.high * traffic)}`);
    say("recall", row.recall ? percent(Number(row.recall), 2) : "not known");
    say("in_force", row.inForce === "true" ? "yes" : "no");
    if (chosen) chosen.selectedIndex = slider.valueAsNumber;
  }

  slider.disabled = false;
  slider.addEventListener("input", show);
  flows.addEventListener("input", show);
  document.getElementById("apply-traffic").hidden = true;
  if (chosen) document.getElementById("budget-select").hidden = true;
  show();
}

if (panel) slideBudgets();
