// The page itself: the current choice (example, layer, unit, event), and every view, redrawn when it changes.
let broken = 0;
window.addEventListener("error", () => (document.documentElement.dataset.errors = ++broken));
const BARS = {
  counts: "Bars: what each event left in the long-term memory (learned · f · … · f), weighted by its effect on the answer at the end: blue raises that answer, purple lowers it.",
  size: "Bars: the size of what each event left in the long-term memory, |learned · f · … · f|.",
};
const $ = (id) => document.getElementById(id);
const chosen = { example: 0, layer: 0, unit: -1, at: 0, gate: null };
let playing = null;

const story = () => content.examples[chosen.example];
const layer = () => story().layers[chosen.layer];
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

function exampleName(example, k) {
  const words = example.events.kind === "words" ? ": " + example.events.items.join(" ").slice(0, 34) : "";
  return `${k}${example.truth ? " (" + example.truth + ")" : ""}${words}`;
}

function choose(changes) {
  Object.assign(chosen, changes);
  chosen.example = Math.max(0, Math.min(content.examples.length - 1, chosen.example));
  chosen.layer = Math.max(0, Math.min(story().layers.length - 1, chosen.layer));
  const units = layer() ? layer().units.length : 0;
  chosen.unit = Math.max(-1, Math.min(units - 1, chosen.unit));
  chosen.at = Math.max(0, Math.min(steps() - 1, chosen.at));
  const anew = "example" in changes || "layer" in changes;
  if (anew) {
    fill($("example"), content.examples.map(exampleName), chosen.example);
    fill($("layer"), story().layers.map((one) => one.name + (one.direction === "backward" ? " (backward)" : "")), chosen.layer);
    fill($("unit"), units ? ["all", ...layer().units.map(String)] : ["none"], 0);
    $("at").max = steps() - 1;
    makeEvents();
    makeMaps();
  }
  if (units) $("unit").selectedIndex = chosen.unit + 1;
  draw();
}

const steps = () => (layer() ? layer().time : story().time);
const now = () => Math.min(chosen.at, story().time - 1);
const eventName = (t) => (story().events.kind === "words" && story().events.items[t] ? ` “${story().events.items[t]}”` : "");

function makeEvents() {
  const { events, time } = story(), box = $("events");
  box.replaceChildren();
  if (events.png && !events.picture) {
    events.picture = new Image();
    events.picture.onload = draw;
    events.picture.src = events.png;
  }
  if (events.kind === "words") {
    const words = made("div", null, { class: "words" });
    events.items.forEach((word, t) => words.append(made("span", word === "\n" ? "↵" : word, { "data-t": t })));
    box.append(words);
  } else if (events.kind === "pictures") {
    const film = made("div", null, { class: "film" }), size = 72, shown = (size * events.width) / events.height;
    for (let t = 0; t < time; t++) {
      const frame = made("div", null, { "data-t": t, title: `event ${t}` });
      Object.assign(frame.style, {
        width: shown + 6 + "px", height: size + 6 + "px", backgroundImage: `url(${events.png})`,
        backgroundSize: `${shown * time}px ${size}px`, backgroundPosition: `${-shown * t}px 0`,
      });
      film.append(frame);
    }
    box.append(film);
  } else {
    const canvas = made("canvas", null, { height: events.kind === "rows" ? 224 : 110 });
    box.append(canvas);
    for (const name of ["samples", "values"]) if (events[name] && events[name].base64) events[name] = unpacked(events[name]);
  }
  box.onclick = (click) => {
    const frame = click.target.closest("[data-t]");
    if (frame) choose({ at: Number(frame.dataset.t) });
    else if (click.target.tagName === "CANVAS" && events.kind !== "rows") choose({ at: Math.floor((click.offsetX / click.target.clientWidth) * steps()) });
  };
}

function drawEvents(held) {
  const { events, time } = story(), sizes = held && held.map(Math.abs), largest = held ? Math.max(...sizes, 1e-9) : 1;
  if (events.kind === "words" || events.kind === "pictures")
    for (const mark of $("events").firstChild.children) {
      const t = Number(mark.dataset.t);
      mark.className = t === now() ? "now" : t > now() && !(layer() && layer().direction === "backward") ? "later" : "";
      if (events.kind === "words") {
        const share = held ? sizes[t] / largest : 0, deep = share > 0.5;
        mark.style.backgroundColor = share > 0.01 ? css(shareColour(share)) : "";
        mark.style.color = share > 0.01 ? (deep !== isDark() ? "#fff" : "#14171c") : "";
        if (isDark() && share > 0.01 && !deep) mark.style.color = "#fff";
      }
      if (t === now()) {
        const strip = $("events"), centre = mark.offsetLeft - strip.offsetLeft - strip.clientWidth / 2;
        if (events.kind === "pictures") strip.scrollLeft = centre;
        else strip.scrollTop = mark.offsetTop - strip.offsetTop - strip.clientHeight / 2;
      }
    }
  else drawOther(events, sizes, largest, time);
}

// What event `t` was, above its bar at `x`.
function sign(pen, t, x) {
  const { events, time } = story();
  if (steps() !== time) return;
  if (events.kind === "pictures") {
    if (events.picture.complete) pen.drawImage(events.picture, t * events.width, 0, events.width, events.height, x - 14, 0, 28, 28);
    return;
  }
  pen.fillStyle = colour("--ink");
  pen.font = "12px " + colour("--sans");
  pen.textAlign = "center";
  pen.fillText(events.kind === "words" ? events.items[t].slice(0, 12) : t, x, 20);
}

function drawOther(events, held, largest, time) {
  const canvas = $("events").firstChild;
  if (events.kind === "wave") {
    const { pen, width, height } = surface(canvas), count = events.samples.shape[0], { values } = events.samples;
    for (let k = 0; k < count; k++) {
      pen.fillStyle = colour(k / count <= (chosen.at + 1) / steps() ? "--remember" : "--line");
      const low = values[2 * k], high = values[2 * k + 1];
      pen.fillRect((k / count) * width, ((1 - high) / 2) * height, Math.max(1, width / count), Math.max(1, ((high - low) / 2) * height));
    }
    pen.fillStyle = colour("--accent");
    pen.fillRect(((chosen.at + 0.5) / steps()) * width, 0, 1.5, height);
  } else if (events.kind === "series") {
    const { values, shape } = events.values, finite = values.length ? values : [0];
    const low = finite.reduce((a, b) => Math.min(a, b)), high = finite.reduce((a, b) => Math.max(a, b));
    const lines = Array.from({ length: Math.min(8, shape[1]) }, (_, f) => ({ colour: CURVES[f], values: (t) => values[t * shape[1] + f] }));
    curves(canvas, lines, time, low, high === low ? low + 1 : high, now());
  } else {
    const { pen, height } = surface(canvas), size = height / events.height, wide = size * events.width;
    pen.imageSmoothingEnabled = false;
    if (events.picture.complete) pen.drawImage(events.picture, 0, 0, wide, height);
    pen.fillStyle = colour("--remember");
    for (let t = 0; t < time; t++) {
      const row = events.per === "row" ? t : Math.floor(t / events.width), share = held ? held[t] / largest : 0;
      if (events.per === "row") pen.fillRect(wide + 10, row * size + 1, share * 200, size - 2);
      pen.globalAlpha = t > now() ? 0.65 : 0;
      if (events.per === "row") fade(pen, 0, row * size, wide, size);
      else fade(pen, (t % events.width) * size, row * size, size, size);
      pen.globalAlpha = 1;
    }
    pen.strokeStyle = colour("--accent");
    pen.lineWidth = 2.5;
    if (events.per === "row") pen.strokeRect(1, now() * size, wide - 2, size);
    else pen.strokeRect((now() % events.width) * size, Math.floor(now() / events.width) * size, size, size);
  }
}

function fade(pen, ...place) {
  const before = pen.fillStyle;
  pen.fillStyle = colour("--card");
  pen.fillRect(...place);
  pen.fillStyle = before;
}

function drawAnswers() {
  const { answers, truth, time } = story();
  if (!answers.open) answers.open = unpacked(answers.values).values;
  const count = answers.names.length, value = (t, k) => answers.open[t * count + k];
  const low = answers.probabilities ? 0 : Math.min(0, ...answers.open), high = answers.probabilities ? 1 : Math.max(1e-6, ...answers.open);
  $("answers").replaceChildren(
    ...answers.names.map((name, k) => {
      const row = made("div", null, { class: "bar" }), bar = made("i", "");
      const part = answers.probabilities ? value(now(), k) : (value(now(), k) - low) / (high - low || 1);
      bar.style.cssText = `width:${Math.max(0, Math.min(1, part)) * 100}%;background:${CURVES[k]}`;
      const place = made("span", null);
      place.append(bar);
      row.append(made("span", name, { title: name }), place, made("b", answers.probabilities ? `${(100 * part).toFixed(part > 0.0005 && part < 0.1 ? 1 : 0)} %` : nice(value(now(), k))));
      return row;
    }),
  );
  curves($("answers-over-time"), answers.names.map((_, k) => ({ colour: CURVES[k], values: (t) => value(t, k) })), time, low, high, now());
  $("truth").textContent = (truth ? `True answer at the end: ${truth}. ` : "") + (answers.more > 0 ? `${answers.more} more answers stay smaller at every event.` : "");
}

function makeMaps() {
  $("maps").replaceChildren();
  if (!layer()) return;
  for (const name of Object.keys(layer().arrays)) {
    const box = made("figure", null, { "data-name": name }), caption = made("figcaption", null), canvas = made("canvas", null, { height: 110 });
    const [title, meaning] = MEANING[name] || [name, "a factor of a custom gate"];
    caption.append(made("span", title, { title: meaning }), made("span", ""));
    const place = (event) => [
      Math.min(layer().time - 1, Math.floor((event.offsetX / canvas.clientWidth) * layer().time)),
      Math.min(opened(layer()).count - 1, Math.floor((event.offsetY / canvas.clientHeight) * opened(layer()).count)),
    ];
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${title}: ${meaning}`);
    canvas.onpointermove = (event) => {
      const [t, u] = place(event);
      $("reading").textContent = `${title}, unit ${layer().units[u]}, event ${t}${eventName(t)}: ${nice(opened(layer()).at(name, t, u))}`;
    };
    canvas.onclick = (event) => {
      const [t, u] = place(event);
      choose({ at: t, unit: u });
    };
    box.append(caption, canvas);
    $("maps").append(box);
  }
}

function drawMaps() {
  for (const box of $("maps").children) {
    const name = box.dataset.name, open = opened(layer());
    heatMap(box.lastChild, open[name], layer(), chosen.at, chosen.unit);
    box.firstChild.lastChild.textContent = `${chosen.unit < 0 ? "mean size" : "unit " + layer().units[chosen.unit]} now ${nice(open.at(name, chosen.at, chosen.unit))} · ${open[name].signed ? "±" + nice(open[name].largest) : "0 … 1"}`;
    box.classList.toggle("named", Boolean(chosen.gate && GATES[chosen.gate][2].includes(name)));
  }
}

function drawUnit() {
  if (!layer()) return;
  const open = opened(layer()), names = ["ltm", "stm", "forget", "ignore", "use"].filter((name) => open[name]);
  const lines = names.map((name, k) => ({ colour: CURVES[k], dash: k > 1 ? [5, 4] : [], values: (t) => (open.mask[t] ? open.at(name, t, chosen.unit) : null) }));
  let low = -0.1, high = 1;
  for (const line of lines)
    for (let t = 0; t < layer().time; t++) if (line.values(t) !== null) [low, high] = [Math.min(low, line.values(t)), Math.max(high, line.values(t))];
  curves($("unit-curves"), lines, layer().time, low, high, chosen.at);
  $("unit-title").textContent = chosen.unit < 0 ? "Mean size over all units, over time" : `Unit ${layer().units[chosen.unit]} over time`;
  $("legend").replaceChildren(
    ...names.map((name, k) => {
      const word = made("b", (k > 1 ? "┄ " : "— ") + MEANING[name][0]);
      word.style.color = CURVES[k];
      return word;
    }),
  );
}

function draw() {
  const one = layer(), held = one && one.adds_up ? stillHeld(one, chosen.at, chosen.unit) : null;
  $("at").value = chosen.at;
  $("now").textContent = `event ${chosen.at} of 0–${steps() - 1}${eventName(chosen.at)}`;
  $("held").hidden = !held;
  drawEvents(held && held.length === story().time ? held : null);
  if (held) bars($("held"), held, chosen.at, 30, sign);
  const left = one && one.units.length < one.all_units ? ` ${one.units.length} of ${one.all_units} units are shown: those whose long-term memory moves most.` : "";
  $("held-note").textContent = (held ? BARS[held.counts ? "counts" : "size"] : one ? "This layer's long-term memory cannot be split by events." : "This model has no recurrent layer.") + left;
  drawAnswers();
  drawCell();
  if (one) {
    drawMaps();
    drawUnit();
  }
}

// The cell as the article draws it: LTM above, STM below, the four gates between.
function drawCell() {
  const one = layer(), box = $("cell");
  const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.gate : null;
  if (!one || !one.arrays.ltm) {
    box.replaceChildren(made("p", one ? "This layer has no named gates: it has a short-term memory (hidden state) alone." : "No recurrent layer.", { class: "quiet" }));
    return;
  }
  const open = opened(one), at = chosen.at, seen = open.mask[at] > 0, before = one.direction === "backward" ? at + 1 : at - 1;
  const value = (name, t = at) => (open[name] && t >= 0 && t < one.time ? nice(open.at(name, t, chosen.unit)) : open[name] ? "0" : "?");
  const wide = (name, t = at) => (name && open[name] && t >= 0 && t < one.time ? 1.5 + 7 * Math.min(1, Math.abs(open.at(name, t, chosen.unit)) / open[name].largest) : 1.5);
  const wire = (path, name, t) => `<path class="wire" d="${path}" stroke-width="${wide(name, t).toFixed(1)}"/>`;
  const text = (x, y, words, kind = "", anchor = "middle") => `<text x="${x}" y="${y}" class="${kind}" text-anchor="${anchor}">${words}</text>`;
  const gate = (id, x, y) => `<g role="button" tabindex="0" data-gate="${id}" aria-label="${GATES[id][0]}: ${GATES[id][1]}"><rect x="${x}" y="${y}" width="120" height="52" rx="12" stroke="var(--${id})"/>${text(x + 60, y + 31, GATES[id][0])}</g>`;
  const article = one.formulation === "article";
  box.innerHTML =
    `<svg viewBox="0 0 820 300" role="group" aria-label="the cell">` +
    wire("M100 62 H210", "ltm", before) + wire("M330 62 H430", "kept") + wire("M550 62 H715", "ltm") +
    wire("M96 152 H620 V200", "stm", before) + wire("M96 226 C140 226 130 152 170 152") + wire("M270 152 V90", "stm", before) + wire("M350 152 V200", "stm", before) +
    wire("M420 226 C480 226 490 140 490 90", "learned") + wire(article ? "M392 62 V120 H668 V200" : "M668 62 V200", article ? "kept" : "ltm") + wire("M700 226 H715", "stm") +
    gate("forget", 210, 36) + gate("remember", 430, 36) + gate("learn", 300, 200) + gate("use", 580, 200) +
    text(52, 58, "LTM before", "small") + text(52, 77, value("ltm", before), "value") + text(762, 58, "LTM", "small") + text(762, 77, value("ltm"), "value") +
    text(52, 148, "STM before", "small") + text(52, 167, value("stm", before), "value") + text(762, 212, "STM", "small") + text(762, 231, value("stm"), "value") + text(762, 248, "prediction", "small") +
    text(52, 222, "event " + at, "value") + text(52, 240, seen ? "" : "skipped", "small") +
    text(270, 26, "f = " + value("forget"), "value") + text(372, 50, "kept", "small") + text(article ? 360 : 380, 82, value("kept"), "value") +
    text(360, 276, `N = ${value("candidate")}   i = ${value("ignore")}`, "value") + text(510, 214, "learned", "small") + text(510, 232, value("learned"), "value") +
    text(640, 276, `U = ${value("U")}   V = ${value("use")}`, "value") + `</svg>`;
  for (const element of box.querySelectorAll("[data-gate]")) {
    const say = () => explain(element.dataset.gate);
    element.onmouseenter = element.onfocus = say;
    if (element.dataset.gate === focused) element.focus({ preventScroll: true });
  }
  if (!chosen.gate) $("explanation").textContent = chosen.unit < 0 ? "Numbers are the mean size over all units; the width of an arrow shows the size of what it carries. Hover over or focus a gate." : `Numbers of unit ${one.units[chosen.unit]}. Hover over or focus a gate.`;
}

function explain(gate) {
  if (chosen.gate === gate) return;
  chosen.gate = gate;
  const parts = GATES[gate][2].map((name) => MEANING[name][0] + ": " + MEANING[name][1]);
  $("explanation").textContent = `${GATES[gate][0]}. ${GATES[gate][1]} ${parts.join(". ")}.`;
  drawMaps();
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
  "[": () => choose({ example: chosen.example - 1, at: 0 }), "]": () => choose({ example: chosen.example + 1, at: 0 }),
  "{": () => choose({ layer: chosen.layer - 1 }), "}": () => choose({ layer: chosen.layer + 1 }),
};
document.addEventListener("keydown", (key) => {
  if (key.ctrlKey || key.metaKey || key.altKey || key.target.tagName === "SELECT") return;
  if (key.target.tagName === "BUTTON" && key.key === " ") return;
  if (!KEYS[key.key]) return;
  key.preventDefault();
  KEYS[key.key]();
});
$("example").onchange = () => choose({ example: $("example").selectedIndex, at: 0 });
$("layer").onchange = () => choose({ layer: $("layer").selectedIndex });
$("unit").onchange = () => choose({ unit: $("unit").selectedIndex - 1 });
$("at").oninput = () => choose({ at: Number($("at").value) });
$("play").onclick = play;
$("held").onclick = (event) => choose({ at: Math.floor((event.offsetX / $("held").clientWidth) * steps()) });
$("choices").onsubmit = (event) => event.preventDefault();
window.addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

$("title").textContent = content.title;
$("model").textContent = content.model + (content.left_out ? ` · ${content.left_out} examples left out for size` : "");
choose({ example: 0, layer: 0, at: Infinity });
document.documentElement.dataset.ready = "yes";
