// Single keys: whatever carries data-key="x" is pressed by that key (a field gets the focus). j and k walk through the rows
// of [data-rows], from link to link, so that Enter opens one. "?" shows them all; there they can also be turned off.
// A name for the help comes from data-key-name, else the label, else the text.

const dialog = document.getElementById("keys");
const help = document.getElementById("help");
const typing = (element) => element.closest("input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]");
const isOn = () => localStorage.getItem("keys") !== "off";
const visible = (element) => element.checkVisibility() && !element.disabled;

function press(key) {
  const target = [...document.querySelectorAll(`[data-key="${CSS.escape(key)}"]`)].find(visible);
  if (!target) return false;
  if (typing(target)) target.focus();
  else target.click();
  return true;
}

function walk(step) {
  const rows = [...document.querySelectorAll("[data-rows] > *")].filter((row) => row.querySelector("a") && visible(row));
  if (!rows.length) return false;
  const at = rows.indexOf(document.activeElement.closest("[data-rows] > *"));
  const next = rows[Math.min(Math.max(at + step, 0), rows.length - 1)];
  next.querySelector("a").focus();
  next.scrollIntoView({ block: "nearest" });
  return true;
}

function named(element) {
  const label = element.dataset.keyName || element.getAttribute("aria-label") || (element.labels && element.labels[0]?.textContent);
  return (label || element.textContent).trim().replace(/\s+/g, " ");
}

function showKeys() {
  const known = new Map([["?", "This help"]]);
  if (document.querySelector("[data-rows]")) known.set("j k", "Next and previous row; Enter opens it");
  for (const element of document.querySelectorAll("[data-key]")) {
    if (visible(element) && !known.has(element.dataset.key)) known.set(element.dataset.key, named(element));
  }
  const list = document.getElementById("key-list");
  list.replaceChildren();
  for (const [key, name] of known) {
    const row = list.appendChild(document.createElement("div"));
    const term = row.appendChild(document.createElement("dt"));
    for (const each of key.split(" ")) term.appendChild(document.createElement("kbd")).textContent = each;
    row.appendChild(document.createElement("dd")).textContent = name;
  }
  document.getElementById("keys-on").checked = isOn();
  dialog.showModal();
}

document.getElementById("keys-on").addEventListener("change", (event) => localStorage.setItem("keys", event.target.checked ? "on" : "off"));
help.hidden = false;
help.addEventListener("click", showKeys);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || dialog.open || !isOn()) return;
  const done = event.key === "?" ? (showKeys(), true) : event.key === "j" || event.key === "k" ? walk(event.key === "j" ? 1 : -1) : press(event.key);
  if (done) event.preventDefault();
});
