// The live page: one event a second brings rates and the flows since the last one. Pausing closes the connection, so a
// paused window costs nothing; going on begins behind the last flow that was shown.

const find = (id) => document.getElementById(id);
const table = find("rows");
const rows = table.tBodies[0];
const titles = JSON.parse(find("titles").textContent);
const MOST_ROWS = 50;
const DRAWN_EVERY_MS = 3000;
const STATES = { flowing: "flows come in", quiet: "no flow for a while", nothing: "no flow yet", away: "the stream is away" };
const ORIGINS = { live: "live interface", capture: "capture", replay: "replay" };
const counted = (value) => String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, "\u2009");
let cursor = Number(table.dataset.cursor);
let missed = 0;
let drawn = 0;
let source;

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function follow() {
  const address = new URL(table.dataset.events, location);
  address.searchParams.set("after", cursor);
  source = new EventSource(address);
  source.onmessage = (message) => show(JSON.parse(message.data));
  // The browser comes back by itself; from then on the answer begins at the cursor of the address.
  source.onerror = () => {
    source.close();
    setTimeout(() => source && follow(), 2000);
  };
}

function show(now) {
  cursor = now.cursor;
  const state = find("state");
  if (state.dataset.state !== now.state) {
    state.dataset.state = now.state;
    state.textContent = STATES[now.state];
    state.className = `badge ${now.state === "flowing" ? "running" : now.state === "away" ? "failed" : ""}`;
  }
  find("fault").hidden = now.state !== "away";
  find("detail").textContent = now.detail;
  find("nothing").hidden = now.state !== "nothing";
  find("flowing").hidden = now.state === "nothing";
  find("flows-rate").textContent = now.flows_per_s.toFixed(1);
  find("alerts-rate").textContent = now.alerts_per_s.toFixed(1);
  find("delay").textContent = now.delay_ms.p50 === undefined ? "–" : now.delay_ms.p50.toFixed(0);
  find("delay-95").textContent = now.delay_ms.p95 === undefined ? "–" : now.delay_ms.p95.toFixed(0);
  find("flows").textContent = counted(now.flows);
  find("alerts").textContent = counted(now.alerts);
  const [flows, alerts] = document.querySelectorAll(".live-tiles .spark polyline");
  flows.setAttribute("points", points(now.series.flows));
  alerts.setAttribute("points", points(now.series.alerts));
  for (const name of ["verdicts", "families", "protocols"]) showRates(find(name), now[name]);
  showSensors(now.sensors);
  showTruths(now.labelled);
  missed += now.skipped;
  if (missed) find("skipped").textContent = `${counted(missed)} that met the filter were left out.`;
  showRows(now.rows);
}

function points(values) {
  const top = Math.max(...values, 0) || 1;
  const step = 100 / (values.length - 1);
  return values.map((value, at) => `${(at * step).toFixed(1)},${(23 - (22 * value) / top).toFixed(1)}`).join(" ");
}

function showRates(list, rates) {
  const entries = Object.entries(rates).slice(0, 5);
  const most = Math.max(...entries.map(([, rate]) => rate), 0) || 1;
  if (!entries.length) return list.replaceChildren(element("li", "–", "muted"));
  list.replaceChildren(...entries.map(([name, rate]) => {
    const item = element("li");
    item.append(element("span", (titles[name] || name).replace(/_/g, " "), "ranked"), element("strong", rate.toFixed(1), "number"), bar(rate / most));
    return item;
  }));
}

function bar(share) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [name, value] of Object.entries({ class: "hbar", viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" })) svg.setAttribute(name, value);
  for (const [kind, width] of [["track", 100], ["level", 100 * share]]) {
    const rect = svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "rect"));
    rect.setAttribute("class", kind);
    rect.setAttribute("width", width.toFixed(2));
    rect.setAttribute("height", 4);
  }
  return svg;
}

function showSensors(sensors) {
  find("replayed").hidden = sensors.every((each) => each.origin === "live");
  find("sensors").replaceChildren(...sensors.flatMap((each) => {
    const chip = element("span", undefined, "chip");
    chip.append(element("strong", each.sensor || "sensor"), " ", element("span", `${ORIGINS[each.origin]} · ${counted(each.flows)} flows`, "muted"));
    return [chip, " "];
  }));
}

// The page draws the tables itself: the part with them is fetched again when more truth has come, every few seconds.
async function showTruths(labelled) {
  const shown = find("truths");
  if (labelled === Number(shown.dataset.labelled) || Date.now() - drawn < DRAWN_EVERY_MS) return;
  drawn = Date.now();
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => ({ ok: false }));
  if (!answer.ok || shown.contains(document.activeElement)) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("truths");
  const open = new Set(Array.from(shown.querySelectorAll("details[open]"), (each) => each.dataset.keyOf));
  for (const each of fresh.querySelectorAll("details")) each.open = open.has(each.dataset.keyOf);
  const wide = (part) => part.querySelectorAll(".scroll");
  wide(fresh).forEach((each, at) => (each.dataset.left = wide(shown)[at]?.scrollLeft || 0));
  shown.replaceWith(document.adoptNode(fresh));
  for (const each of wide(fresh)) each.scrollLeft = Number(each.dataset.left);
  table.classList.toggle("labelled", labelled > 0);
}

function showRows(flows) {
  if (!flows.length) return;
  rows.prepend(...flows.map(rowOf));
  while (rows.rows.length > MOST_ROWS) rows.lastElementChild.remove();
}

function rowOf(flow) {
  const row = find("row").content.firstElementChild.cloneNode(true);
  const [at, verdict, family, truth, score, from, to, protocol, sensor] = row.cells;
  const time = element("time", flow.scored_at.slice(11, 19));
  time.dateTime = flow.scored_at;
  time.dataset.form = "second";
  if (flow.alert_id) {
    const link = at.appendChild(element("a"));
    link.href = `/alerts/${flow.alert_id}`;
    link.append(time);
  } else at.append(time);
  verdict.append(find(`badge-${flow.verdict}`).content.cloneNode(true));
  family.textContent = flow.family ? titles[flow.family] || flow.family : "";
  truth.textContent = flow.label || "";
  score.textContent = flow.score.toFixed(3);
  showEnd(from, flow.source, flow.source_port);
  showEnd(to, flow.target, flow.target_port);
  protocol.textContent = flow.protocol || "–";
  sensor.textContent = flow.sensor;
  row.classList.add("fresh");
  return row;
}

function showEnd(cell, address, port) {
  cell.append(element("span", address || "–", address ? "address" : "muted"));
  if (address && port !== null) cell.append(element("span", `:${port}`, "muted"));
}

function offerPause() {
  const button = find("play");
  button.hidden = false;
  button.addEventListener("click", () => {
    if (source) {
      source.close();
      source = undefined;
    } else follow();
    const kind = source ? "pause" : "play";
    button.replaceChildren(find(`${kind}-icon`).content.cloneNode(true), element("span", source ? "Pause" : "Go on"));
  });
}

for (const select of find("filter").querySelectorAll("select")) select.addEventListener("change", () => find("filter").requestSubmit());
offerPause();
follow();
