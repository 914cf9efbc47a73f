"use strict";
// A panel of the viewer as large as the window: a click opens it, ← and → go on to the next panel, a click or Esc closes.

const large = byId("large"), largeCanvas = byId("large-canvas");
let largeAt = 0;

function drawLarge() {
  const all = panels();
  largeAt = Math.max(0, Math.min(all.length - 1, largeAt));
  const panel = all[largeAt];
  const scale = Math.max(1, 1600 / Math.max(decoded.width, decoded.height));
  drawPanel(largeCanvas, decoded, overlayOf(panel), panel.kind === "scores", scale);
  largeCanvas.setAttribute("role", "img");
  largeCanvas.setAttribute("aria-label", alternative(panel));
  const fits = Math.min((innerWidth - 56) / decoded.width, (innerHeight - 90) / decoded.height);
  largeCanvas.style.width = `${Math.floor(fits * decoded.width)}px`;
  byId("large-title").textContent = `${panel.title} · ${largeAt + 1} of ${all.length}`;
}

byId("panels").addEventListener("click", (event) => {
  const figure = event.target.closest("figure");
  if (!figure || !decoded) return;
  largeAt = [...byId("panels").children].indexOf(figure);
  drawLarge();
  large.showModal();
});
large.addEventListener("click", () => large.close());
large.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by) return;
  event.preventDefault();
  event.stopPropagation();
  largeAt += by;
  drawLarge();
});
