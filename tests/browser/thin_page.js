// Take out what axe has no rule for and only counts: strokes of drawings and of formulas, and all but the first of
// alike words of code. Every box keeps its size. Without this axe takes ten times as long.
() => {
  const sized = (element, { width, height }) =>
    Object.assign(element.style, { display: "inline-block", width: `${width}px`, height: `${height}px` });
  const drawings = [...document.querySelectorAll("svg[role=img]")].map((svg) => [svg, svg.getBoundingClientRect()]);
  const formulas = [...document.querySelectorAll("math")].map((math) => [math, math.getBoundingClientRect()]);
  for (const [svg, box] of drawings) {
    if (box.width) sized(svg, box);
    svg.replaceChildren();
  }
  for (const [math, box] of formulas) {
    const stand = document.createElement("span");
    stand.setAttribute("role", "img"); // without content a box that scrolls would not count as one
    stand.setAttribute("aria-label", "formula");
    sized(stand, box);
    math.replaceWith(stand);
  }
  const seen = new Set();
  for (const word of document.querySelectorAll("pre code span")) {
    const look = `${word.className} in ${word.parentElement.className}`;
    if (seen.has(look) && !word.querySelector("a")) word.replaceWith(...word.childNodes);
    else seen.add(look);
  }
}
