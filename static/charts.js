// Plotly figures: <div class="chart" data-figure="address or id">, where an id names a <script type="application/json">.
// The bundle is fetched once a figure comes near the window. Colours are those of the page and follow its theme.

const bundle = document.currentScript.dataset.plotly;
// Under this id the bundle looks for the styles of its maps, and adds them inline where there is no such element. The
// security policy forbids that, and no map is drawn here: an empty element stands in for them.
const MAP_STYLES = "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53";
let loading;

function plotly() {
  loading ||= new Promise((resolve, reject) => {
    document.head.append(Object.assign(document.createElement("meta"), { id: MAP_STYLES }));
    const script = document.createElement("script");
    script.src = bundle;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("Plotly's bundle could not be fetched"));
    document.head.append(script);
  });
  return loading;
}

// "light-dark(a, b)" and variables become the colour that is meant now.
function colour(name) {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.hidden = true;
  probe.style.color = name.startsWith("--") ? `var(${name})` : name;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

// Every "--variable" among a figure's values is a colour of the page.
function coloured(value) {
  if (Array.isArray(value)) return value.map(coloured);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, coloured(v)]));
  return typeof value === "string" && value.startsWith("--") ? colour(value) : value;
}

const axis = () => ({ gridcolor: "--line", linecolor: "--line-strong", zerolinecolor: "--line", tickfont: { color: "--muted" }, automargin: true });

function layout(given) {
  const base = {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: "--text" },
    margin: { l: 48, r: 12, t: 12, b: 40 },
    hoverlabel: { bgcolor: "--surface", bordercolor: "--line-strong", font: { color: "--text" } },
    legend: { orientation: "h", y: 1.08, x: 0 },
    colorway: ["--accent", "--odd", "--warn", "--bad", "--good"],
  };
  const axes = { xaxis: { ...axis(), ...given.xaxis }, yaxis: { ...axis(), ...given.yaxis } };
  return coloured({ ...base, ...given, ...axes });
}

async function figureOf(chart) {
  const source = chart.dataset.figure;
  const inside = !source.startsWith("/") && document.getElementById(source);
  if (inside) return JSON.parse(inside.textContent);
  const answer = await fetch(source, { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error((await answer.json()).detail || answer.statusText);
  return answer.json();
}

async function drawFigure(chart) {
  try {
    const [Plotly, figure] = await Promise.all([plotly(), figureOf(chart)]);
    await Plotly.react(chart, coloured(figure.data), layout(figure.layout || {}), { responsive: true, displayModeBar: false });
    chart.classList.add("drawn");
  } catch (fault) {
    chart.textContent = `This chart cannot be drawn: ${fault.message}`;
  }
}

const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    drawFigure(target);
  }
}, { rootMargin: "200px" });

for (const chart of document.querySelectorAll("[data-figure]")) near.observe(chart);

function redraw() {
  for (const chart of document.querySelectorAll(".chart.drawn")) drawFigure(chart);
}
new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
