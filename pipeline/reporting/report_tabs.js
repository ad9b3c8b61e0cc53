document.querySelectorAll('input[name="metric"]').forEach(function (input) {
  input.addEventListener("change", function () {
    document.querySelectorAll(".panel").forEach(function (panel) {
      panel.classList.toggle("shown", panel.id === input.value);
    });
  });
  if (input.checked) input.dispatchEvent(new Event("change"));
});

// On a narrow screen each cell says which column it is of (see the style); without this, wide tables scroll.
document.querySelectorAll(".scroll > table:not(.narrow)").forEach(function (table) {
  const names = Array.from(table.querySelectorAll("thead th"), function (head) { return head.textContent.trim(); });
  table.setAttribute("role", "table");
  table.classList.add("stacks");
  table.querySelectorAll("tbody tr").forEach(function (row) {
    row.setAttribute("role", "row");
    Array.from(row.children).forEach(function (cell, index) {
      cell.setAttribute("role", cell.tagName === "TH" ? "rowheader" : "cell");
      if (cell.tagName !== "TD" || cell.colSpan > 1 || !names[index]) return;
      cell.dataset.label = names[index];
      // All of a cell is one thing beside its name.
      const whole = document.createElement("div");
      while (cell.firstChild) whole.appendChild(cell.firstChild);
      if (whole.textContent.trim()) cell.appendChild(whole);
    });
  });
});
