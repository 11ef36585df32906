// The overview renews itself while its window is visible, so that it may stay open on a wall.

const EVERY_MS = 15_000;
const present = () => document.getElementById("overview");

async function renew() {
  if (document.hidden || present().contains(document.activeElement)) return; // not under a reader's hands
  try {
    const answer = await fetch(present().dataset.address, { headers: { accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const renewed = page.getElementById("overview");
    if (!renewed) return location.reload(); // the login, or an error
    present().replaceWith(document.adoptNode(renewed));
  } catch {
    // The portal is away; the next try comes by itself, and the line at the foot says how old this is.
  }
}
setInterval(renew, EVERY_MS);
