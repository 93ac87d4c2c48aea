// An output whose items show, when the pointer or the focus is on them, where the model looked in the input.

import { colour, glow, make, svg } from "./dom.js";

const LEAST = 0.04; // a weight that is drawn
const HINT = "Point at the answer, or walk along it with the arrow keys, to see where the model looked.";

export function attention(about, input, answer) {
  const { sources, targets, weights } = answer.attention;
  const place = make("div", { className: "attention" });
  const to = items(targets, "targets", answer.output);
  let look;
  if (input.look) {
    look = (row) => input.look(row, sources);
    place.append(to);
  } else {
    const from = items(sources, "sources", input.text());
    const curves = svg("svg", { "aria-hidden": "true" });
    look = (row, item) => {
      [...from.children].forEach((span, i) => { span.style.background = row ? glow(Math.sqrt(row[i]) * 0.5) : ""; });
      curves.replaceChildren(...(row ? lines(place, from, item, row) : []));
    };
    place.append(from, to, curves);
  }
  [...to.children].forEach((item, i) => {
    const on = () => look(weights[i], item), off = () => look(null);
    item.addEventListener("pointerenter", on);
    item.addEventListener("pointerleave", off);
    item.addEventListener("focus", on);
    item.addEventListener("blur", off);
  });
  walk(to);
  return [place, make("p", { className: "hint" }, HINT)];
}

// Items as spans, with blanks between them where the text has them and the items have not.
function items(found, name, text) {
  const whole = found.at(-1) === "⏎" ? found.slice(0, -1) : found;
  const apart = whole.join("").length < text.trim().length;
  const place = make("div", { className: `text ${name}`, dir: "auto" });
  found.forEach((item, i) => {
    const end = item === "⏎" && i === found.length - 1;
    place.append(make("span", { className: end ? "item end" : "item" }, i ? item : item.trimStart() || item));
    if (apart) place.append(" ");
  });
  return place;
}

function lines(place, from, item, row) {
  const box = place.getBoundingClientRect(), to = item.getBoundingClientRect();
  const x = to.left + to.width / 2 - box.left, y = to.top - box.top + 2;
  return [...from.children].flatMap((span, i) => {
    if (row[i] < LEAST) return [];
    const place = span.getBoundingClientRect();
    const [a, b] = [place.left + place.width / 2 - box.left, place.bottom - box.top - 2];
    const middle = (b + y) / 2;
    return [svg("path", {
      d: `M${a} ${b} C${a} ${middle} ${x} ${middle} ${x} ${y}`,
      fill: "none",
      stroke: colour("--accent"),
      "stroke-width": 1 + 2.5 * row[i],
      "stroke-opacity": 0.25 + 0.75 * row[i],
    })];
  });
}

// One stop for the Tab key; the arrow keys go from item to item.
function walk(place) {
  const all = [...place.children];
  all.forEach((item, i) => { item.tabIndex = i ? -1 : 0; });
  place.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const next = step && all[all.indexOf(document.activeElement) + step];
    if (!next) return;
    event.preventDefault();
    all.forEach((item) => { item.tabIndex = item === next ? 0 : -1; });
    next.focus();
  });
}
