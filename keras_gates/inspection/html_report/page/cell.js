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
