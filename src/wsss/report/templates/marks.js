"use strict";
// Images that a person marked: kept by the browser for this page, exported as a CSV of their ids.

const MARKS = `wsss marks ${location.pathname} ${document.title}`;
const marked = new Set(readMarks());

function readMarks() {
  try {
    const found = JSON.parse(localStorage.getItem(MARKS) || "[]");
    return Array.isArray(found) ? found : [];
  } catch { return []; }
}

function toggleMark(name) {
  if (!marked.delete(name)) marked.add(name);
  try { localStorage.setItem(MARKS, JSON.stringify([...marked])); } catch { /* marks last as long as the page */ }
  showMarks();
}

/** Puts the marks on thumbnails and buttons. */
function showMarks() {
  for (const button of byId("strip").querySelectorAll("button")) button.classList.toggle("marked", marked.has(button.dataset.key));
  const there = meta.items.filter((item) => marked.has(key(item))).length;
  byId("mark").setAttribute("aria-pressed", marked.has(state.image));
  byId("export").disabled = byId("unmark").disabled = !there;
  byId("export").textContent = `Export ${there} marked`;
}

/** A cell of a CSV: text that a spreadsheet would evaluate begins with an apostrophe, as in every CSV of wsss. */
function cell(value) {
  const text = String(value ?? ""), safe = /^'*[=+\-@\t\r]/.test(text) && !/^[+-]?\d+(\.\d*)?([eE][+-]?\d+)?$/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function marksAsCsv() {
  const rows = meta.items.filter((item) => marked.has(key(item))).map((item) => [item.id, item.split, item.missing.map(className).join(";"), item.agreement]);
  return [["image_id", "split", "missing", "agreement"], ...rows].map((row) => `${row.map(cell).join(",")}\n`).join("");
}

document.getElementById("mark").addEventListener("click", () => toggleMark(state.image));
document.getElementById("unmark").addEventListener("click", () => { for (const name of [...marked]) toggleMark(name); });
document.getElementById("export").addEventListener("click", () => {
  const address = URL.createObjectURL(new Blob([marksAsCsv()], { type: "text/csv" }));
  element("a", { href: address, download: "marked.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
});
document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("input, select, textarea")) return;
  if (event.key.toLowerCase() === "m" && state.image) toggleMark(state.image);
});
