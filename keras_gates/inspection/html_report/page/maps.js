// What the gates did, as maps of units and events, and the curves of one unit.
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
  curves($("unit-curves"), lines, layer().time, low, high, [chosen.at]);
  $("unit-title").textContent = chosen.unit < 0 ? "Mean size over all units, over time" : `Unit ${layer().units[chosen.unit]} over time`;
  $("legend").replaceChildren(
    ...names.flatMap((name, k) => {
      const swatch = made("i", k > 1 ? "┄" : "━", { class: "swatch" });
      swatch.style.color = CURVES[k];
      swatch.setAttribute("aria-hidden", "true");
      return [swatch, made("b", MEANING[name][0])];
    }),
  );
}
