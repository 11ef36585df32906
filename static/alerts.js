// Stored alerts as they come: how many are new or, when followed, the list itself.

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
  find("list").replaceWith(document.adoptNode(page.getElementById("list")));
  find("count").textContent = page.getElementById("count").textContent;
  offerFollowing();
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

// Only the newest page without an end in time has anything to wait for.
if (find("list") && find("list").dataset.events) {
  offerFollowing();
  watch();
}
