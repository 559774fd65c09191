// Moves the figures that the reader can move. Each position was computed by the package while the site was built and
// stands in the page; this script looks up the strokes and digits of the position that the controls name.
(() => {
  "use strict";

  const start = (figure) => {
    const { counts, slots } = JSON.parse(figure.querySelector("template").content.textContent);
    const controls = [...figure.querySelectorAll("[data-control]")];
    const parts = new Map([...figure.querySelectorAll("[data-part]")].map((part) => [Number(part.dataset.part), part]));

    const put = (part, name, value) => {
      if (name !== "text") part.setAttribute(name, value);
      else if (part.matches("input")) {
        part.setAttribute("aria-valuetext", value);
        part.nextElementSibling.textContent = value;
      } else if (part.textContent !== value) part.textContent = value;
    };
    const show = () => {
      const where = controls.map((control) => Number(control.value)).join();
      const at = where.split(",").map(Number);
      for (const slot of slots) {
        const index = slot.by.reduce((sum, control) => sum * counts[control] + at[control], 0);
        put(parts.get(slot.part), slot.set, slot.values[slot.at[index]]);
      }
      // A limit that has moved may have moved a control.
      if (controls.map((control) => Number(control.value)).join() !== where) show();
    };

    figure.addEventListener("input", show);
    figure.querySelector(".moving-controls").hidden = false;
    show();
  };

  const arrive = () => document.querySelectorAll("figure.moving").forEach(start);
  if (window.document$) window.document$.subscribe(arrive);
  else document.addEventListener("DOMContentLoaded", arrive);
})();
