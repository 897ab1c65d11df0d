"use strict";
// Filters, histograms and the viewer of the page. Text is inserted as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const PALETTE = 12; // class colors of the style sheet: .k0, .k1, …
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function draw(name, attributes = {}, text = "") {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text) element.textContent = text;
  return element;
}

const percent = (fraction) => {
  const value = 100 * fraction;
  if (value === 0 || value >= 9.95) return `${value.toFixed(0)} %`;
  return value < 1e-4 ? "< 0.0001 %" : `${value.toPrecision(2)} %`;
};
const score = (value) => (value === null ? "–" : value.toFixed(2));

// Light or dark theme, masks shown or hidden

byId("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

const maskButtons = [byId("masks"), byId("viewer-masks")];
function toggleMasks() {
  const hidden = document.body.classList.toggle("no-masks");
  for (const button of maskButtons) button.setAttribute("aria-pressed", String(!hidden));
}
for (const button of maskButtons) button.addEventListener("click", toggleMasks);

// Filters

const issues = all("#issues > li");
const cards = all("#grid > li");
const cardOf = new Map(cards.map((card) => [card.id.slice(1), card]));

const INITIAL_LABELS = 24; // so that the next section is not far away
let unfolded = false;

function filterIssues() {
  const pressed = document.querySelector('#review-filters .chip[aria-pressed="true"]');
  const kind = pressed.dataset.kind;
  const chosen = byId("review-class").value;
  const matching = issues.filter(({ dataset }) =>
    (!kind || dataset.kinds.includes(` ${kind} `)) && (!chosen || dataset.class === chosen));
  for (const item of issues) item.hidden = true;
  matching.forEach((item, index) => {
    item.hidden = false;
    item.toggleAttribute("data-folded", !unfolded && index >= INITIAL_LABELS);
  });
  byId("review-none").hidden = matching.length > 0;
  byId("review-more").hidden = unfolded || matching.length <= INITIAL_LABELS;
  byId("review-more").textContent = `Show ${matching.length - INITIAL_LABELS} more`;
}

function unfold() {
  unfolded = true;
  filterIssues();
}

if (issues.length) {
  const chips = all("#review-filters .chip");
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      for (const other of chips) other.setAttribute("aria-pressed", String(other === chip));
      filterIssues();
    });
  }
  byId("review-class").addEventListener("change", filterIssues);
  byId("review-more").addEventListener("click", () => {
    const next = document.querySelector("#issues > li[data-folded]");
    unfold();
    next.querySelector(".open").focus();
  });
  filterIssues();
}

function filterImages() {
  const name = byId("find").value.trim().toLowerCase();
  const chosen = byId("image-class").value;
  const show = byId("image-show").value;
  let shown = 0;
  for (const card of cards) {
    const { name: itemName, classes, flagged } = card.dataset;
    card.hidden =
      !itemName.includes(name) ||
      (chosen !== "" && !classes.includes(` ${chosen} `)) ||
      (show === "flagged" && flagged === "0") ||
      (show === "clean" && flagged !== "0") ||
      (show === "background" && classes.trim() !== "");
    shown += !card.hidden;
  }
  byId("image-count").textContent = `${shown.toLocaleString("en")} shown`;
  byId("image-none").hidden = shown > 0;
}

if (cards.length) {
  byId("find").addEventListener("input", filterImages);
  byId("image-class").addEventListener("change", filterImages);
  byId("image-show").addEventListener("change", filterImages);
  filterImages();
}

// Histograms

const WIDTH = 400;
const HEIGHT = 190;
const BOTTOM = HEIGHT - 22;
const TOP = 16;

function sum(rows, bins) {
  const total = new Array(bins).fill(0);
  for (const row of rows) row.forEach((count, bin) => (total[bin] += count));
  return total;
}

function drawChart(container, chart, chosen) {
  const bins = chart.edges.length - 1;
  const overall = sum(chart.counts, bins);
  const counts = chosen === "" ? overall : chart.counts[chosen];
  const unknown = chosen === "" ? chart.unknown.reduce((a, b) => a + b, 0) : chart.unknown[chosen];
  const total = counts.reduce((a, b) => a + b, 0);
  const note = container.parentElement.querySelector(".note");
  container.replaceChildren();
  container.hidden = !total;
  if (!total) {
    note.textContent = unknown ? `Unknown for all ${unknown.toLocaleString("en")} objects.` : "No objects.";
    return;
  }
  const low = chart.edges[0];
  const high = chart.edges[bins];
  const position = chart.logarithmic
    ? (value) => (Math.log(value / low) / Math.log(high / low)) * WIDTH
    : (value) => ((value - low) / (high - low)) * WIDTH;
  const most = Math.max(...counts);
  const scale = (BOTTOM - TOP) / most;
  const image = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  image.append(draw("title", {}, `${chart.title}: ${total} objects, at most ${most} per bin`));
  for (const height of [TOP, (TOP + BOTTOM) / 2, BOTTOM]) {
    image.append(draw("line", { class: "axis", x1: 0, x2: WIDTH, y1: height, y2: height }));
  }
  image.append(draw("text", { x: 0, y: TOP - 5 }, most.toLocaleString("en")));
  counts.forEach((count, bin) => {
    if (!count) return;
    const left = position(chart.edges[bin]);
    const height = Math.max(count * scale, 1);
    const bar = draw("rect", {
      class: chosen === "" ? "bar-all" : `f${chosen % PALETTE}`,
      x: left + 0.75, width: position(chart.edges[bin + 1]) - left - 1.5, y: BOTTOM - height, height, rx: 1.5,
    });
    const format = chart.logarithmic ? percent : score;
    bar.append(draw("title", {}, `${format(chart.edges[bin])} to ${format(chart.edges[bin + 1])}: ${count.toLocaleString("en")}`));
    image.append(bar);
  });
  if (chosen !== "") {
    // Outline of all classes, scaled to the same height, for comparison.
    const factor = (BOTTOM - TOP) / Math.max(...overall);
    let line = "";
    overall.forEach((count, bin) => {
      line += `${bin ? "V" : "M0 "}${BOTTOM - count * factor}H${position(chart.edges[bin + 1])}`;
    });
    image.append(draw("path", { class: "shadow", d: line }));
  }
  for (const [value, text] of chart.ticks) {
    const x = position(value);
    const anchor = x < 8 ? "start" : x > WIDTH - 8 ? "end" : "middle";
    image.append(draw("text", { x, y: HEIGHT - 6, "text-anchor": anchor }, text));
  }
  let below = "";
  if (chart.limit !== null) {
    const x = position(chart.limit);
    image.append(draw("line", { class: "limit", x1: x, x2: x, y1: TOP - 12, y2: BOTTOM }));
    image.append(draw("text", { class: "limit-text", x: x - 5, y: TOP - 5, "text-anchor": "end" }, `below ${chart.limit}`));
    const under = chosen === "" ? chart.below.reduce((a, b) => a + b, 0) : chart.below[chosen];
    below = `${percent(under / total)} below ${chart.limit}. `;
  }
  const line = chosen === "" ? "" : "The line shows all classes. ";
  note.textContent = below + line + (unknown ? `Unknown for ${unknown.toLocaleString("en")} objects.` : "");
  container.append(image);
}

function drawCharts() {
  const chosen = byId("distributions-class").value;
  for (const container of all("[data-chart]")) drawChart(container, data.charts[container.dataset.chart], chosen);
}
byId("distributions-class").addEventListener("change", drawCharts);
drawCharts();

// Near-duplicates are embedded once, in the grid, and copied from there

for (const button of all(".duplicate")) {
  const card = cardOf.get(button.dataset.image);
  const frame = button.querySelector(".frame");
  if (card) frame.replaceWith(card.querySelector(".frame").cloneNode(true));
  else { frame.classList.add("gone"); button.disabled = true; }
}

// The viewer

const viewer = byId("viewer");
const canvas = byId("canvas");
let steps = []; // entries that the arrow keys step through: [element, card, object or null]
let current = 0;

const TRACK_ORIGINS = { detected: "detected in this frame", forwards: "propagated forwards", backwards: "propagated backwards" };

function factsOf([, , confidence, quality, areaFraction, byPerson, hasMask, , , , origin]) {
  const parts = [];
  if (byPerson) parts.push("by a person");
  if (confidence !== null) parts.push(`confidence ${score(confidence)}`);
  if (quality !== null) parts.push(`quality ${score(quality)}`);
  if (!hasMask) parts.push("box only");
  if (origin !== null) parts.push(TRACK_ORIGINS[origin]);
  return { parts: parts.join(" · "), size: percent(areaFraction) };
}

function pick(number, scroll) {
  canvas.classList.toggle("picked", number !== null);
  for (const path of all("[data-object]", canvas)) path.classList.toggle("on", path.dataset.object === String(number));
  for (const row of all("button", byId("objects"))) {
    const on = row.dataset.object === String(number);
    row.classList.toggle("on", on);
    row.setAttribute("aria-pressed", String(on));
    if (on && scroll) row.scrollIntoView({ block: "nearest" });
  }
}

function show() {
  const [, card, object] = steps[current];
  const facts = JSON.parse(card.querySelector("script").textContent);
  const frame = card.querySelector(".frame");
  canvas.replaceChildren(...[...frame.children].map((child) => child.cloneNode(true)));
  canvas.classList.toggle("gone", frame.classList.contains("gone"));
  const overlay = canvas.querySelector("svg");
  all("path", overlay).forEach((path, number) => {
    path.dataset.object = number;
    path.addEventListener("click", () => pick(path.classList.contains("on") ? null : number, true));
  });
  const list = byId("objects");
  list.replaceChildren();
  facts.objects.forEach((entry, number) => {
    const [classId, caption, , , , , , box, reasons, track] = entry;
    if (box) overlay.append(draw("path", { class: "box", d: box, "data-object": number }));
    const text = factsOf(entry);
    const name = data.classes[classId];
    const row = make("button", { type: "button", "data-object": number },
      make("i", { class: `dot k${classId % PALETTE}` }), make("span", {}, track === null ? name : `${name} #${track}`),
      make("span", { class: "size" }, text.size),
      make("span", { class: "facts" }, [caption && caption !== name ? `“${caption}”` : "", text.parts].filter(Boolean).join(" · ")),
      ...reasons.map((reason) => make("span", { class: "reason" }, reason)));
    row.addEventListener("click", () => pick(row.classList.contains("on") ? null : number, false));
    list.append(make("li", {}, row));
  });
  byId("viewer-position").textContent = `${(current + 1).toLocaleString("en")} of ${steps.length.toLocaleString("en")}`;
  byId("viewer-name").textContent = facts.name;
  byId("viewer-facts").textContent = [
    facts.time, `${facts.size[1]} × ${facts.size[0]}`, data.splits.length > 1 ? facts.split : "",
    facts.objects.length === 1 ? "1 object" : facts.objects.length ? `${facts.objects.length} objects` : "background",
    facts.missing ? `cannot be shown: images ${facts.missing}` : "",
  ].filter(Boolean).join(" · ");
  byId("previous").disabled = current === 0;
  byId("next").disabled = current === steps.length - 1;
  pick(object, true);
}

function step(by) {
  const next = current + by;
  if (next < 0 || next >= steps.length) return;
  current = next;
  show();
}

function open(opener) {
  const item = opener.closest("#issues > li, #grid > li, .group figure");
  const siblings = item.parentElement.matches(".group") ? all(".group figure") : [...item.parentElement.children];
  steps = siblings.filter((element) => !element.hidden).map((element) => {
    const source = element.matches("figure") ? element.querySelector(".duplicate") : element;
    const card = element.id ? element : cardOf.get(source.dataset.image);
    const object = source.dataset.object === undefined ? null : Number(source.dataset.object);
    return [element, card, object];
  }).filter(([, card]) => card);
  current = steps.findIndex(([element]) => element === item);
  show();
  viewer.showModal();
}

document.addEventListener("click", (event) => {
  const opener = event.target.closest("button.open");
  if (opener) open(opener);
});
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("close").addEventListener("click", () => viewer.close());
viewer.addEventListener("close", () => {
  const [element] = steps[current];
  canvas.replaceChildren();
  if (element.hasAttribute("data-folded")) unfold(); // the arrow keys reached a folded label
  element.querySelector("button.open").focus({ preventScroll: true });
  element.scrollIntoView({ block: "nearest" });
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select")) return;
  if (event.key.toLowerCase() === "m") toggleMasks();
  else if (!viewer.open) return;
  else if (event.key === "ArrowLeft") step(-1);
  else if (event.key === "ArrowRight") step(1);
  else return;
  event.preventDefault();
});
