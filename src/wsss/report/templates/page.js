"use strict";
// Tables that sort, and the confusion chart of one stage at a time.

function cellValue(row, column) {
  const cell = row.cells[column];
  const value = cell.dataset.value;
  return value === undefined ? cell.textContent.trim() : Number(value);
}

function sortTable(table, column, descending) {
  const rows = [...table.tBodies[0].rows];
  const sign = descending ? -1 : 1;
  rows.sort((a, b) => {
    const x = cellValue(a, column), y = cellValue(b, column);
    return sign * (typeof x === "number" ? x - y : String(x).localeCompare(String(y)));
  });
  table.tBodies[0].append(...rows);
  [...table.tHead.rows[0].cells].forEach((head, i) => {
    if (i === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const sort = () => sortTable(table, column, head.getAttribute("aria-sort") === "ascending");
    head.tabIndex = 0;
    head.title = "Sort by this column";
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
    });
  });
}

const classTable = document.getElementById("class-table");
if (classTable) {
  const stage = document.getElementById("class-stage");
  const sort = (descending) => sortTable(classTable, Number(stage.value), descending);
  document.getElementById("worst-first").addEventListener("click", () => sort(false));
  document.getElementById("best-first").addEventListener("click", () => sort(true));
  stage.addEventListener("change", () => sort(false));
}

const confusionStage = document.getElementById("confusion-stage");
if (confusionStage) {
  const show = () => document.querySelectorAll("[data-confusion]").forEach((figure) => {
    figure.hidden = figure.dataset.confusion !== confusionStage.value;
  });
  confusionStage.addEventListener("change", show);
  show();
}
