// Drawing on canvases in the page's colours: sharp on every screen, light or dark.
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;
// Okabe and Ito's colours, told apart by the colour-blind.
const CURVES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c7a00", "#7f7f7f"];

function surface(canvas, height) {
  const ratio = window.devicePixelRatio || 1, width = Math.max(50, canvas.clientWidth || canvas.parentElement.clientWidth);
  height = height || Number(canvas.getAttribute("data-height") || canvas.getAttribute("height"));
  canvas.setAttribute("data-height", height);
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.height = height + "px";
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  return { pen, width, height };
}

// Events, bars, curves and slider share one axis of time: what is drawn of event `t` has its middle at `axisX`.
const GUTTER = 44, MARGIN = 10;
const axisX = (t, time, width) => GUTTER + ((t + 0.5) / time) * (width - GUTTER - MARGIN);
const axisEvent = (x, time, width) => Math.max(0, Math.min(time - 1, Math.floor(((x - GUTTER) / (width - GUTTER - MARGIN)) * time)));

// 0 … 1 to a colour from paper to deep blue (in the dark: from near black to light blue).
function shareColour(share) {
  const s = Math.min(1, Math.max(0, share)), from = isDark() ? [26, 31, 40] : [250, 249, 240], to = isDark() ? [140, 214, 255] : [8, 48, 107];
  return from.map((f, k) => Math.round(f + (to[k] - f) * s));
}

// -1 … 1 to a colour: blue below, orange above, paper at 0.
function signedColour(value) {
  const s = Math.min(1, Math.max(-1, value)), end = s < 0 ? (isDark() ? [86, 180, 255] : [0, 90, 170]) : isDark() ? [255, 158, 66] : [196, 78, 0];
  const from = isDark() ? [28, 33, 40] : [252, 252, 250], size = Math.sqrt(Math.abs(s));
  return from.map((f, k) => Math.round(f + (end[k] - f) * size));
}

const css = (rgb) => `rgb(${rgb[0]},${rgb[1]},${rgb[2]})`;

function heatMap(canvas, values, layer, at, unit) {
  const { pen, width, height } = surface(canvas), { count, mask } = layer.open, time = layer.time;
  const picture = new ImageData(time, count);
  for (let t = 0; t < time; t++)
    for (let u = 0; u < count; u++) {
      const value = values[t * count + u], k = 4 * (u * time + t);
      const rgb = values.signed ? signedColour(value / values.largest) : shareColour(value);
      picture.data.set([...rgb, mask[t] ? 255 : 40], k);
    }
  const small = document.createElement("canvas");
  small.width = time;
  small.height = count;
  small.getContext("2d").putImageData(picture, 0, 0);
  pen.imageSmoothingEnabled = time > width || count > height;
  pen.drawImage(small, 0, 0, width, height);
  pen.strokeStyle = colour("--accent");
  pen.lineWidth = 1.5;
  pen.strokeRect((at / time) * width, 0.75, Math.max(2, width / time), height - 1.5);
  if (unit >= 0) pen.strokeRect(0.75, (unit / count) * height, width - 1.5, Math.max(2, height / count));
}

// Black or white, whichever can be read on a colour: at least 4.58 to 1.
function inkOn(rgb) {
  const [r, g, b] = rgb.map((part) => (part <= 10 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
}

// Curves over time: [{values: t => number or null, colour, dash, points}], with the axis from low to high and a cursor at each of `marks`.
function curves(canvas, lines, time, low, high, marks) {
  const { pen, width, height } = surface(canvas), bottom = height - 16, top = 6;
  const x = (t) => axisX(t, time, width), y = (v) => bottom - ((v - low) / (high - low || 1)) * (bottom - top);
  pen.font = "11px " + colour("--sans");
  pen.fillStyle = colour("--quiet");
  pen.strokeStyle = colour("--line");
  pen.textAlign = "right";
  for (const value of [low, (low + high) / 2, high]) {
    stroke(pen, [[GUTTER, y(value)], [width - MARGIN, y(value)]], 1);
    pen.fillText(nice(value), GUTTER - 5, y(value) + 4);
  }
  pen.textAlign = "center";
  const ticks = Math.min(4, time - 1);
  for (let k = 0; k <= ticks; k++) {
    const t = ticks ? Math.round((k / ticks) * (time - 1)) : 0;
    pen.fillText(String(t), Math.min(width - 12, x(t)), height - 3);
  }
  for (const line of lines) {
    pen.strokeStyle = pen.fillStyle = line.colour;
    let part = [];
    for (let t = 0; t <= time; t++) {
      const value = t < time ? line.values(t) : null;
      if (value !== null) part.push([x(t), y(value)]);
      else if (part.length && !line.points) {
        stroke(pen, part, 2, line.dash);
        part = [];
      }
    }
    if (line.points) {
      stroke(pen, part, 2, line.dash);
      for (const place of part) dot(pen, ...place);
    }
    if (marks.length && line.values(marks[0]) !== null) dot(pen, x(marks[0]), y(line.values(marks[0])));
  }
  pen.strokeStyle = colour("--accent");
  for (const mark of marks) stroke(pen, [[x(mark), top], [x(mark), bottom]], 1, mark === marks[0] ? [] : [2, 3]);
  return { pen, x, y };
}

function stroke(pen, places, width, dash) {
  pen.lineWidth = width;
  pen.setLineDash(dash || []);
  pen.beginPath();
  places.forEach(([x, y], k) => (k ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.stroke();
  pen.setLineDash([]);
}

function dot(pen, x, y) {
  pen.beginPath();
  pen.arc(x, y, 3.5, 0, 7);
  pen.fill();
}

// A bar for each event, of the height `values[t] / largest`, in another colour below 0; above the largest of them the share that is
// left, and what the event was: `sign(pen, t, x)` draws it, `room` pixels high.
function bars(canvas, held, largest, at, room, sign) {
  const { pen, width, height } = surface(canvas), time = held.length, step = (width - GUTTER - MARGIN) / time, top = room + 16;
  const sizes = Array.from(held, Math.abs);
  pen.fillStyle = colour("--line");
  pen.fillRect(GUTTER, height - 1, width - GUTTER - MARGIN, 1);
  for (let t = 0; t < time; t++) {
    const size = Math.min(1, sizes[t] / largest) * (height - top), wide = Math.max(1, step - Math.min(2, step / 4));
    pen.fillStyle = colour(!held.counts ? "--remember" : held[t] < 0 ? "--lowers" : "--raises");
    pen.fillRect(axisX(t, time, width) - wide / 2, height - size, wide, size);
  }
  pen.fillStyle = colour("--accent");
  pen.fillRect(axisX(at, time, width) - Math.max(2, step) / 2, height - 2, Math.max(2, step), 2);
  const taken = [], ranked = Array.from(sizes.keys()).sort((one, other) => sizes[other] - sizes[one]);
  pen.textAlign = "center";
  for (const t of ranked.slice(0, 24)) {
    const x = Math.min(width - 32, Math.max(GUTTER, axisX(t, time, width)));
    if (sizes[t] < 0.08 * largest || taken.length > 4 || taken.some((other) => Math.abs(other - x) < 66)) continue;
    taken.push(x);
    sign(pen, t, x);
    pen.fillStyle = colour("--ink");
    pen.font = "11px " + colour("--sans");
    pen.fillText(percent(held.left[t]) + " left", x, height - Math.min(1, sizes[t] / largest) * (height - top) - 4);
  }
}

const percent = (share) => `${(100 * share).toFixed(share > 0.0005 && share < 0.1 ? 1 : 0)} %`;

function nice(value) {
  const size = Math.abs(value);
  return size !== 0 && size < 0.005 ? value.toExponential(0) : size < 10 ? value.toFixed(2) : size < 1000 ? value.toFixed(1) : value.toExponential(1);
}
