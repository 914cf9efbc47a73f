"use strict";
// The gallery: its state is in the link; every change of the state redraws it.

const meta = JSON.parse(document.getElementById("gallery-data").textContent);
const byId = (id) => document.getElementById(id);
const ORDERS = {
  worst: ["Worst IoU first", (a, b) => known(a.iou, 2) - known(b.iou, 2)],
  best: ["Best IoU first", (a, b) => known(b.iou, -1) - known(a.iou, -1)],
  missing: ["Label not found first", (a, b) => b.missing.length - a.missing.length || known(a.agreement, 2) - known(b.agreement, 2)],
  agreement: ["Maps and masks agree least first", (a, b) => known(a.agreement, 2) - known(b.agreement, 2)],
  uncertain: ["Most uncertain first", (a, b) => known(b.uncertainty, -1) - known(a.uncertainty, -1)],
  spread: ["Runs differ most first", (a, b) => known(b.spread, -1) - known(a.spread, -1)],
  class: ["By class", (a, b) => known(a.classes[0], 999) - known(b.classes[0], 999) || known(a.iou, 2) - known(b.iou, 2)],
  id: ["By name", (a, b) => (a.id < b.id ? -1 : 1)],
};
const has = (field) => meta.items.some((item) => item[field] !== null);
const state = { split: "", class: "", sort: "worst", image: "", opacity: 60, hide: new Set() };
let shown = [], current = null, decoded = null, ticket = 0;

function known(value, otherwise) { return value === null || value === undefined ? otherwise : value; }
function percent(value) { return value === null || value === undefined ? "–" : `${(100 * value).toFixed(1)} %`; }
function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
function className(id) { return id === IGNORE ? "ignored" : meta.classes[id]; }

// --- the link ---------------------------------------------------------------------------------------------

function readLink() {
  const link = new URLSearchParams(location.hash.slice(1));
  if (!link.has("image")) return false;
  state.split = link.get("split") || "";
  state.class = link.get("class") || "";
  state.sort = ORDERS[link.get("sort")] ? link.get("sort") : "worst";
  const opacity = Number(link.get("opacity") ?? 60);
  state.opacity = opacity >= 0 && opacity <= 100 ? opacity : 60;
  state.hide = new Set((link.get("hide") || "").split(",").filter(Boolean).map(Number));
  state.image = link.get("image");
  return true;
}

function link() {
  const values = { split: state.split, class: state.class, sort: state.sort, opacity: state.opacity, hide: [...state.hide].join(","), image: state.image };
  return `#${new URLSearchParams(Object.entries(values).filter(([, value]) => value !== ""))}`;
}

let written = "", writing = 0;
function writeLink() {
  clearTimeout(writing);
  writing = setTimeout(() => { written = link(); location.replace(written); }, 150);
}

// --- choosing and ordering --------------------------------------------------------------------------------

function key(item) { return `${item.split}/${item.id}`; }

function select() {
  shown = meta.items.map((item, index) => ({ ...item, index }));
  if (state.split) shown = shown.filter((item) => item.split === state.split);
  if (state.class) shown = shown.filter((item) => item.classes.includes(Number(state.class)));
  shown.sort((a, b) => ORDERS[state.sort][1](a, b) || a.index - b.index);
  if (!shown.some((item) => key(item) === state.image)) state.image = shown.length ? key(shown[0]) : "";
  drawStrip();
  show();
}

function move(by) {
  const at = shown.findIndex((item) => key(item) === state.image);
  const next = shown[Math.max(0, Math.min(shown.length - 1, at + by))];
  if (next && key(next) !== state.image) { state.image = key(next); show(); }
}

// --- the strip of thumbnails ------------------------------------------------------------------------------

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting) { seen.unobserve(entry.target); drawThumbnail(entry.target); }
  }
}, { rootMargin: "200px" });

async function drawThumbnail(button) {
  const item = meta.items[button.dataset.index], final = finalView(item);
  const small = await decodeItem(button.dataset.index, [final]);
  const overlay = small.labels[final] && labelOverlay(small.labels[final], small.width, small.height, meta.palette, state.hide, state.opacity);
  drawPanel(button.querySelector("canvas"), small, overlay, true, Math.min(1, 180 / Math.max(small.width, small.height)));
}

/** The view that a thumbnail shows: the last one whose IoU counts, else the truth. */
function finalView(item) {
  const finals = Object.keys(item.ious).filter((view) => meta.views[view].final);
  return finals.length ? finals[finals.length - 1] : String(meta.views.findLastIndex((view) => view.final));
}

function drawStrip() {
  seen.disconnect();
  byId("strip").replaceChildren(...shown.map((item) => {
    const names = item.classes.map(className).join(", ");
    const button = element("button", { type: "button", title: item.id },
      element("canvas", { width: 4, height: 3 }),
      element("span", {}, element("b", { textContent: names || "no class" }), element("i", { textContent: item.iou === null ? "" : (100 * item.iou).toFixed(0) })));
    button.dataset.index = item.index;
    button.dataset.key = key(item);
    button.setAttribute("aria-label", `${item.id}: ${names}; IoU ${percent(item.iou)}`);
    button.addEventListener("click", () => { state.image = key(item); show(); });
    seen.observe(button);
    return element("li", {}, button);
  }));
}

function redrawThumbnails() {
  byId("strip").querySelectorAll("button").forEach((button) => { seen.unobserve(button); seen.observe(button); });
}

// --- the viewer -------------------------------------------------------------------------------------------

async function show() {
  writeLink();
  byId("viewer").hidden = !shown.length;
  byId("none").hidden = Boolean(shown.length);
  current = shown.find((item) => key(item) === state.image) || null;
  if (!current) return;
  const mine = ++ticket, at = shown.indexOf(current);
  byId("image-name").textContent = current.id;
  const sure = current.uncertainty === null ? "" : `, uncertainty ${current.uncertainty.toFixed(2)}`;
  const absent = current.missing.length ? `, not found: ${current.missing.map(className).join(", ")}` : "";
  const agreed = current.agreement === null ? "" : `, agreement ${percent(current.agreement)}`;
  byId("image-facts").textContent = `${at + 1} of ${shown.length} · ${current.split} · ${current.classes.map(className).join(", ") || "no class"} · IoU ${percent(current.iou)}${sure}${agreed}${absent}`;
  byId("previous").disabled = at === 0;
  byId("next").disabled = at === shown.length - 1;
  showMarks();
  for (const button of byId("strip").querySelectorAll("button")) {
    const mark = button.dataset.key === state.image;
    button.setAttribute("aria-current", mark);
    if (mark) reveal(button);
  }
  const item = await decodeItem(current.index);
  if (mine !== ticket) return;
  decoded = item;
  drawChips();
  drawPanels();
}

/** Scrolls the strip, and nothing else, so that the button is in sight. */
function reveal(button) {
  const strip = byId("strip"), box = button.getBoundingClientRect(), frame = strip.getBoundingClientRect();
  if (box.left < frame.left || box.right > frame.right) strip.scrollLeft += box.left - frame.left - frame.width / 3;
  if (box.top < frame.top || box.bottom > frame.bottom) strip.scrollTop += box.top - frame.top - frame.height / 3;
}

/** What the viewer shows of the image: [{title, iou, kind, view, place}]. */
function panels() {
  const found = [{ title: "Image", kind: "image" }];
  if (decoded.labels.truth) found.push({ title: "Ground truth", kind: "labels", view: "truth" });
  meta.views.forEach((view, i) => {
    if (decoded.scores[i]) {
      decoded.scores[i].classes.forEach((id, place) => {
        if (!state.hide.has(id)) found.push({ title: `${view.title}: ${className(id)}`, kind: "scores", view: i, place, id, iou: place ? null : current.ious[i] });
      });
    }
    if (decoded.labels[i]) found.push({ title: view.title, kind: "labels", view: i, iou: current.ious[i] });
  });
  return found;
}

function drawPanels() {
  const scale = Math.max(1, Math.round(480 / Math.max(decoded.width, decoded.height)));
  byId("panels").replaceChildren(...panels().map((panel) => {
    const canvas = element("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", alternative(panel));
    drawPanel(canvas, decoded, overlayOf(panel), panel.kind === "scores", scale);
    canvas.addEventListener("pointermove", (event) => probe(event, canvas));
    const iou = panel.iou === null || panel.iou === undefined ? "" : `IoU ${(100 * panel.iou).toFixed(0)}`;
    return element("figure", {}, element("figcaption", {}, element("span", { textContent: panel.title, title: panel.title }), element("span", { textContent: iou })), canvas);
  }));
}

function overlayOf(panel) {
  if (panel.kind === "labels") return labelOverlay(decoded.labels[panel.view], decoded.width, decoded.height, meta.palette, state.hide, state.opacity);
  if (panel.kind === "image") return null;
  const map = decoded.scores[panel.view], size = map.width * map.height;
  return scoreOverlay(map.data, panel.place * size, map.width, map.height, meta.levels, state.opacity);
}

/** The picture in words: how much of it each class covers, or how high the score is. */
function alternative(panel) {
  if (panel.kind === "image") return `Image ${current.id}: ${current.classes.map(className).join(", ")}`;
  if (panel.kind === "scores") {
    const map = decoded.scores[panel.view], size = map.width * map.height;
    const values = map.data.subarray(panel.place * size, (panel.place + 1) * size);
    const high = values.filter((value) => value > meta.levels / 2).length / size;
    return `${panel.title} in image ${current.id}: score above one half on ${percent(high)} of it`;
  }
  const counts = new Map();
  for (const id of decoded.labels[panel.view]) counts.set(id, (counts.get(id) || 0) + 1);
  const total = decoded.width * decoded.height;
  const shares = [...counts].sort((a, b) => b[1] - a[1]).map(([id, count]) => `${className(id)} ${percent(count / total)}`);
  const iou = panel.iou === null || panel.iou === undefined ? "" : `; IoU ${percent(panel.iou)}`;
  return `${panel.title} of image ${current.id}: ${shares.join(", ")}${iou}`;
}

/** Names the classes under the pointer in every map. */
function probe(event, canvas) {
  const box = canvas.getBoundingClientRect();
  const u = Math.min(0.999, Math.max(0, (event.clientX - box.left) / box.width));
  const v = Math.min(0.999, Math.max(0, (event.clientY - box.top) / box.height));
  const at = (width, height) => Math.floor(v * height) * width + Math.floor(u * width);
  byId("probe").textContent = panels().filter((panel) => panel.kind !== "image").map((panel) => {
    if (panel.kind === "labels") return `${panel.title} ${className(decoded.labels[panel.view][at(decoded.width, decoded.height)])}`;
    const map = decoded.scores[panel.view];
    return `${panel.title} ${(map.data[panel.place * map.width * map.height + at(map.width, map.height)] / meta.levels).toFixed(2)}`;
  }).join(" · ");
}

// --- controls ---------------------------------------------------------------------------------------------

function drawChips() {
  const here = new Set(current.classes);
  for (const ids of Object.values(decoded.labels)) for (const id of ids) here.add(id);
  const all = [...meta.classes.keys()].slice(1).concat(IGNORE);
  const listed = meta.classes.length > 25 ? all.filter((id) => here.has(id)) : all;
  const focused = document.activeElement?.dataset?.chip;
  byId("chips").replaceChildren(byId("chips").querySelector("legend"), ...listed.map((id) => {
    const box = element("input", { type: "checkbox", checked: !state.hide.has(id) });
    box.dataset.chip = id;
    box.addEventListener("change", () => {
      if (box.checked) state.hide.delete(id); else state.hide.add(id);
      writeLink();
      drawPanels();
      redrawThumbnails();
    });
    const label = element("label", { className: here.has(id) ? "chip" : "chip absent" }, box, swatch(id), className(id));
    if (focused === String(id)) queueMicrotask(() => box.focus());
    return label;
  }));
}

function swatch(id) {
  const canvas = canvasOf(13, 13);
  canvas.className = "swatch";
  const overlay = labelOverlay(new Uint8Array(169).fill(id), 13, 13, meta.palette, new Set(), 100);
  canvas.getContext("2d").drawImage(overlay, 0, 0);
  return canvas;
}

function fillControls() {
  const splits = [...new Set(meta.items.map((item) => item.split))];
  const options = (id, pairs) => byId(id).replaceChildren(...pairs.map(([value, text]) => element("option", { value, textContent: text })));
  options("split", [["", "all"], ...splits.map((split) => [split, split])]);
  options("class", [["", "all"], ...meta.classes.map((name, id) => [String(id), name]).slice(1)]);
  const hidden = { worst: !has("iou"), best: !has("iou"), uncertain: !has("uncertainty"), spread: !meta.items.some((item) => item.spread), agreement: !has("agreement"), missing: !meta.items.some((item) => item.missing.length) };
  options("sort", Object.entries(ORDERS).filter(([name]) => !hidden[name]).map(([name, [text]]) => [name, text]));
  if (hidden.worst && state.sort === "worst") state.sort = "uncertain";
}

function showControls() {
  for (const name of ["split", "class", "sort", "opacity"]) byId(name).value = state[name];
  byId("opacity-value").textContent = `${state.opacity} %`;
}

for (const name of ["split", "class", "sort"]) {
  byId(name).addEventListener("change", () => { state[name] = byId(name).value; state.image = ""; select(); });
}
byId("opacity").addEventListener("input", () => {
  state.opacity = Number(byId("opacity").value);
  showControls();
  writeLink();
  if (decoded) drawPanels();
});
byId("opacity").addEventListener("change", redrawThumbnails);
byId("previous").addEventListener("click", () => move(-1));
byId("next").addEventListener("click", () => move(1));
document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("input, select, textarea")) return;
  if (event.key === "ArrowLeft") { event.preventDefault(); move(-1); }
  if (event.key === "ArrowRight") { event.preventDefault(); move(1); }
});
byId("copy").addEventListener("click", async () => {
  const address = location.href.split("#")[0] + link();
  try {
    await navigator.clipboard.writeText(address);
    byId("copy").textContent = "Copied";
  } catch {
    prompt("The link to this view:", address);
  }
  setTimeout(() => { byId("copy").textContent = "Copy link"; }, 1500);
});
addEventListener("hashchange", () => {
  if (location.hash !== written && readLink()) { showControls(); select(); }
});

fillControls();
const linked = readLink();
showControls();
select();
if (linked) byId("gallery").scrollIntoView({ behavior: "instant" });
