// The data of the page: arrays decoded from base64, and what the gates' numbers mean.
const content = JSON.parse(document.getElementById("data").textContent);

const MEANING = {
  ignore: ["ignore factor", "i_t: how much of the candidate is learned; 0 ignores this event, 1 ignores nothing of it"],
  candidate: ["candidate", "N_t = tanh(W_n [STM, E] + b_n): what could be learned of this event"],
  learned: ["learned", "N_t · i_t: what the learn gate adds to the long-term memory"],
  forget: ["forget factor", "f_t: how much of the long-term memory is kept; 0 forgets all, 1 forgets nothing"],
  kept: ["kept", "LTM · f_t: what the forget gate lets through of the long-term memory"],
  ltm: ["long-term memory", "LTM_t = kept + learned, after this event: the cell state"],
  U: ["U", "U_t: what could be used, of the long-term memory (in the article's form of what was kept)"],
  use: ["use factor", "V_t: how much of U is used now; 0 uses nothing, 1 uses all"],
  stm: ["short-term memory", "STM_t = U_t · V_t, after this event: the hidden state, and the layer's output"],
};
const GATES = {
  learn: ["Learn gate", "Takes STM and the event, makes a candidate of them, and ignores a part of it.", ["candidate", "ignore", "learned"]],
  forget: ["Forget gate", "Multiplies the long-term memory by the forget factor; what is left is kept.", ["forget", "kept"]],
  remember: ["Remember gate", "Adds what was kept and what was learned: the new long-term memory.", ["kept", "learned", "ltm"]],
  use: ["Use gate", "Decides what of the memories is used now: the new short-term memory, which is also the layer's output.", ["U", "use", "stm"]],
};

function halfFloat(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

// {kind, shape, base64} to {shape, values}: the inverse of `packed` in build.py.
function unpacked(packed) {
  const text = atob(packed.base64), bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  let values;
  if (packed.kind === "share") values = Float32Array.from(bytes, (byte) => byte / 255);
  else if (packed.kind === "signed") values = Float32Array.from(new Int8Array(bytes.buffer), (byte) => (byte / 127) * packed.scale);
  else values = Float32Array.from(new Uint16Array(bytes.buffer), halfFloat);
  return { shape: packed.shape, values, kind: packed.kind };
}

// A layer of an example, unpacked when it is first looked at.
function opened(layer) {
  if (layer.open) return layer.open;
  const open = { mask: unpacked(layer.mask).values, count: layer.units.length };
  for (const [name, packed] of Object.entries(layer.arrays)) {
    open[name] = unpacked(packed).values;
    let largest = 1e-6;
    for (const value of open[name]) largest = Math.max(largest, Math.abs(value));
    open[name].largest = largest;
    open[name].signed = !(name === "ignore" || name === "forget" || name === "use") || packed.kind !== "share";
  }
  open.weights = layer.weights ? unpacked(layer.weights).values : null;
  // A unit's number, or for unit -1 the mean size of all units' numbers.
  open.at = (name, t, unit) => {
    if (unit >= 0) return open[name][t * open.count + unit];
    let sum = 0;
    for (let u = 0; u < open.count; u++) sum += Math.abs(open[name][t * open.count + u]) / open.count;
    return sum;
  };
  layer.open = open;
  return open;
}

// What of each event is in the long-term memory after event `at`, learned · f · … · f. Of all units: by how much it counts for the
// answer at the end (positive: raises it, negative: lowers it), if that is known; else its size. `held.left`: the share that is left.
function stillHeld(layer, at, unit) {
  const open = opened(layer), held = new Float32Array(layer.time), left = new Float32Array(open.count).fill(1);
  const step = layer.direction === "backward" ? 1 : -1, first = at * open.count;
  held.counts = countsForAnswer(layer, unit);
  held.left = new Float32Array(layer.time);
  for (let s = at; s >= 0 && s < layer.time; s += step) {
    if (!open.mask[s]) continue;
    let now = 0, then = 0;
    for (let u = 0; u < open.count; u++) {
      const k = s * open.count + u, weight = held.counts ? open.weights[first + u] : unit < 0 || u === unit ? 1 : 0;
      const what = open.learned[k] * left[u] * weight;
      held[s] += held.counts ? what : Math.abs(what);
      now += Math.abs(what);
      then += Math.abs(open.learned[k] * weight);
      left[u] *= open.forget[k];
    }
    held.left[s] = then > 0 ? Math.min(1, now / then) : 0;
  }
  return held;
}

const countsForAnswer = (layer, unit) => unit < 0 && opened(layer).weights !== null && opened(layer).weights.some((weight) => weight !== 0);

// The largest bar of the whole sequence, so that bars of different events can be compared. Computed once per layer and unit.
function largestHeld(layer, unit) {
  const open = opened(layer), time = layer.time, count = open.count;
  open.largestHeld = open.largestHeld || new Map();
  if (open.largestHeld.has(unit)) return open.largestHeld.get(unit);
  const counts = countsForAnswer(layer, unit), parts = new Float32Array(time * count), read = [];
  const every = Math.max(1, Math.floor((time * time * count) / 4e7));
  let largest = 1e-9;
  for (let n = 0; n < time; n++) {
    const at = layer.direction === "backward" ? time - 1 - n : n;
    if (!open.mask[at]) continue;
    for (const s of read) for (let u = 0; u < count; u++) parts[s * count + u] *= open.forget[at * count + u];
    for (let u = 0; u < count; u++) parts[at * count + u] = open.learned[at * count + u];
    read.push(at);
    if (n % every && n < time - 1) continue;
    for (const s of read) {
      let sum = 0;
      for (let u = 0; u < count; u++) {
        if (counts) sum += parts[s * count + u] * open.weights[at * count + u];
        else if (unit < 0 || u === unit) sum += Math.abs(parts[s * count + u]);
      }
      largest = Math.max(largest, Math.abs(sum));
    }
  }
  open.largestHeld.set(unit, largest);
  return largest;
}
