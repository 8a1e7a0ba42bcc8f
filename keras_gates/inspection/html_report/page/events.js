// Events as a person sees them: words coloured by their influence, pictures, a waveform, curves, or the rows of one picture.
const isStrip = (events) => events.kind !== "words" && events.kind !== "rows";

// Loads and unpacks what a kind of events needs, once.
function ready(events) {
  if (events.png && !events.picture) {
    events.picture = new Image();
    events.picture.onload = draw;
    events.picture.src = events.png;
  }
  for (const name of ["samples", "values"]) if (events[name] && events[name].base64) events[name] = unpacked(events[name]);
}

function influenceOf(one) {
  if (one.influence && one.influence.base64) one.influence = unpacked(one.influence).values;
  return one.influence;
}

function makeWords(one) {
  const words = made("div", null, { class: "words" });
  one.events.items.forEach((word, t) => words.append(made("span", word === "\n" ? "↵" : word, { "data-t": t })));
  return words;
}

function drawWords(words, one, at, backward) {
  const influence = influenceOf(one);
  for (const mark of words.children) {
    const t = Number(mark.dataset.t), later = t > at && !backward, size = influence ? influence[t] : 0;
    mark.className = t === at ? "now" : later ? "later" : "";
    const rgb = !later && Math.abs(size) > 0.02 ? signedColour(size) : null;
    mark.style.backgroundColor = rgb ? css(rgb) : "";
    mark.style.color = rgb ? inkOn(rgb) : "";
    mark.title = influence ? `event ${t}, influence ${nice(size)}` : `event ${t}`;
  }
}

// How wide the axis must be: a picture needs some pixels, or nobody sees what it is.
const axisWidth = (one, shown) => (one.events.kind === "pictures" ? Math.max(shown, GUTTER + MARGIN + 15 * one.time) : shown);

// Pictures, a waveform or curves over the axis of time.
function drawStrip(canvas, one, at, steps) {
  const { events, time } = one;
  ready(events);
  if (events.kind === "pictures") {
    const step = (Math.max(50, canvas.clientWidth) - GUTTER - MARGIN) / time, tall = Math.min(50, (step * events.height) / events.width);
    const { pen, width, height } = surface(canvas, Math.round(tall + 8)), wide = (tall * events.width) / events.height;
    pen.imageSmoothingEnabled = false;
    for (let t = 0; t < time; t++) {
      const x = axisX(t, time, width) - wide / 2, y = height - tall - 3;
      pen.globalAlpha = t > at ? 0.3 : 1;
      picture(pen, events, t, x + 0.5, y, wide - 1, tall);
      pen.globalAlpha = 1;
      if (t !== at) continue;
      pen.strokeStyle = colour("--accent");
      pen.lineWidth = 3;
      pen.strokeRect(x, y - 1, wide, tall + 2);
    }
  } else if (events.kind === "wave") {
    const { pen, width, height } = surface(canvas), count = events.samples.shape[0], { values } = events.samples;
    const room = width - GUTTER - MARGIN;
    for (let k = 0; k < count; k++) {
      pen.fillStyle = colour(k / count <= (at + 1) / steps ? "--remember" : "--line");
      const low = values[2 * k], high = values[2 * k + 1];
      pen.fillRect(GUTTER + (k / count) * room, ((1 - high) / 2) * height, Math.max(1, room / count), Math.max(1, ((high - low) / 2) * height));
    }
    pen.fillStyle = colour("--accent");
    pen.fillRect(axisX(at, steps, width) - 0.75, 0, 1.5, height);
  } else {
    const { values, shape } = events.values, finite = values.length ? values : [0];
    const low = finite.reduce((a, b) => Math.min(a, b)), high = finite.reduce((a, b) => Math.max(a, b));
    const lines = Array.from({ length: Math.min(8, shape[1]) }, (_, f) => ({ colour: CURVES[f], values: (t) => values[t * shape[1] + f] }));
    curves(canvas, lines, time, low, high === low ? low + 1 : high, [at]);
  }
}

function picture(pen, events, t, x, y, wide, tall) {
  if (events.picture.complete) pen.drawImage(events.picture, t * events.width, 0, events.width, events.height, x, y, wide, tall);
}

// One picture whose rows (or pixels) are the events, with the bars next to it.
function drawRows(canvas, one, held, largest, at) {
  const { events, time } = one, { pen, height } = surface(canvas), size = height / events.height, wide = size * events.width;
  ready(events);
  pen.imageSmoothingEnabled = false;
  if (events.picture.complete) pen.drawImage(events.picture, 0, 0, wide, height);
  for (let t = 0; t < time; t++) {
    const row = events.per === "row" ? t : Math.floor(t / events.width), share = held ? Math.min(1, Math.abs(held[t]) / largest) : 0;
    pen.fillStyle = colour(held && held.counts ? (held[t] < 0 ? "--lowers" : "--raises") : "--remember");
    if (events.per === "row") pen.fillRect(wide + 10, row * size + 1, share * 200, size - 2);
    if (t <= at) continue;
    pen.globalAlpha = 0.65;
    pen.fillStyle = colour("--card");
    if (events.per === "row") pen.fillRect(0, row * size, wide, size);
    else pen.fillRect((t % events.width) * size, row * size, size, size);
    pen.globalAlpha = 1;
  }
  pen.strokeStyle = colour("--accent");
  pen.lineWidth = 2.5;
  if (events.per === "row") pen.strokeRect(1, at * size, wide - 2, size);
  else pen.strokeRect((at % events.width) * size, Math.floor(at / events.width) * size, size, size);
}

// What event `t` of an example was, above its bar at `x`.
function signOf(one, steps) {
  return (pen, t, x) => {
    const { events, time } = one;
    if (steps !== time) return;
    if (events.kind === "pictures") {
      pen.imageSmoothingEnabled = false;
      picture(pen, events, t, x - 14, 0, 28, 28);
      return;
    }
    pen.fillStyle = colour("--ink");
    pen.font = "12px " + colour("--sans");
    pen.fillText(events.kind === "words" ? events.items[t].slice(0, 12) : t, x, 12);
  };
}
