// Stored alerts: as they come (how many are new or, when followed, the list itself), a timeline to drag over, keys.

const find = (id) => document.getElementById(id);

function watch() {
  const source = new EventSource(find("list").dataset.events);
  source.onmessage = async (message) => {
    const { count, more } = JSON.parse(message.data);
    if (!find("alerts")) return location.reload(); // the first one: the page gets its filter, too
    if (!following()) return showFresh(count, more);
    source.close();
    await refresh();
    watch();
  };
}

const following = () => localStorage.getItem("follow-alerts") === "yes";

function showFresh(count, more) {
  const fresh = find("fresh");
  fresh.textContent = `Show ${count}${more ? "+" : ""} new`;
  fresh.hidden = count === 0;
}

async function refresh() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (!page.getElementById("alerts")) return location.reload(); // the login, or an error
  for (const id of ["list", "timeline"]) {
    if (find(id) && page.getElementById(id)) find(id).replaceWith(document.adoptNode(page.getElementById(id)));
  }
  for (const id of ["count", "triage-all"]) if (find(id)) find(id).textContent = page.getElementById(id).textContent;
  offerFollowing();
  offerBrush();
}

function offerFollowing() {
  const button = find("follow");
  if (!button) return;
  button.hidden = false;
  button.setAttribute("aria-pressed", following());
  button.addEventListener("click", async () => {
    localStorage.setItem("follow-alerts", following() ? "no" : "yes");
    button.setAttribute("aria-pressed", following());
    if (following()) await refresh();
  });
}

// Columns are links; dragging over several shows all of them. Whole columns, so that counts are those that were shown.
function offerBrush() {
  const card = find("timeline");
  if (!card) return;
  const plot = card.querySelector(".plot");
  const chart = plot.querySelector("svg");
  const bins = Number(card.dataset.bins);
  const columnAt = (event) => {
    const box = chart.getBoundingClientRect();
    return Math.min(bins - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * bins)));
  };
  const band = plot.appendChild(document.createElement("div"));
  band.className = "band";
  let from = null;
  let to = null;
  const show = () => {
    band.style.left = `${(Math.min(from, to) / bins) * 100}%`;
    band.style.width = `${((Math.abs(to - from) + 1) / bins) * 100}%`;
    band.classList.toggle("on", from !== to);
  };
  chart.addEventListener("dragstart", (event) => event.preventDefault());
  chart.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    from = to = columnAt(event);
  });
  window.addEventListener("pointermove", (event) => {
    if (from === null || !event.buttons) return;
    to = columnAt(event);
    show();
  });
  window.addEventListener("pointerup", () => {
    if (from === null) return;
    const [first, last] = [Math.min(from, to), Math.max(from, to)];
    const dragged = from !== to;
    from = null;
    if (!dragged) return;
    const at = (column) => new Date(Date.parse(card.dataset.start) + column * Number(card.dataset.span) * 1000);
    const base = card.dataset.base;
    const query = new URLSearchParams({ from: at(first).toISOString(), to: at(last + 1).toISOString() });
    location.assign(`${base}${base.includes("?") ? "&" : "?"}${query}`);
  });
  chart.addEventListener("click", (event) => band.classList.contains("on") && event.preventDefault(), true);
}

// "e" triages the row that has the focus, else all.
function offerTriageOfRows() {
  document.addEventListener("focusin", (event) => {
    const all = find("triage-all");
    if (!all) return; // nothing to decide on, or no right to
    const row = event.target.closest("[data-rows] > tr");
    for (const link of document.querySelectorAll("[data-rows] [data-key=e]")) delete link.dataset.key;
    row ? delete all.dataset.key : (all.dataset.key = "e");
    if (row && event.target.matches(".when a")) event.target.dataset.key = "e";
  });
  document.addEventListener("keydown", (event) => {
    const link = event.target;
    if (event.key !== "e" || !link.matches || !link.matches("[data-rows] .when a[data-key=e]") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (localStorage.getItem("keys") === "off") return;
    event.preventDefault();
    event.stopImmediatePropagation();
    location.assign(link.dataset.triage || `${link.href}#decision`);
  }, true);
}

function offerDecision() {
  const first = document.querySelector("#decision input");
  if (!first) return;
  find("decide")?.addEventListener("click", () => setTimeout(() => first.focus()));
  // Only then: going to the fragment takes the focus away again.
  if (location.hash === "#decision") addEventListener("load", () => setTimeout(() => first.focus()));
}

function offerForms() {
  if (!navigator.clipboard) return;
  for (const button of document.querySelectorAll(".fetch-copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const name = button.querySelector("span");
      const was = name.textContent;
      const answer = await fetch(button.dataset.from, { headers: { accept: "application/json" } });
      await navigator.clipboard.writeText(JSON.stringify(await answer.json(), null, 2));
      name.textContent = "Copied";
      setTimeout(() => (name.textContent = was), 1500);
    });
  }
}

// On narrow screens the filter is folded, so that the first alert is in sight.
find("unfold")?.addEventListener("click", () => {
  const unfolded = find("unfold").parentElement.classList.toggle("unfolded");
  find("unfold").setAttribute("aria-expanded", unfolded);
});
offerBrush();
offerTriageOfRows();
offerDecision();
offerForms();
// Only the newest page without an end in time has anything to wait for.
if (find("list") && find("list").dataset.events) {
  offerFollowing();
  watch();
}
