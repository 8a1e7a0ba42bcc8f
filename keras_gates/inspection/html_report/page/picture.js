// The page as a picture: its elements in an SVG, canvases as images in it, drawn on one canvas.
async function pagePicture() {
  const root = document.documentElement, width = document.body.clientWidth, copy = document.body.cloneNode(true);
  copy.querySelectorAll("script").forEach((script) => script.remove());
  const originals = document.querySelectorAll("canvas");
  copy.querySelectorAll("canvas").forEach((canvas, k) => {
    const image = made("img", null, { class: canvas.className, id: canvas.id });
    image.hidden = originals[k].hidden || !originals[k].width || !originals[k].height;
    if (!image.hidden) image.src = originals[k].toDataURL();
    image.style.cssText = `width:${originals[k].clientWidth}px;height:${originals[k].clientHeight}px;display:${image.hidden ? "none" : "block"}`;
    canvas.replaceWith(image);
  });
  copy.querySelectorAll("select").forEach((select, k) => {
    const original = document.querySelectorAll("select")[k];
    select.replaceChildren(made("option", original.selectedIndex < 0 ? "" : original.options[original.selectedIndex].textContent));
  });
  // The colours as they are now: a picture has no dark mode of its own.
  const names = document.querySelector("style").textContent.match(/--[a-z]+(?=:)/g), now = getComputedStyle(root);
  const style = made("style", `${document.querySelector("style").textContent} :root { ${[...new Set(names)].map((name) => `${name}:${now.getPropertyValue(name)}`).join(";")} }`);
  copy.prepend(style);
  const height = document.body.scrollHeight, holder = made("div", null);
  holder.innerHTML = "<svg></svg>";
  const text = new XMLSerializer().serializeToString(copy), space = holder.firstChild.namespaceURI;
  const svg = `<svg xmlns="${space}" width="${width}" height="${height}"><foreignObject width="100%" height="100%">${text}</foreignObject></svg>`;
  const image = new Image();
  image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(svg);
  await image.decode();
  const canvas = made("canvas", null), ratio = Math.min(2, window.devicePixelRatio || 1);
  [canvas.width, canvas.height] = [width * ratio, height * ratio];
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.fillStyle = colour("--paper");
  pen.fillRect(0, 0, width, height);
  pen.drawImage(image, 0, 0);
  return canvas.toDataURL("image/png");
}

async function savePicture() {
  const name = `${content.title.replace(/[^\w-]+/g, "_").slice(0, 40)}-${chosen.example}-${chosen.at}.png`;
  try {
    const link = made("a", "", { download: name });
    link.href = await pagePicture();
    link.click();
  } catch (error) {
    $("pointed").textContent = `This browser cannot draw the page as a picture (${error.message}); its print function can.`;
  }
}
