// The model's answers: now, over time, where they change; the step's own next events; a forecast with its band.

function openAnswers(one) {
  const { answers } = one;
  if (!answers.open) {
    answers.open = unpacked(answers.values);
    if (answers.came) answers.came = unpacked(answers.came).values;
    if (answers.actual) answers.actual = unpacked(answers.actual).values;
  }
  return answers;
}

// `{name, value}` of what is answered after event `t`, in the order of the bars.
function answersAt(one, t) {
  const answers = openAnswers(one);
  if (answers.kind === "forecast") return [];
  const count = answers.open.shape[1];
  return Array.from({ length: count }, (_, k) => ({
    name: answers.names[answers.kind === "steps" ? answers.top[t][k] : k], value: answers.open.values[t * count + k], colour: CURVES[k],
  }));
}

const largestAt = (one, t) => answersAt(one, t).reduce((best, answer) => (answer.value > best.value ? answer : best), { name: "", value: -Infinity });
const shown = (one, value) => (one.answers.probabilities ? percent(value) : nice(value));

// The event from which on the answer is the one at the end; 0 if it never changes.
function changeOf(one) {
  if (openAnswers(one).kind !== "named" || one.answers.names.length < 2) return 0;
  const last = largestAt(one, one.time - 1).name;
  for (let t = one.time - 1; t > 0; t--) if (largestAt(one, t - 1).name !== last) return t;
  return 0;
}

function drawAnswers() {
  const one = story(), answers = openAnswers(one), at = now();
  const what = eventName(at);
  $("answer-title").textContent = answers.kind === "steps" && answers.came ? `After event ${at}${what}, the next is` : `The model's answer after event ${at}${what}`;
  $("close").hidden = one.events.kind !== "pictures";
  if (!$("close").hidden) {
    const { pen, height } = surface($("close"));
    pen.imageSmoothingEnabled = false;
    picture(pen, one.events, at, 0, 0, (height * one.events.width) / one.events.height, height);
  }
  if (answers.kind === "forecast") drawForecasts($("answers"), one, at);
  else $("answers").replaceChildren(...answerBars(one, at));
  const more = answers.more > 0 ? ` (${answers.more} more answers stay smaller at every event)` : "";
  const next = answers.came && at < one.time - 1 ? `What came: “${one.events.items[at + 1]}”, ${percent(answers.came[at])}. ` : "";
  $("truth").textContent = next + (one.truth ? `True answer at the end: ${one.truth}` : "") + more;
  $("answers-over-time").hidden = answers.kind === "forecast";
  drawAnswerCurves($("answers-over-time"), one, at);
  drawChange(one);
}

function answerBars(one, at) {
  const values = answersAt(one, at), sizes = values.map((answer) => answer.value);
  const low = Math.min(0, ...openAnswers(one).open.values), high = Math.max(1e-6, ...openAnswers(one).open.values);
  return values.map((answer, k) => {
    const row = made("div", null, { class: "bar" }), bar = made("i", ""), place = made("span", null);
    const part = one.answers.probabilities ? sizes[k] : (sizes[k] - low) / (high - low || 1);
    bar.style.cssText = `width:${Math.max(0, Math.min(1, part)) * 100}%;background:${one.answers.kind === "steps" ? "var(--remember)" : answer.colour}`;
    place.append(bar);
    row.append(made("span", visible(answer.name), { title: answer.name }), place, made("b", shown(one, answer.value)));
    return row;
  });
}

const visible = (name) => (name === "\n" ? "↵" : name === " " ? "␣" : name === "\t" ? "⇥" : name);

function drawAnswerCurves(canvas, one, at) {
  const answers = openAnswers(one);
  if (answers.kind === "forecast") return;
  const { values, shape } = answers.open, change = changeOf(one);
  const low = answers.probabilities ? 0 : values.reduce((a, b) => Math.min(a, b), 0), high = answers.probabilities ? 1 : values.reduce((a, b) => Math.max(a, b), 1e-6);
  const lines =
    answers.kind === "named"
      ? answers.names.map((_, k) => ({ colour: CURVES[k], values: (t) => values[t * shape[1] + k] }))
      : [{ colour: CURVES[0], values: (t) => (answers.came ? (t < one.time - 1 ? answers.came[t] : null) : values[t * shape[1]]) }];
  curves(canvas, lines, one.time, low, high, change ? [at, change] : [at]);
}

function drawChange(one) {
  const event = changeOf(one), line = $("change");
  line.hidden = !event && openAnswers(one).kind !== "steps";
  if (one.answers.kind === "steps") line.textContent = one.answers.came ? "Curve: the probability of what came next." : "Curve: the largest probability.";
  if (!event) return;
  const jump = made("button", `event ${event}${eventName(event)}`, { type: "button", class: "jump" });
  jump.onclick = () => choose({ at: event });
  line.replaceChildren(`From `, jump, ` on the answer is “${largestAt(one, one.time - 1).name}” (dotted line).`);
}

// Each series: what was measured, and after it the forecast as a curve with the band between its first and last quantile.
function drawForecasts(box, one, at) {
  const { open, names, actual } = openAnswers(one), [, horizon, series, quantiles] = open.shape;
  const count = Math.min(series, 4);
  if (box.children.length !== 2 * count || box.firstChild.tagName !== "P")
    box.replaceChildren(...Array.from({ length: count }, (_, s) => [made("p", names[s], { class: "quiet" }), made("canvas", null, { height: 150 })]).flat());
  const past = one.events.kind === "series" && one.events.values.shape[1] >= series ? one.events.values : null;
  if (past && past.base64) ready(one.events);
  for (let s = 0; s < count; s++) {
    const before = past ? Math.min(one.time, 3 * horizon) : 0, all = before + horizon;
    const value = (h, q) => open.values[((at * horizon + h) * series + s) * quantiles + q];
    const measured = (t) => (t < before ? one.events.values.values[(one.time - before + t) * one.events.values.shape[1] + s] : null);
    const came = (t) => (actual && t >= before ? actual[(t - before) * series + s] : null);
    const middle = (t) => (t >= before ? value(t - before, Math.floor(quantiles / 2)) : null);
    let low = Infinity, high = -Infinity;
    for (let t = 0; t < all; t++)
      for (const v of [measured(t), came(t), ...(t < before ? [] : [value(t - before, 0), value(t - before, quantiles - 1)])])
        if (v !== null) [low, high] = [Math.min(low, v), Math.max(high, v)];
    const lines = [
      { colour: colour("--quiet"), values: measured }, { colour: colour("--ink"), dash: [2, 3], values: came }, { colour: CURVES[0], values: middle },
    ];
    const { pen, x, y } = curves(box.children[2 * s + 1], lines, all, low, high, []);
    pen.globalAlpha = 0.25;
    pen.fillStyle = CURVES[0];
    pen.beginPath();
    for (let h = 0; h < horizon; h++) pen.lineTo(x(before + h), y(value(h, quantiles - 1)));
    for (let h = horizon - 1; h >= 0; h--) pen.lineTo(x(before + h), y(value(h, 0)));
    pen.fill();
    pen.globalAlpha = 1;
  }
  $("truth").textContent = "";
  const key = `Blue: forecast${quantiles > 1 ? ", band between its lowest and highest quantile" : ""}. Grey: measured.${actual ? " Dotted: what came." : ""}`;
  box.children[0].textContent = `${names[0]}. ${key}`;
}
