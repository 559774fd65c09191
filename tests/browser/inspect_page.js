// What is wrong with the page as it stands? Returns a list of sentences; it is evaluated in the page.
() => {
  const wrong = [];
  const article = document.querySelector("article");
  if (!article) return ["there is no article"];
  const short = (element) => `<${element.tagName.toLowerCase()} class="${element.getAttribute("class") || ""}"> ` +
    `"${(element.textContent || "").trim().replace(/\s+/g, " ").slice(0, 60)}"`;
  const shown = (element) => element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });

  // Nothing is wider than the page; what scrolls, scrolls in a box of its own.
  const root = document.documentElement;
  if (root.scrollWidth > window.innerWidth) wrong.push(`the page is ${root.scrollWidth} wide of ${window.innerWidth}`);
  const scrolls = (element) => {
    for (let box = element; box && box !== article; box = box.parentElement)
      if (["auto", "scroll", "hidden"].includes(getComputedStyle(box).overflowX)) return true;
    return false;
  };
  for (const element of article.querySelectorAll("*")) {
    const box = element.getBoundingClientRect();
    const out = box.width && (box.right > window.innerWidth + 1 || box.left < -1);
    if (out && !element.closest("svg") && shown(element) && !scrolls(element))
      wrong.push(`sticks out to ${Math.round(box.left)}..${Math.round(box.right)}: ${short(element)}`);
  }

  // Every formula is drawn, in the font of the book.
  const formulas = [...document.querySelectorAll("math")];
  for (const math of formulas) {
    const box = math.getBoundingClientRect();
    if (shown(math) && (box.width < 2 || box.height < 2)) wrong.push(`an empty formula: ${short(math)}`);
    if (math.querySelector("merror")) wrong.push(`a formula with an error: ${short(math)}`);
    if (!getComputedStyle(math).fontFamily.includes("Derivable Math")) wrong.push(`another font: ${short(math)}`);
  }
  if (formulas.some((math) => article.contains(math)) &&
      ![...document.fonts].some((font) => /Derivable Math/.test(font.family) && font.status === "loaded"))
    wrong.push("the font of the formulas is not loaded");
  const prose = document.body.cloneNode(true);
  prose.querySelectorAll("code, pre, script, style, svg, math, template, .dollar").forEach((part) => part.remove());
  for (const leftover of prose.textContent.match(/.{0,30}(\$|\\\(|\\\[|\\[a-z]{2,}\b|\/\/\/|\[@).{0,30}/g) || [])
    wrong.push(`not rendered: ${leftover.trim()}`);

  // Structure: one title, headings in order, no anchor twice, words for every picture.
  const levels = [...article.querySelectorAll("h1, h2, h3, h4, h5, h6")].map((h) => Number(h.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1 || levels[0] !== 1) wrong.push(`titles: ${levels}`);
  levels.forEach((level, i) => {
    if (i && level > levels[i - 1] + 1) wrong.push(`a heading skips from ${levels[i - 1]} to ${level}`);
  });
  const seen = new Set();
  for (const element of document.querySelectorAll("[id]")) {
    if (seen.has(element.id)) wrong.push(`the anchor ${element.id} stands twice`);
    seen.add(element.id);
  }
  for (const picture of article.querySelectorAll("figure svg, img"))
    if (!(picture.getAttribute("aria-label") || picture.getAttribute("alt"))) wrong.push("a picture without words");
  for (const svg of article.querySelectorAll("figure svg"))
    if (shown(svg) && svg.getBoundingClientRect().height < 40) wrong.push("a picture that is not drawn");

  // Text can be read: contrast of at least 4.5 to 1 against what lies behind it (3 to 1 for large text).
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const rgba = (colour) => known.get(colour) || known.set(colour, paint(colour)).get(colour);
  const paint = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, bottom) => [0, 1, 2].map((i) => top[i] * top[3] + bottom[i] * (1 - top[3])).concat(1);
  const grounds = new Map([[null, [255, 255, 255, 1]]]);
  const behind = (element) => {
    if (!grounds.has(element))
      grounds.set(element, over(rgba(getComputedStyle(element).backgroundColor), behind(element.parentElement)));
    return grounds.get(element);
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const pale = new Set();
  const walker = document.createTreeWalker(article, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.getClientRects().length) continue;
    if (element.closest("svg, .headerlink, button, nav") || !shown(element)) continue;
    const style = getComputedStyle(element);
    const ground = behind(element);
    const [a, b] = [light(over(rgba(style.color), ground)), light(ground)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) pale.add(`contrast ${ratio.toFixed(2)} (${style.color}): ${short(element)}`);
  }
  return wrong.concat([...pale].slice(0, 5));
}
