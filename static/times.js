// Times as whoever looks wants them: UTC, or as this device has them. Without script they stay in UTC.
// <time datetime="…" data-form="full | second | clock | day | ago">; ".zone" names the zone beside them.

const two = (number) => String(number).padStart(2, "0");
const isLocal = () => localStorage.getItem("times") === "local";

function parts(moment) {
  const at = isLocal() ? new Date(moment.getTime() - moment.getTimezoneOffset() * 60_000) : moment;
  const date = `${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())}`;
  const clock = `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
  const second = `${clock}:${two(at.getUTCSeconds())}`;
  return { full: `${at.getUTCFullYear()}-${date} ${second}`, second, clock, day: date };
}

function passed(moment) {
  const seconds = (Date.now() - moment.getTime()) / 1000;
  for (const [name, length] of [["d", 86_400], ["h", 3600], ["min", 60]]) {
    if (seconds >= length) return `${Math.floor(seconds / length)}\u2009${name} ago`;
  }
  return "just now";
}

function showTime(element) {
  const moment = new Date(element.dateTime);
  const form = element.dataset.form || "full";
  const text = form === "ago" ? passed(moment) : parts(moment)[form];
  if (element.textContent !== text) element.textContent = text;
  const title = form === "full" ? passed(moment) : `${parts(moment).full} ${zoneName()}`;
  if (element.title !== title) element.title = title;
}

const zoneName = () => (isLocal() ? "local" : "UTC");

function showTimes(root = document) {
  for (const element of root.querySelectorAll("time[datetime]")) showTime(element);
  for (const element of root.querySelectorAll(".zone")) element.textContent = zoneName();
}

const button = document.getElementById("zone");
button.hidden = false;
const showZone = () => (document.getElementById("zone-name").textContent = isLocal() ? "Local" : "UTC");
button.addEventListener("click", () => {
  localStorage.setItem("times", isLocal() ? "utc" : "local");
  showZone();
  showTimes();
});
showZone();
showTimes();
setInterval(showTimes, 30_000);
// What comes in later, such as a list that is followed.
new MutationObserver((changes) => {
  for (const { addedNodes } of changes) {
    for (const node of addedNodes) {
      if (node.nodeType !== 1) continue;
      if (node.matches("time[datetime]")) showTime(node);
      showTimes(node);
    }
  }
}).observe(document.getElementById("main"), { childList: true, subtree: true });
