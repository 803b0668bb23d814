"use strict";
// The pages work without this: it only saves clicks and asks before what cannot be undone.
for (const select of document.querySelectorAll("select[data-submit]")) {
  select.addEventListener("change", () => select.form.submit());
}
for (const button of document.querySelectorAll("[data-ask]")) {
  button.addEventListener("click", (event) => {
    if (!window.confirm(button.dataset.ask)) event.preventDefault();
  });
}
for (const button of document.querySelectorAll("button[data-once]")) {
  button.form.addEventListener("submit", () => setTimeout(() => { button.disabled = true; }, 0));
}
