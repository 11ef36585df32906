// Before a file is sent: a look at its beginning. While a large one is sent and scored: how far it is, and a way to end it.

const uploadForm = document.getElementById("upload");
const FOLLOWED_BYTES = 4e6; // smaller ones are done before a bar could be read
const LOOKED_AT = 48_000; // what the portal reads of a file to preview it

function followLargeFile(form) {
  const input = document.getElementById("file");
  const bar = document.getElementById("sending");
  const status = document.getElementById("progress-text");
  const cancel = document.getElementById("cancel-upload");
  const fault = document.getElementById("fault");

  form.addEventListener("submit", (event) => {
    const file = input.files[0];
    if (!file || file.size < FOLLOWED_BYTES || file.size > Number(form.dataset.maxMb) * 1e6) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    send(file);
  });

  function send() {
    const ticket = crypto.randomUUID();
    const address = `/api/v1/uploads/progress?ticket=${ticket}`;
    const request = new XMLHttpRequest();
    let polling;
    const show = (text, share) => {
      status.textContent = text;
      bar.value = share * 100;
    };
    const poll = async () => {
      const answer = await fetch(address);
      if (!answer.ok) return;
      const { state, fraction, rows } = await answer.json();
      show(state === "cancelling" ? "Cancelling…" : `Scoring: ${rows.toLocaleString("en")} flows`, fraction);
    };
    const end = (text) => {
      clearInterval(polling);
      bar.hidden = status.hidden = cancel.hidden = true;
      form.querySelector("button[type=submit]").disabled = false;
      fault.hidden = !text;
      fault.textContent = text;
    };
    request.upload.onprogress = (event) => show(`Sending: ${Math.floor((event.loaded / event.total) * 100)} %`, event.loaded / event.total);
    request.upload.onload = () => {
      show("Scoring…", 0);
      polling = setInterval(poll, 500);
    };
    request.onload = () => {
      const place = request.getResponseHeader("Content-Location");
      if (request.status === 200 && place) return location.assign(place);
      const detail = request.response && request.response.getElementById("detail");
      end(detail ? detail.textContent : `The portal answered with ${request.status}.`);
    };
    request.onerror = () => end("The connection broke off; the file was not scored.");
    request.onabort = () => end("Cancelled; nothing was kept.");
    cancel.onclick = () => (polling ? fetch(address.replace("?", "/cancel?"), { method: "POST" }) : request.abort());
    request.open("POST", `${form.action}?ticket=${ticket}`);
    request.responseType = "document";
    request.setRequestHeader("Accept", "text/html");
    fault.hidden = true;
    bar.hidden = status.hidden = cancel.hidden = false;
    form.querySelector("button[type=submit]").disabled = true;
    request.send(new FormData(form));
  }
}

function previewFile(form) {
  const input = document.getElementById("file");
  const place = document.getElementById("preview");
  const schema = form.elements.schema;

  async function show() {
    const file = input.files[0];
    place.hidden = !file;
    if (!file) return;
    const asked = new URLSearchParams({ name: file.name, schema: schema.value });
    const answer = await fetch(`/api/v1/uploads/preview?${asked}`, { method: "POST", body: file.slice(0, LOOKED_AT) });
    const said = await answer.json();
    place.replaceChildren(Object.assign(document.createElement("p"), { textContent: said.says || said.detail }));
    place.firstChild.className = said.fits === false || !answer.ok ? "form-fault" : "muted";
    if (said.rows && said.rows.length) place.append(table(said.columns, said.rows));
  }

  function table(columns, rows) {
    const scroll = Object.assign(document.createElement("div"), { className: "scroll", tabIndex: 0 });
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", "First rows");
    const line = (cells, kind) => {
      const row = document.createElement("tr");
      for (const text of cells) row.append(Object.assign(document.createElement(kind), { textContent: text }));
      return row;
    };
    const made = document.createElement("table");
    made.append(document.createElement("thead"), document.createElement("tbody"));
    if (columns.length) made.tHead.append(line(columns, "th"));
    made.tBodies[0].append(...rows.map((cells) => line(cells, "td")));
    scroll.append(made);
    return scroll;
  }

  input.addEventListener("change", show);
  schema.addEventListener("change", show);
}

if (uploadForm) {
  followLargeFile(uploadForm);
  previewFile(uploadForm);
}
