// Comforts over pages that work without them: theme, drop zone, copy buttons, reasons in place, a run followed live.

const byId = (id) => document.getElementById(id);

function followTheme() {
  const button = byId("theme");
  const order = ["system", "light", "dark"];
  const show = () => {
    const theme = document.documentElement.dataset.theme || "system";
    byId("theme-name").textContent = theme[0].toUpperCase() + theme.slice(1);
  };
  button.hidden = false;
  show();
  button.addEventListener("click", () => {
    const now = document.documentElement.dataset.theme || "system";
    const next = order[(order.indexOf(now) + 1) % order.length];
    if (next === "system") {
      delete document.documentElement.dataset.theme;
      localStorage.removeItem("theme");
    } else {
      document.documentElement.dataset.theme = next;
      localStorage.setItem("theme", next);
    }
    show();
  });
}

function followUpload(form) {
  const file = byId("file");
  const drop = byId("drop");
  const fault = byId("fault");
  const maxMb = Number(form.dataset.maxMb);
  const megabytes = (bytes) => (bytes / 1e6 >= 0.1 ? `${(bytes / 1e6).toFixed(1)} MB` : `${bytes} bytes`);
  file.addEventListener("change", () => {
    const chosen = file.files[0];
    if (!chosen) return;
    byId("chosen").textContent = `${chosen.name} · ${megabytes(chosen.size)}`;
    drop.classList.add("filled");
    fault.hidden = chosen.size <= maxMb * 1e6;
    fault.textContent = `${chosen.name} is larger than the ${maxMb} MB allowed here; split it, or score it with netwarden batch.`;
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
    });
  }
  drop.addEventListener("drop", (event) => {
    file.files = event.dataTransfer.files;
    file.dispatchEvent(new Event("change"));
  });
  form.addEventListener("submit", (event) => {
    if (!fault.hidden) {
      event.preventDefault();
      return;
    }
    byId("sending").hidden = false;
    form.querySelector("button[type=submit]").textContent = "Scoring…";
  });
  // Coming back with the browser's button shows the form as it was sent.
  window.addEventListener("pageshow", () => {
    byId("sending").hidden = true;
    form.querySelector("button[type=submit]").textContent = "Detect";
  });
}

function offerCopies() {
  for (const button of document.querySelectorAll("button.copy")) {
    if (!navigator.clipboard) return;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
      const name = button.querySelector("span");
      name.textContent = "Copied";
      setTimeout(() => (name.textContent = "Copy"), 1500);
    });
  }
}

const span = (seconds) =>
  seconds < 60 ? `${seconds.toFixed(0)} s` : `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;

function showRun(card, run) {
  card.dataset.state = run.state;
  for (const badge of card.querySelectorAll("[data-shows]")) badge.hidden = badge.dataset.shows !== run.state;
  byId("headline").textContent =
    run.state === "succeeded" ? "Training is successful" : run.state === "running" ? run.stage || "starting" : run.error;
  byId("progress").value = run.fraction;
  byId("log").textContent = run.log.join("\n");
  byId("log").scrollTop = byId("log").scrollHeight;
  byId("next").hidden = run.state !== "succeeded";
  if (byId("cancel")) byId("cancel").hidden = run.state !== "running"; // only admins have it
  if (run.state === "failed") byId("output").open = true;
  const steps = byId("steps").children;
  run.steps.forEach((step, at) => {
    steps[at].dataset.state = step.state;
    steps[at].querySelector(".step-message").textContent = step.message;
  });
}

function followRun(card) {
  const clock = byId("clock");
  let startedAt = performance.now() - Number(clock.dataset.seconds) * 1000;
  const ticking = setInterval(() => (clock.textContent = span((performance.now() - startedAt) / 1000)), 1000);
  const source = new EventSource(`/runs/${card.dataset.id}/events`);
  source.onmessage = (message) => {
    const run = JSON.parse(message.data);
    startedAt = performance.now() - run.seconds * 1000;
    showRun(card, run);
    if (run.state !== "running") {
      source.close();
      clearInterval(ticking);
      clock.textContent = span(run.seconds);
    }
  };
}

const WIDE = matchMedia("(min-width: 861px)");

// Reasons unfold below their row where there is room; elsewhere, and without script, the link leads to their page.
function unfoldReasons(table) {
  table.addEventListener("click", async (event) => {
    const link = event.target.closest("a.why");
    const elsewhere = event.ctrlKey || event.metaKey || event.shiftKey || !WIDE.matches;
    if (!link || elsewhere) return;
    event.preventDefault();
    const row = link.closest("tr");
    const shown = row.nextElementSibling;
    if (shown && shown.classList.contains("why-row")) {
      shown.remove();
      link.setAttribute("aria-expanded", "false");
    } else if (link.getAttribute("aria-expanded") !== "true") {
      link.setAttribute("aria-expanded", "true");
      row.after(await reasonsRow(link.href, row.cells.length));
    }
  });
}

async function reasonsRow(address, columns) {
  const answer = await fetch(address, { headers: { accept: "text/html" } });
  const reasons = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("why");
  if (!reasons) location.assign(address); // an error or the login: a page of its own
  const row = document.createElement("tr");
  const cell = row.appendChild(document.createElement("td"));
  const panel = cell.appendChild(document.createElement("div"));
  const more = document.createElement("a");
  row.className = "why-row";
  panel.className = "why-panel";
  cell.colSpan = columns;
  more.href = address;
  more.textContent = "All features of this flow";
  panel.append(...(reasons ? [document.adoptNode(reasons), more] : []));
  return row;
}

followTheme();
offerCopies();
// What is being made when a page is drawn is there a moment later.
for (const waiting of document.querySelectorAll("[data-again-s]")) setTimeout(() => location.reload(), 1000 * waiting.dataset.againS);
if (byId("verdicts")) unfoldReasons(byId("verdicts"));
if (byId("upload")) followUpload(byId("upload"));
if (byId("run") && byId("run").dataset.state === "running") followRun(byId("run"));
// The answer to a form gets the address of the scored file: reloading it then sends nothing again.
if (byId("result") && location.pathname === "/predict") history.replaceState(null, "", byId("result").dataset.address);
