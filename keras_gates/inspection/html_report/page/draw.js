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

// Curves over time: [{values: t => number, colour, dash}], with the axis from low to high and a cursor.
function curves(canvas, lines, time, low, high, at) {
  const { pen, width, height } = surface(canvas), left = 40, bottom = height - 16, top = 6;
  const x = (t) => left + ((t + 0.5) / time) * (width - left - 4), y = (v) => bottom - ((v - low) / (high - low || 1)) * (bottom - top);
  pen.font = "11px " + colour("--sans");
  pen.fillStyle = colour("--quiet");
  pen.strokeStyle = colour("--line");
  pen.textAlign = "right";
  for (const value of [low, (low + high) / 2, high]) {
    pen.beginPath();
    pen.moveTo(left, y(value));
    pen.lineTo(width - 4, y(value));
    pen.stroke();
    pen.fillText(nice(value), left - 5, y(value) + 4);
  }
  pen.textAlign = "center";
  for (let k = 0; k <= 4; k++) {
    const t = Math.round((k / 4) * (time - 1));
    pen.fillText(String(t), Math.min(width - 12, x(t)), height - 3);
    if (time === 1) break;
  }
  for (const line of lines) {
    pen.strokeStyle = line.colour;
    pen.lineWidth = 2;
    pen.setLineDash(line.dash || []);
    pen.beginPath();
    let drawing = false;
    for (let t = 0; t < time; t++) {
      const value = line.values(t);
      if (value === null) drawing = false;
      else if (drawing) pen.lineTo(x(t), y(value));
      else {
        pen.moveTo(x(t), y(value));
        drawing = true;
      }
    }
    pen.stroke();
    pen.setLineDash([]);
    if (line.values(at) !== null) {
      pen.fillStyle = line.colour;
      pen.beginPath();
      pen.arc(x(at), y(line.values(at)), 3.5, 0, 7);
      pen.fill();
    }
  }
  pen.strokeStyle = colour("--accent");
  pen.lineWidth = 1;
  pen.beginPath();
  pen.moveTo(x(at), top);
  pen.lineTo(x(at), bottom);
  pen.stroke();
}

// A bar for each event, in another colour below 0, and above the largest what the event was: `sign(pen, t, x)` draws it, `room`
// pixels high.
function bars(canvas, signed, at, room, sign) {
  const values = signed.map(Math.abs);
  const { pen, width, height } = surface(canvas), time = values.length, step = width / time, largest = Math.max(...values, 1e-9);
  pen.fillStyle = colour("--line");
  pen.fillRect(0, height - 1, width, 1);
  for (let t = 0; t < time; t++) {
    const size = (values[t] / largest) * (height - room - 4);
    pen.fillStyle = colour(signed[t] < 0 ? "--forget" : "--remember");
    pen.fillRect(t * step + Math.min(1, step / 8), height - size, Math.max(1, step - Math.min(2, step / 4)), size);
  }
  pen.fillStyle = colour("--accent");
  pen.fillRect(at * step, height - 2, Math.max(2, step), 2);
  const taken = [], ranked = Array.from(values.keys()).sort((one, other) => values[other] - values[one]);
  for (const t of ranked.slice(0, 24)) {
    const x = Math.min(width - room, Math.max(room, (t + 0.5) * step));
    if (values[t] < 0.08 * largest || taken.length > 4 || taken.some((other) => Math.abs(other - x) < 2.2 * room)) continue;
    taken.push(x);
    sign(pen, t, x);
  }
}

function nice(value) {
  const size = Math.abs(value);
  return size !== 0 && size < 0.005 ? value.toExponential(0) : size < 10 ? value.toFixed(2) : size < 1000 ? value.toFixed(1) : value.toExponential(1);
}
