"use strict";
// From a page's data blocks to pictures on canvases.

const IGNORE = 255;
// viridis: bright is high, and it stays so for colour-blind eyes and in grey.
const HEAT = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];

async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The maps of image `index`: {image, width, height, labels: {view: ids}, scores: {view: {classes, maps, …}}}. */
async function decodeItem(index, views) {
  const packed = JSON.parse(document.getElementById(`item-${index}`).textContent);
  const image = new Image();
  image.src = `data:image/webp;base64,${packed.image}`;
  const wanted = (key) => !views || views.includes(key);
  const labels = {}, scores = {};
  await Promise.all([
    image.decode(),
    ...Object.keys(packed.labels).filter(wanted).map(async (key) => { labels[key] = await inflate(packed.labels[key]); }),
    ...Object.keys(packed.scores).filter(wanted).map(async (key) => {
      const map = packed.scores[key];
      scores[key] = { ...map, data: await inflate(map.data) };
    }),
  ]);
  return { image, width: packed.width, height: packed.height, labels, scores };
}

function canvasOf(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

/** Class ids as colours: classes at `opacity` with solid borders, ignored pixels hatched, background clear. */
function labelOverlay(ids, width, height, palette, hidden, opacity) {
  const canvas = canvasOf(width, height), context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height), data = pixels.data;
  const alpha = Math.round(2.55 * opacity);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const id = ids[i];
      if (id === 0 || hidden.has(id)) continue;
      const o = 4 * i;
      if (id === IGNORE) {
        const dark = (x + y) % 6 < 3;
        data[o] = data[o + 1] = data[o + 2] = dark ? 30 : 235;
        data[o + 3] = alpha * 0.8;
        continue;
      }
      const border = (x + 1 < width && ids[i + 1] !== id) || (y + 1 < height && ids[i + width] !== id)
        || (x > 0 && ids[i - 1] !== id) || (y > 0 && ids[i - width] !== id);
      const [r, g, b] = palette[id];
      data[o] = r; data[o + 1] = g; data[o + 2] = b;
      data[o + 3] = border ? Math.min(255, 3 * alpha) : alpha;
    }
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** Scores (0…levels) as heat: the higher, the brighter and the less clear. */
function scoreOverlay(scores, offset, width, height, levels, opacity) {
  const canvas = canvasOf(width, height), context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height), data = pixels.data;
  for (let i = 0; i < width * height; i++) {
    const s = scores[offset + i] / levels, at = s * (HEAT.length - 1);
    const low = Math.min(HEAT.length - 2, Math.floor(at)), part = at - low;
    for (let c = 0; c < 3; c++) data[4 * i + c] = HEAT[low][c] * (1 - part) + HEAT[low + 1][c] * part;
    data[4 * i + 3] = 2.55 * opacity * (0.35 + 0.65 * s);
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** Draws the image and an overlay onto `canvas`, `scale` times as large as the image is stored. */
function drawPanel(canvas, item, overlay, smooth, scale) {
  canvas.width = Math.round(item.width * scale);
  canvas.height = Math.round(item.height * scale);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(item.image, 0, 0, canvas.width, canvas.height);
  if (overlay) {
    context.imageSmoothingEnabled = smooth;
    context.drawImage(overlay, 0, 0, canvas.width, canvas.height);
  }
}
