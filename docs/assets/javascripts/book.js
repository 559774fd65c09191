// What the pages need beyond the theme. Nothing here computes: numbers come from the build.
(() => {
  "use strict";

  // A box that scrolls sideways can be reached by keyboard as long as it does scroll.
  const scrolling = (box) => {
    if (box.scrollWidth > box.clientWidth + 1) {
      box.tabIndex = 0;
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", box.matches(".math-display") ? "A formula that scrolls" : "A table that scrolls");
    } else if (box.hasAttribute("tabindex")) {
      for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
    }
  };
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) scrolling(target.closest(".math-display, .md-typeset__scrollwrap") || target);
  });
  const watch = (box) => {
    sizes.observe(box);
    for (const child of box.children) sizes.observe(child); // a font that comes late makes it wider
  };

  // A snippet with what it needs from those above it: the build has noted which lines those are.
  const script = (snippet) => {
    const lines = (number) =>
      document.querySelector(`[data-snippet="${number}"] code`).textContent.replace(/\n$/, "").split("\n");
    const parts = snippet.dataset.needs.split(" ").map((part) => {
      const [, number, first, last] = part.match(/^(\d+):(\d+)-(\d+)$/);
      return lines(number).slice(first - 1, last).join("\n");
    });
    return [...parts, ...lines(snippet.dataset.snippet)].join("\n") + "\n";
  };
  const scriptButton = (snippet) => {
    const button = document.createElement("button");
    const words = "Copy with what it needs from above";
    const name = (text) => {
      button.title = text;
      button.setAttribute("aria-label", text);
    };
    button.className = "md-code__button book-script";
    button.type = "button";
    name(words);
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(script(snippet));
      name("Copied");
      setTimeout(() => name(words), 2000);
    });
    return button;
  };

  // The theme puts the button that copies into a landmark of its own, and wraps tables, after the page is there.
  const added = new MutationObserver(() => finish(document));
  const finish = (root) => {
    for (const nav of root.querySelectorAll("nav.md-code__nav:not([role])")) {
      nav.setAttribute("role", "none");
      const snippet = nav.closest("[data-needs]");
      if (snippet && snippet.dataset.needs) nav.prepend(scriptButton(snippet));
    }
    for (const box of root.querySelectorAll(".md-typeset__scrollwrap:not([data-watched])")) {
      box.dataset.watched = "";
      watch(box);
    }
  };

  // A click that comes before the theme is ready leads to the page, but not to the place on it that the link names.
  let clicked = "";
  addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    if (link) clicked = link.pathname === location.pathname ? "" : link.hash;
  }, true);
  const land = () => {
    const place = clicked && document.getElementById(decodeURIComponent(clicked.slice(1)));
    clicked = "";
    if (place) requestAnimationFrame(() => place.scrollIntoView());
  };

  const arrive = () => {
    sizes.disconnect();
    added.disconnect();
    const article = document.querySelector("article");
    if (!article) return;
    land();
    for (const box of article.querySelectorAll("[data-watched]")) delete box.dataset.watched;
    article.querySelectorAll(".math-display").forEach(watch);
    finish(article);
    added.observe(article, { childList: true, subtree: true });
  };

  // The theme says when a page is there, the first one or one reached by a click without loading.
  if (window.document$) window.document$.subscribe(arrive);
  else document.addEventListener("DOMContentLoaded", arrive);
})();
