// The page itself: the current choice (example, layer, unit, event), its address, and every view, redrawn when it changes.
let broken = 0;
window.addEventListener("error", () => (document.documentElement.dataset.errors = ++broken));
window.addEventListener("unhandledrejection", () => (document.documentElement.dataset.errors = ++broken));
const BARS = {
  counts: "Bars: what each event left in the long-term memory (learned · f · … · f), weighted by its effect on the answer at the end: orange raises that answer, blue lowers it. One scale for the whole sequence.",
  size: "Bars: the size of what each event left in the long-term memory, |learned · f · … · f|. One scale for the whole sequence.",
};
const WORDS = "Words are coloured by their influence on the answer at the end: orange raises it, blue lowers it. ";
const $ = (id) => document.getElementById(id);
const chosen = { example: 0, layer: 0, unit: -1, at: 0, other: null, gate: null };
let playing = null, started = false, addressing = null;

const story = () => content.examples[chosen.example];
const layer = () => story().layers[chosen.layer];
const steps = () => (layer() ? layer().time : story().time);
const now = () => Math.min(steps() === story().time ? chosen.at : Math.floor(((chosen.at + 1) * story().time) / steps()) - 1, story().time - 1);
const eventName = (t) => (story().events.kind === "words" && story().events.items[t] ? ` “${visible(story().events.items[t])}”` : "");
const made = (kind, text, attributes = {}) => {
  const element = document.createElement(kind);
  if (text !== null) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};

function fill(select, texts, value) {
  select.replaceChildren(...texts.map((text, k) => made("option", text, { value: k })));
  select.selectedIndex = value;
  select.disabled = texts.length < 2;
}

// Words with spaces between them, characters without.
const joined = (items) => items.map((item) => (item === "\n" ? "↵" : item)).join(items.some((item) => item.length > 1) ? " " : "");

function exampleName(example, k) {
  const words = example.events.kind === "words" ? ": " + joined(example.events.items.slice(0, 34)).slice(0, 34) : "";
  return `${k}${example.truth ? " (" + example.truth + ")" : ""}${words}`;
}

function choose(changes) {
  Object.assign(chosen, changes);
  chosen.example = Math.max(0, Math.min(content.examples.length - 1, chosen.example));
  chosen.layer = Math.max(0, Math.min(story().layers.length - 1, chosen.layer));
  const units = layer() ? layer().units.length : 0;
  chosen.unit = Math.max(-1, Math.min(units - 1, chosen.unit));
  chosen.at = Math.max(0, Math.min(steps() - 1, chosen.at));
  if ("example" in changes || "layer" in changes) {
    fill($("example"), content.examples.map(exampleName), chosen.example);
    fill($("layer"), story().layers.map((one) => one.name + (one.direction === "backward" ? " (backward)" : "")), chosen.layer);
    fill($("unit"), units ? ["all", ...layer().units.map(String)] : ["none"], 0);
    $("at").max = steps() - 1;
    makeEvents();
    makeMaps();
  }
  if ("example" in changes || "layer" in changes || "other" in changes) makeComparison();
  if (units) $("unit").selectedIndex = chosen.unit + 1;
  draw();
  const address = here();
  $("link").href = address;
  clearTimeout(addressing);
  if (started) addressing = setTimeout(() => history.replaceState(null, "", address), 200);
}

// The address of what is shown, and back.
function here() {
  const parts = { example: chosen.example, t: chosen.at };
  if (chosen.layer) parts.layer = layer().name;
  if (chosen.unit >= 0) parts.unit = layer().units[chosen.unit];
  if (chosen.other !== null && chosen.other !== chosen.example) parts.next = chosen.other;
  return "#" + new URLSearchParams(parts);
}

function follow() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const number = (name, otherwise) => (/^\d+$/.test(parts.get(name) ?? "") ? Number(parts.get(name)) : otherwise);
  choose({ example: number("example", content.start), other: number("next", null), layer: 0, unit: -1, at: number("t", Infinity) });
  const named = story().layers.findIndex((one) => one.name === parts.get("layer"));
  if (named > 0) choose({ layer: named, at: number("t", Infinity) });
  if (layer() && parts.has("unit")) choose({ unit: layer().units.indexOf(number("unit", -1)) });
}

function makeEvents() {
  const one = story(), box = $("events");
  box.replaceChildren();
  ready(one.events);
  $("strip").hidden = !isStrip(one.events);
  if (one.events.kind === "words") box.append(makeWords(one));
  else if (one.events.kind === "rows") box.append(made("canvas", null, { height: 224 }));
}
$("events").onclick = (click) => {
  const mark = click.target.closest("[data-t]");
  if (mark) choose({ at: Number(mark.dataset.t) });
};

function draw() {
  const one = layer(), held = one && one.adds_up ? stillHeld(one, chosen.at, chosen.unit) : null, at = now(), events = story().events;
  const largest = held ? largestHeld(one, chosen.unit) : 1, same = held && held.length === story().time ? held : null;
  alignTime();
  $("now").textContent = `event ${chosen.at} of 0–${steps() - 1}${eventName(chosen.at)}`;
  $("held").hidden = !held;
  if (events.kind === "words") {
    drawWords($("events").firstChild, story(), at, one && one.direction === "backward");
    const mark = $("events").querySelector(".now");
    if (mark) $("events").scrollTop = mark.offsetTop - $("events").offsetTop - $("events").clientHeight / 2;
  } else if (events.kind === "rows") drawRows($("events").firstChild, story(), same, largest, at);
  else drawStrip($("strip"), story(), at, steps());
  if (held) bars($("held"), held, largest, chosen.at, 30, signOf(story(), steps()));
  const left = one && one.units.length < one.all_units ? ` ${one.units.length} of ${one.all_units} units are shown: those whose long-term memory moves most.` : "";
  const words = events.kind === "words" && influenceOf(story()) ? WORDS : "";
  $("held-note").textContent = words + (held ? BARS[held.counts ? "counts" : "size"] : one ? "This layer's long-term memory cannot be split by events." : "This model has no recurrent layer.") + left;
  drawAnswers();
  drawCell();
  drawComparison();
  drawAlike();
  if (one) {
    drawMaps();
    drawUnit();
  }
}

// The slider's button stands under the bar of its event: the button is 16 pixels wide.
function alignTime() {
  const slider = $("at"), room = $("timeline").clientWidth, width = axisWidth(story(), room), time = steps();
  $("axis").style.width = width + "px";
  slider.value = chosen.at;
  slider.style.marginLeft = axisX(0, time, width) - 8 + "px";
  slider.style.width = axisX(time - 1, time, width) - axisX(0, time, width) + 16 + "px";
  $("timeline").scrollLeft = axisX(chosen.at, time, width) - room / 2;
}

for (const id of ["strip", "held", "answers-over-time"]) {
  const canvas = $(id), time = () => (id === "answers-over-time" ? story().time : steps());
  canvas.onclick = (event) => choose({ at: axisEvent(event.offsetX, time(), canvas.clientWidth) });
  canvas.onpointermove = (event) => point(axisEvent(event.offsetX, time(), canvas.clientWidth));
}

function point(t) {
  const one = layer(), held = one && one.adds_up ? stillHeld(one, chosen.at, chosen.unit) : null;
  const share = held && t < held.length ? `, ${percent(held.left[t])} left in the long-term memory after event ${chosen.at}` : "";
  $("pointed").textContent = `event ${t}${eventName(t)}${share}`;
}

function play() {
  if (playing) clearInterval(playing);
  else {
    if (chosen.at === steps() - 1) choose({ at: 0 });
    playing = setInterval(() => (chosen.at < steps() - 1 ? choose({ at: chosen.at + 1 }) : play()), Math.max(30, Math.min(400, 12000 / steps())));
    $("play").textContent = "⏸";
    return;
  }
  playing = null;
  $("play").textContent = "▶";
}

const KEYS = {
  ArrowLeft: () => choose({ at: chosen.at - 1 }), ArrowRight: () => choose({ at: chosen.at + 1 }),
  Home: () => choose({ at: 0 }), End: () => choose({ at: steps() - 1 }), " ": play,
  ArrowUp: () => choose({ unit: chosen.unit - 1 }), ArrowDown: () => choose({ unit: chosen.unit + 1 }),
  "[": () => choose({ example: chosen.example - 1, at: Infinity }), "]": () => choose({ example: chosen.example + 1, at: Infinity }),
  "{": () => choose({ layer: chosen.layer - 1 }), "}": () => choose({ layer: chosen.layer + 1 }),
};
document.addEventListener("keydown", (key) => {
  if (key.ctrlKey || key.metaKey || key.altKey || key.target.tagName === "SELECT") return;
  if (["BUTTON", "A"].includes(key.target.tagName) && key.key === " ") return;
  if (!KEYS[key.key]) return;
  key.preventDefault();
  KEYS[key.key]();
});
$("example").onchange = () => choose({ example: $("example").selectedIndex, at: Infinity });
$("layer").onchange = () => choose({ layer: $("layer").selectedIndex });
$("unit").onchange = () => choose({ unit: $("unit").selectedIndex - 1 });
$("other").onchange = () => choose({ other: others()[$("other").selectedIndex] });
$("at").oninput = () => choose({ at: Number($("at").value) });
$("play").onclick = play;
$("png").onclick = savePicture;
$("choices").onsubmit = (event) => event.preventDefault();
window.addEventListener("resize", draw);
window.addEventListener("hashchange", follow);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

$("title").textContent = content.title;
$("model").textContent = content.model + (content.left_out ? ` · ${content.left_out} examples left out for size` : "");
$("version").textContent = `Written by keras_gates ${content.version}, keras_gates.report`;
follow();
started = true;
document.documentElement.dataset.ready = "yes";
