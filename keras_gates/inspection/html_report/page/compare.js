// Two examples side by side, the long-term memory of one in the other, and the events at which a unit does the same.
const others = () => content.examples.map((_, k) => k).filter((k) => k !== chosen.example);

// The example that differs most in its answer, if the page does not name one.
function otherExample() {
  const answer = (k) => largestAt(content.examples[k], content.examples[k].time - 1).name, all = others();
  if (all.includes(chosen.other)) return chosen.other;
  const patched = all.filter((k) => content.patches[`${chosen.example},${k}`]);
  return patched.find((k) => answer(k) !== answer(chosen.example)) ?? patched[0] ?? all[0];
}

function makeComparison() {
  $("compare").hidden = content.examples.length < 2 || !layer();
  if ($("compare").hidden) return;
  const other = otherExample();
  fill($("other"), others().map((k) => exampleName(content.examples[k], k)), others().indexOf(other));
  $("pair").replaceChildren(
    ...[chosen.example, other].map((k) => {
      const box = made("div", null, { "data-example": k }), one = content.examples[k];
      box.append(made("h3", `Example ${exampleName(one, k)}`));
      if (one.events.kind === "words") box.append(makeWords(one));
      else box.append(made("canvas", null, { height: one.events.kind === "rows" ? 112 : 48, class: "shown" }));
      box.append(made("canvas", null, { height: 84, class: "left" }), made("canvas", null, { height: 110, class: "over" }), made("p", ""));
      box.append(made("p", "", { class: "quiet" }), made("canvas", null, { height: 120, class: "patched" }));
      box.onclick = (click) => {
        const mark = click.target.closest("[data-t]"), t = mark ? Number(mark.dataset.t) : null;
        const x = click.target.tagName === "CANVAS" ? axisEvent(click.offsetX, one.time, click.target.clientWidth) : null;
        if (t !== null || x !== null) choose({ at: t ?? x });
      };
      return box;
    }),
  );
}

function drawComparison() {
  if ($("compare").hidden) return;
  const [first, second] = [...$("pair").children].map((box) => Number(box.dataset.example));
  for (const box of $("pair").children) {
    const k = Number(box.dataset.example), one = content.examples[k], part = one.layers[Math.min(chosen.layer, one.layers.length - 1)];
    const at = Math.min(chosen.at, one.time - 1), held = part.adds_up ? stillHeld(part, Math.min(chosen.at, part.time - 1), chosen.unit) : null;
    const find = (name) => box.querySelector(name), largest = held ? largestHeld(part, chosen.unit) : 1;
    if (one.events.kind === "words") drawWords(find(".words"), one, at, part.direction === "backward");
    else if (one.events.kind === "rows") drawRows(find(".shown"), one, held && held.length === one.time ? held : null, largest, at);
    else drawStrip(find(".shown"), one, at, part.time);
    find(".left").hidden = !held;
    if (held) bars(find(".left"), held, largest, Math.min(chosen.at, part.time - 1), 28, signOf(one, part.time));
    find(".over").hidden = one.answers.kind === "forecast";
    drawAnswerCurves(find(".over"), one, at);
    drawPatched(box, k, k === first ? second : first, at);
  }
}

// The answer at the end if the long-term memory of `donor` is put into `receiver` after an event: a curve over that event.
function drawPatched(box, receiver, donor, at) {
  const [sentence, caption] = box.querySelectorAll("p"), canvas = box.querySelector(".patched"), one = content.examples[receiver];
  const patch = content.patches[`${receiver},${donor}`], answer = largestAt(one, one.time - 1);
  caption.hidden = canvas.hidden = !patch;
  sentence.textContent = answer.name === "" ? "" : `Answer at the end: ${answer.name}, ${shown(one, answer.value)}.`;
  if (!patch) return;
  if (patch.values.base64) patch.values = unpacked(patch.values);
  const count = one.answers.names.length, { values } = patch.values;
  const end = one.answers.names.indexOf(answer.name), moved = (n) => Math.abs(values[n * count + end] - answer.value);
  // After the last event nothing is left to be decided: then the event that matters most is named.
  const most = patch.events.reduce((best, _, n) => (moved(n) >= moved(best) ? n : best), 0);
  const nearest = at === one.time - 1 ? most : patch.events.reduce((best, event, n) => (Math.abs(event - at) < Math.abs(patch.events[best] - at) ? n : best), 0);
  let best = 0;
  for (let k = 1; k < count; k++) if (values[nearest * count + k] > values[nearest * count + best]) best = k;
  caption.textContent = `With the long-term memory of example ${donor} put in after event ${patch.events[nearest]}, the answer at the end is ${one.answers.names[best]}, ${shown(one, values[nearest * count + best])}. The curve: over the event after which it is put in.`;
  const place = new Map(patch.events.map((event, n) => [event, n]));
  const lines = one.answers.names.map((_, k) => ({ colour: CURVES[k], points: true, values: (t) => (place.has(t) ? values[place.get(t) * count + k] : null) }));
  const low = one.answers.probabilities ? 0 : Math.min(0, ...values), high = one.answers.probabilities ? 1 : Math.max(1e-6, ...values);
  curves(canvas, lines, one.time, low, high, [patch.events[nearest]]);
}

const AROUND = 2; // events before and after that must agree

// The events of all examples around which the chosen unit moves as around the chosen event (all units: as near as their memories
// point in the same direction), nearest first: `{example, t, distance, value}`.
function eventsAlike(count) {
  const here = layer(), name = here.arrays.ltm ? "ltm" : "stm", unit = chosen.unit, found = [];
  opened(here);
  const pattern = (part, t) => {
    const numbers = part.open[name], columns = unit < 0 ? here.units.map((u) => part.units.indexOf(u)) : [part.units.indexOf(here.units[unit])];
    const around = unit < 0 ? [0] : Array.from({ length: 2 * AROUND + 1 }, (_, k) => k - AROUND);
    return around.flatMap((k) => columns.map((u) => (u < 0 ? 0 : numbers[Math.max(0, Math.min(part.time - 1, t + k)) * part.open.count + u])));
  };
  const wanted = pattern(here, chosen.at), length = (vector) => Math.hypot(...vector) || 1e-9;
  content.examples.forEach((one, example) => {
    const part = one.layers.find((other) => other.name === here.name);
    if (!part || (unit >= 0 && !part.units.includes(here.units[unit]))) return;
    opened(part);
    const column = unit < 0 ? -1 : part.units.indexOf(here.units[unit]);
    for (let t = 0; t < part.time; t++) {
      if (!part.open.mask[t] || (example === chosen.example && Math.abs(t - chosen.at) <= 2 * AROUND)) continue;
      const there = pattern(part, t), product = there.reduce((sum, value, k) => sum + value * wanted[k], 0);
      const distance = unit < 0 ? 1 - product / (length(there) * length(wanted)) : length(there.map((value, k) => value - wanted[k]));
      found.push({ example, t, distance, value: part.open.at(name, t, column) });
    }
  });
  found.sort((one, other) => one.distance - other.distance);
  const kept = [];
  for (const event of found) {
    if (kept.length >= count) break;
    if (!kept.some((other) => other.example === event.example && Math.abs(other.t - event.t) <= 2 * AROUND)) kept.push(event);
  }
  return kept;
}

// The sequences of the data set that was searched in which the chosen unit does the same as where its memory changes most here.
function drawSearched() {
  const units = content.search ? content.search.layers[layer().name]?.[chosen.example] : null, unit = layer().units[chosen.unit];
  const here = units && chosen.unit >= 0 ? units[unit] : null;
  $("searched-title").hidden = !here;
  $("searched-title").textContent = here ? `Of ${content.search.sequences} sequences that were searched, those in which unit ${unit} does most nearly what it does at event ${here.event}, where its memory changes most:` : "";
  $("searched").replaceChildren(
    ...(here ? here.same : []).map(([sequence, event, value, text]) => made("li", `sequence ${sequence}, event ${event}: ${nice(value)} ${text}`)),
  );
}

function drawAlike() {
  if (!layer()) return;
  drawSearched();
  const what = layer().arrays.ltm ? "long-term memory" : "short-term memory";
  const who = chosen.unit < 0 ? `the ${what} is most like the one` : `unit ${layer().units[chosen.unit]} does the same as`;
  $("alike-title").textContent = `Events in all examples at which ${who} at event ${chosen.at}${eventName(chosen.at)}`;
  $("alike").replaceChildren(
    ...eventsAlike(8).map((event) => {
      const one = content.examples[event.example], item = made("li", null), jump = made("button", `example ${event.example}, event ${event.t}`, { type: "button", class: "jump" });
      jump.onclick = () => choose({ example: event.example, at: event.t });
      item.append(jump, ` ${nice(event.value)} `);
      if (one.events.kind === "words" && one.events.items.length > event.t) {
        const part = (from, to) => one.events.items.slice(Math.max(0, from), Math.max(0, to)).map(visible).join(one.events.items.some((word) => word.length > 1) ? " " : "");
        item.append(`${part(event.t - 4, event.t)} `, made("b", visible(one.events.items[event.t])), ` ${part(event.t + 1, event.t + 4)}`);
      } else if (one.events.kind === "pictures" && event.t < one.time) {
        const canvas = made("canvas", null, { height: 28, class: "small" });
        item.append(canvas);
        ready(one.events);
        requestAnimationFrame(() => {
          const { pen } = surface(canvas);
          pen.imageSmoothingEnabled = false;
          for (let k = -2; k <= 2; k++) if (event.t + k >= 0 && event.t + k < one.time) picture(pen, one.events, event.t + k, (k + 2) * 30 + (k > 0 ? 4 : k < 0 ? -4 : 0) + 4, 0, 28, 28);
        });
      }
      return item;
    }),
  );
}
