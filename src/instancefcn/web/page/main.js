// The page: what was chosen, and what follows from it on the screen.

import { get, post, save, upload } from "./api.js";
import { byId, element } from "./elements.js";
import { List } from "./list.js";
import { Photograph } from "./photograph.js";
import { Review } from "./review.js";
import { Stage } from "./stage.js";
import { Why } from "./why.js";

const POLL = 300; // milliseconds between questions how far loading is
const choice = { threshold: null, number: null, exclusive: false };
const photographs = [];
const why = new Why(byId("why"), (rank) => askWhy(why.by, { rank, pixel: why.pixel }));
let server, stages, lists, review;
let current = null;
let lit = null; // [model, number]
let jobs = 0;

// -- what is going on ---------------------------------------------------------------------------------------------

function say(text) {
  byId("status").textContent = text;
}

function complain(error) {
  const close = element("button", { type: "button", "aria-label": "Close this message" }, "✕");
  const message = element("div", { class: "message" }, element("span", {}, error.message), close);
  close.addEventListener("click", () => message.remove());
  byId("messages").append(message);
  if (!error.status && error.status !== 0) console.error(error);
}

async function busy(work) {
  jobs += 1;
  byId("progress").hidden = false;
  try {
    return await work();
  } catch (error) {
    complain(error);
    return null;
  } finally {
    jobs -= 1;
    byId("progress").hidden = jobs === 0;
  }
}

// -- photographs --------------------------------------------------------------------------------------------------

async function add(files) {
  const isSetUp = await begun; // a person may be faster than the server's first answer
  if (!isSetUp || server.folder) return;
  for (const file of files) {
    const table = await busy(async () => {
      say(`Reading ${file.name} …`);
      return upload(file, server.most_bytes);
    });
    if (table) await open(table);
    else say("");
  }
}

async function open(table) {
  const photograph = new Photograph(table);
  photographs.push(photograph);
  await choose(photograph);
}

async function choose(photograph) {
  current = photograph;
  why.close();
  byId("work").hidden = false;
  byId("drop").classList.add("small");
  byId("title").textContent = photograph.name;
  drawStrip();
  draw();
  await load(photograph);
}

// Nothing to show: a photograph that can't be read.
function clear(name) {
  current = null;
  why.close();
  byId("work").hidden = false;
  byId("title").textContent = name;
  byId("download").disabled = true;
  for (const by of stages.keys()) {
    stages[by].clear();
    lists[by].show({ width: 1, height: 1 }, [], new Set(), true);
  }
  light(null);
}

async function load(photograph) {
  const { exclusive } = choice;
  await busy(async () => {
    for (const [by, stage] of stages.entries()) {
      if (photograph.of(by, exclusive)) continue;
      stage.busy.hidden = false;
      if (server.ready) say(`Looking at ${photograph.name} …`);
      const start = performance.now();
      try {
        await photograph.load(by, exclusive);
      } finally {
        stage.busy.hidden = true;
      }
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      const count = photograph.shown(by, choice).length;
      const objects = `${count} object${count === 1 ? "" : "s"}`;
      if (current === photograph) say(`${photograph.name}: ${objects}, ${seconds} s`);
    }
  });
  if (current === photograph) draw();
}

function drawStrip() {
  const strip = byId("photographs");
  strip.hidden = photographs.length < 2 || Boolean(server.folder);
  byId("every-label").hidden = photographs.length < 2;
  strip.replaceChildren(
    ...photographs.map((one) => {
      const picture = element("img", { src: one.picture, alt: "" });
      const button = element("button", { type: "button", class: "thumbnail" }, picture, element("span", {}, one.name));
      if (one === current) button.setAttribute("aria-current", "true");
      button.addEventListener("click", () => choose(one));
      return button;
    }),
  );
}

// -- objects ------------------------------------------------------------------------------------------------------

function draw() {
  if (!current) return;
  let most = 1;
  for (const by of stages.keys()) {
    const found = current.of(by, choice.exclusive);
    const shown = current.shown(by, choice);
    const rejected = current.rejectedOf(by, choice.exclusive);
    stages[by].show(current, shown, rejected);
    lists[by].show(current, shown, rejected, found?.calibrated ?? true);
    if (!found) continue;
    most = Math.max(most, current.shown(by, { ...choice, number: null }).length);
    byId("threshold").min = Math.min(0.02, found.lowest).toFixed(2);
    if (by > 0) continue;
    byId("threshold").value = choice.threshold ?? found.threshold;
    byId("threshold-label").textContent = found.calibrated ? "Least chance" : "Least score";
    byId("threshold-value").textContent =
      choice.threshold === null ? `${found.threshold.toFixed(2)}, the checkpoint’s` : choice.threshold.toFixed(2);
  }
  byId("usual").disabled = choice.threshold === null;
  const number = byId("number");
  number.max = most;
  number.value = choice.number ?? most;
  byId("number-value").textContent = choice.number === null ? `all ${most}` : String(choice.number);
  byId("download").disabled = !current.of(0, choice.exclusive);
  light(lit);
  review?.draw(current);
}

function light(which) {
  lit = which;
  for (const by of stages.keys()) {
    const number = which && which[0] === by ? which[1] : null;
    stages[by].light(number);
    lists[by].light(number);
  }
}

function toggle(by, number) {
  current.toggle(by, choice.exclusive, number);
  draw();
}

async function askWhy(by, asked) {
  if (!current?.of(by, choice.exclusive)) return;
  const photograph = current;
  why.wait();
  const table = await busy(() =>
    post(`/api/photographs/${photograph.key}/why`, { by, exclusive: choice.exclusive, ...asked }),
  );
  if (!table || photograph !== current) return why.close();
  why.show(table, photograph, by);
  stages[by].mark(table.pixel);
}

function setMode(isWhy) {
  byId("mode-why").setAttribute("aria-pressed", String(isWhy));
  byId("mode-keep").setAttribute("aria-pressed", String(!isWhy));
  byId("mode-hint").textContent = isWhy
    ? "Click a pixel, or move the cross by the arrow keys and press Enter."
    : "Click an object to reject or keep it. Shift + click: why.";
  for (const stage of stages) stage.setWhy(isWhy);
}

// -- what a person does -------------------------------------------------------------------------------------------

function makeStages() {
  const titles = server.models.length > 1 ? server.models : [""];
  const events = (by) => ({
    hover: (number) => light(number === null ? null : [by, number]),
    toggle: (number) => toggle(by, number),
    why: (number) => askWhy(by, { number }),
    cross: (pixel) => say(`The cross is at pixel ${pixel.join(", ")}`),
    click: (number, pixel, isWhy) => {
      if (isWhy) askWhy(by, { pixel });
      else if (number !== null) toggle(by, number);
    },
  });
  stages = titles.map((title, by) => new Stage(title, events(by)));
  lists = titles.map((title, by) => new List(title, events(by)));
  byId("stages").classList.toggle("two", titles.length > 1);
  byId("stages").replaceChildren(...stages.map((stage) => stage.figure));
  byId("lists").replaceChildren(...lists.map((list) => list.frame));
}

async function setExclusive(exclusive) {
  choice.exclusive = exclusive;
  byId("exclusive").checked = exclusive;
  draw();
  if (current) await load(current);
}

async function download() {
  const by = server.models.length > 1 ? Number(byId("of-model").value) : 0;
  const { exclusive } = choice;
  if (!current.of(by, exclusive)) await load(current);
  const chosen = (byId("every").checked ? photographs : [current]).filter((one) => one.of(by, exclusive));
  if (!chosen.length) return; // the page says why nothing was found
  const table = {
    form: byId("form").value,
    photographs: chosen.map((one) => ({ key: one.key, by, exclusive, kept: one.kept(by, choice) })),
  };
  const made = await busy(() => save("/api/download", table));
  if (made) byId("notes").textContent = [`Saved ${made.name}.`, ...made.notes].join(" ");
}

function listen() {
  byId("files").addEventListener("change", async (event) => {
    await add([...event.target.files]);
    event.target.value = "";
  });
  const drop = byId("drop");
  window.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  window.addEventListener("dragleave", () => drop.classList.remove("over"));
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    add([...event.dataTransfer.files]);
  });
  window.addEventListener("paste", (event) => add([...event.clipboardData.files]));
  byId("threshold").addEventListener("input", (event) => {
    choice.threshold = Number(event.target.value);
    draw();
  });
  byId("usual").addEventListener("click", () => {
    choice.threshold = null;
    draw();
  });
  byId("number").addEventListener("input", (event) => {
    choice.number = event.target.value === event.target.max ? null : Number(event.target.value);
    draw();
  });
  byId("exclusive").addEventListener("change", (event) => setExclusive(event.target.checked));
  byId("mode-keep").addEventListener("click", () => setMode(false));
  byId("mode-why").addEventListener("click", () => setMode(true));
  byId("download").addEventListener("click", download);
  document.addEventListener("keydown", key);
}

function key(event) {
  const target = event.target;
  const isBox = target.type === "checkbox";
  const takesText = target.tagName === "SELECT" || (target.tagName === "INPUT" && !isBox);
  if (event.ctrlKey || event.metaKey || event.altKey || takesText || (!current && !review)) return;
  const [by, number] = lit ?? [0, null];
  const isButton = ["BUTTON", "SUMMARY", "A", "LABEL"].includes(target.tagName);
  const actions = {
    ArrowDown: () => lists[by].step(1),
    ArrowUp: () => lists[by].step(-1),
    ArrowLeft: () => step(-1),
    ArrowRight: () => step(1),
    x: () => number !== null && toggle(by, number),
    w: () => (number === null ? setMode(true) : askWhy(by, { number })),
    e: () => setExclusive(!choice.exclusive),
    Escape: () => (why.isOpen ? why.close() : setMode(false)),
    n: () => review?.nextWithout(),
    Enter: () => !isButton && review?.save(),
  };
  if (event.key === " " && !isBox && !isButton && number !== null) actions[" "] = actions.x;
  if (!(event.key in actions) || (event.key === "Enter" && (isButton || !review || event.repeat))) return;
  event.preventDefault();
  actions[event.key]();
}

function step(by) {
  if (review) return review.step(by);
  const place = photographs.indexOf(current) + by;
  return photographs[place] && choose(photographs[place]);
}

// -- the start ----------------------------------------------------------------------------------------------------

function makeExamples() {
  byId("examples").hidden = !server.examples.length;
  byId("examples").querySelector(".row").replaceChildren(
    ...server.examples.map((name, place) => {
      const picture = element("img", { src: `/api/examples/${place}/picture`, alt: "" });
      const button = element("button", { type: "button", class: "thumbnail" }, picture, element("span", {}, name));
      button.addEventListener("click", async () => {
        const table = await busy(() => post(`/api/examples/${place}`));
        if (table) await open(table);
      });
      return button;
    }),
  );
}

function makeForms() {
  byId("form").replaceChildren(...server.forms.map((form) => element("option", { value: form }, form)));
  if (server.models.length < 2) return;
  const models = server.models.map((name, by) => element("option", { value: by }, name));
  byId("form").after(element("select", { id: "of-model", "aria-label": "Objects of which checkpoint" }, ...models));
}

async function waitUntilReady() {
  let failures = 0;
  while (!server.ready && !server.error) {
    say(`${server.stage} …`);
    await new Promise((resolve) => setTimeout(resolve, POLL));
    try {
      server = { ...server, ...(await get("/api/state")) };
    } catch (error) {
      failures += 1;
      if (failures > 20) throw error;
    }
  }
  if (server.error) throw new Error(server.error);
  if (byId("status").textContent.endsWith("…")) say("Ready");
}

async function setUp() {
  server = await get("/api/state");
  makeStages();
  makeExamples();
  makeForms();
  setMode(false);
  if (server.folder) {
    document.querySelector("main").classList.add("reviewing");
    review = new Review(server.folder, {
      photograph: (table) => new Photograph(table), shown: () => current, choose, clear, complain, choice, busy, say,
    });
    byId("drop").hidden = true;
    busy(() => review.begin());
  }
  busy(waitUntilReady);
  return true;
}

const begun = busy(setUp);
listen();
