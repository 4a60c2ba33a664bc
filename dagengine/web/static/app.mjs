// Live updates and small conveniences of the pages. Everything works without this module.
//
// All tabs of a browser share one stream of events. The module runs twice: as a SharedWorker, which
// holds the stream, and in each tab. Without SharedWorker, the tab that holds a Web Lock has the
// stream, and passes events to the others through a BroadcastChannel.

const EVENTS_PATH = "/ui/events";
const RETRY_MS = 1000;
const MAX_RETRY_MS = 10000;
const MIN_REFRESH_MS = 400; // between the end of one refresh and the begin of the next
const ACTIVE_REFRESH_MS = 2000; // of a page with bars that grow
const ELSEWHERE_REFRESH_MS = 5000;

// --- the stream ---------------------------------------------------------------------------------

// Parses a text/event-stream: calls `onEvent(name, id, data)` for each event.
async function readEvents(body, onEvent) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = {};
      for (const line of block.split("\n")) {
        const [, name, content] = /^([a-z]*): ?(.*)$/.exec(line) ?? [];
        if (name) fields[name] = content;
      }
      if (fields.data !== undefined) onEvent(fields.event ?? "", fields.id ?? "", fields.data);
    }
  }
}

// Holds the one stream for all tabs. `send(tab, message)` delivers a message to a tab.
class Hub {
  constructor(send) {
    this.send = send;
    this.tabs = new Map(); // tab -> ids of the DAGs that it shows
    this.numbers = new Map(); // id -> number of the last event
    this.shown = null;
    this.abort = null;
    this.state = "reconnecting";
    this.retryMs = RETRY_MS;
    this.wasLost = false;
    this.owner = ""; // URL of the controller that has the stream, if it is another one
  }

  show(tab, dags) {
    this.tabs.set(tab, new Set(Object.keys(dags)));
    for (const [id, number] of Object.entries(dags)) {
      const known = this.numbers.get(id);
      if (known === undefined) this.numbers.set(id, number);
      else if (known > number) this.send(tab, { type: "refresh" });
    }
    this.send(tab, { type: "state", state: this.state, owner: this.owner });
    this.update();
  }

  remove(tab) {
    if (this.tabs.delete(tab)) this.update();
  }

  // Opens the stream again if the tabs show other DAGs than before.
  update() {
    const ids = new Set([...this.tabs.values()].flatMap((dags) => [...dags]));
    for (const id of this.numbers.keys()) if (!ids.has(id)) this.numbers.delete(id);
    const shown = this.tabs.size ? [...ids].sort().join(" ") : null;
    if (shown === this.shown) return;
    this.shown = shown;
    this.abort?.abort();
    if (shown !== null) this.run(shown);
  }

  async run(shown) {
    while (this.shown === shown) {
      this.abort = new AbortController();
      try {
        if (!(await this.read(this.abort.signal))) return;
      } catch {
        // The connection is lost, or was closed for another list of DAGs.
        if (this.shown === shown) this.setState("reconnecting");
      }
      if (this.shown !== shown) return;
      this.wasLost = true;
      if (this.state === "elsewhere") {
        await new Promise((resolve) => setTimeout(resolve, ELSEWHERE_REFRESH_MS));
        continue;
      }
      this.setState("reconnecting");
      await new Promise((resolve) => setTimeout(resolve, this.retryMs));
      this.retryMs = Math.min(2 * this.retryMs, MAX_RETRY_MS);
    }
  }

  // Reads the stream to its end; returns whether to open it again.
  async read(signal) {
    const query = new URLSearchParams();
    for (const [id, number] of this.numbers) query.append("dag", `${id}:${number}`);
    const response = await fetch(`${EVENTS_PATH}?${query}`, { signal, cache: "no-store" });
    if (response.status === 401 || response.status === 403) return this.end({ type: "logged-out" });
    if (response.status === 410) return this.end({ type: "reload" });
    if (response.status === 421) {
      // Another controller has the events: the pages are refreshed until this one has them.
      this.setState("elsewhere", response.headers.get("Dagengine-Owner") ?? "");
      this.sendAll({ type: "refresh" });
      return true;
    }
    if (!response.ok) throw new Error(response.statusText);
    this.retryMs = RETRY_MS;
    this.setState("live");
    if (this.wasLost) this.sendAll({ type: "refresh" });
    this.wasLost = false;
    let isOver = false;
    await readEvents(response.body, (name, id, data) => {
      if (name === "logged-out") isOver = true;
      this.receive(name, id, data);
    });
    return !isOver;
  }

  receive(name, id, data) {
    const [dag, text] = id.split(":");
    const number = Number(text);
    if (name === "logged-out") this.end({ type: "logged-out" });
    else if (name === "changed") this.sendAll({ type: "refresh" });
    else if (dag && number > (this.numbers.get(dag) ?? Infinity)) {
      this.numbers.set(dag, number);
      this.sendAll({ type: "event", name, dag, number, data: JSON.parse(data) });
    }
  }

  end(message) {
    this.shown = undefined; // a further tab opens the stream again
    this.sendAll(message);
    return false;
  }

  setState(state, owner = "") {
    if (state === this.state && owner === this.owner) return;
    this.state = state;
    this.owner = owner;
    this.sendAll({ type: "state", state, owner });
  }

  sendAll(message) {
    for (const tab of this.tabs.keys()) this.send(tab, message);
  }
}

// --- SharedWorker -------------------------------------------------------------------------------

function runWorker() {
  const hub = new Hub((port, message) => port.postMessage(message));
  self.onconnect = ({ ports: [port] }) => {
    port.onmessage = ({ data }) => {
      if (data.type === "hello") {
        // The tab holds this lock as long as it lives.
        navigator.locks.request(data.lock, () => hub.remove(port));
      } else if (data.type === "show") hub.show(port, data.dags);
      else hub.remove(port);
    };
  };
}

// --- tabs ---------------------------------------------------------------------------------------

// Returns a function that sends the DAGs on display; `onMessage` receives messages of the hub.
function connectToWorker(onMessage) {
  const worker = new SharedWorker(import.meta.url, { type: "module", name: "dagengine" });
  const lock = `dagengine-tab-${crypto.randomUUID()}`;
  worker.port.onmessage = ({ data }) => onMessage(data);
  navigator.locks.request(lock, () => {
    worker.port.postMessage({ type: "hello", lock });
    return new Promise(() => {});
  });
  addEventListener("pagehide", () => worker.port.postMessage({ type: "bye" }));
  return (dags) => worker.port.postMessage({ type: "show", dags });
}

function connectToTabs(onMessage) {
  const channel = new BroadcastChannel("dagengine");
  const own = crypto.randomUUID();
  let hub = null;
  let shown = {};
  const post = (message) => channel.postMessage(message);
  channel.onmessage = ({ data }) => {
    if (data.to === own) onMessage(data.message);
    else if (data.type === "who") post({ type: "show", tab: own, dags: shown });
    else if (hub && data.type === "show") hub.show(data.tab, data.dags);
    else if (hub && data.type === "bye") hub.remove(data.tab);
  };
  navigator.locks.request("dagengine-stream", () => {
    hub = new Hub((tab, message) => {
      if (tab === own) onMessage(message);
      else post({ to: tab, message });
    });
    hub.show(own, shown);
    post({ type: "who" });
    return new Promise(() => {});
  });
  addEventListener("pagehide", () => post({ type: "bye", tab: own }));
  return (dags) => {
    shown = dags;
    if (hub) hub.show(own, dags);
    else post({ type: "show", tab: own, dags });
  };
}

function runTab() {
  document.documentElement.classList.add("js");
  const live = () => document.getElementById("live");
  if (live() === null) return;

  // One refresh at a time; a large page is refreshed less often. An event brings a later one forward.
  let pauseMs = MIN_REFRESH_MS;
  let endedAt = 0;
  let dueAt = 0;
  let timer = 0;
  let isRefreshing = false;
  let isStale = false;
  function refresh(afterMs = pauseMs) {
    if (isRefreshing) {
      isStale = true;
      return;
    }
    const now = performance.now();
    const due = Math.max(now, endedAt + afterMs);
    if (timer && due >= dueAt) return;
    clearTimeout(timer);
    dueAt = due;
    timer = setTimeout(load, due - now);
  }
  async function load() {
    timer = 0;
    isRefreshing = true;
    isStale = false;
    const begin = performance.now();
    const follows = document.getElementById("follow")?.checked;
    const done = new Promise((resolve) => {
      document.addEventListener("htmx:finally:request", resolve, { once: true });
      setTimeout(resolve, 60000);
    });
    window.htmx.trigger(live(), "dagengine:refresh");
    await done;
    await new Promise((resolve) => setTimeout(resolve, 20));
    isRefreshing = false;
    endedAt = performance.now();
    // The response was another page, such as the log-in form.
    if (live() === null) return location.reload();
    pauseMs = Math.max(MIN_REFRESH_MS, 4 * (endedAt - begin));
    if (follows) scrollLog();
    afterRefresh();
    if (isStale) refresh();
  }

  function afterRefresh() {
    const text = live()?.dataset.dags ?? "";
    if (text !== announced) announce(text);
    if (live()?.dataset.active === "true") refresh(Math.max(pauseMs, ACTIVE_REFRESH_MS));
  }

  const status = document.getElementById("connection");
  function showState(state, owner) {
    status.dataset.state = state;
    status.textContent = status.dataset[state] ?? "";
    if (!owner) return;
    const link = document.createElement("a");
    link.href = new URL(location.pathname + location.search, owner).href;
    link.textContent = status.dataset.owner;
    status.append(" ", link);
  }

  function onMessage(message) {
    if (message.type === "state") showState(message.state, message.owner);
    else if (message.type === "refresh") refresh();
    else if (message.type === "logged-out") location.reload();
    else if (message.type === "reload") location.reload();
    else if (message.dag in parseDags(live()?.dataset.dags ?? "")) {
      document.dispatchEvent(new CustomEvent("dagengine:event", { detail: message }));
      refresh();
    }
  }

  function parseDags(text) {
    const pairs = text.split(" ").filter(Boolean).map((pair) => pair.split(":"));
    return Object.fromEntries(pairs.map(([id, number]) => [id, Number(number)]));
  }

  const send = window.SharedWorker ? connectToWorker(onMessage) : connectToTabs(onMessage);
  let announced = null;
  function announce(text) {
    // Only other DAGs matter: the hub counts the events itself.
    const ids = Object.keys(parseDags(text)).join(" ");
    if (announced !== null && ids === Object.keys(parseDags(announced)).join(" ")) return;
    announced = text;
    send(parseDags(text));
  }
  announce(live().dataset.dags);
  afterRefresh();
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });

  function scrollLog() {
    const log = document.getElementById("log-lines");
    if (log) log.scrollTop = log.scrollHeight;
  }
  document.addEventListener("change", (event) => {
    if (event.target.id === "follow" && event.target.checked) scrollLog();
  });
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).innerText);
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), 1500);
  });
}

if (typeof document === "undefined") runWorker();
else runTab();
