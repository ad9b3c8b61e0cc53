document.querySelectorAll('input[name="metric"]').forEach(function (input) {
  input.addEventListener("change", function () {
    document.querySelectorAll(".panel").forEach(function (panel) {
      panel.classList.toggle("shown", panel.id === input.value);
    });
  });
  if (input.checked) input.dispatchEvent(new Event("change"));
});
