// What comes out, drawn by what an answer holds.

import * as api from "./api.js";
import { attention } from "./attention.js";
import { make } from "./dom.js";
import { forecast } from "./plot.js";
import { roll } from "./roll.js";

const SHOWN = 10; // labels

export function show(about, input, place, answer) {
  place.hidden = false;
  place.replaceChildren(...drawn(about, input, answer));
}

function drawn(about, input, answer) {
  if (about.kind === "series") return forecast(about, input.text(), answer);
  if (answer.scores) return bars(answer);
  if (Array.isArray(answer.output)) return tags(input.text(), answer.output);
  const text = written(about, input, answer.output);
  const shown = answer.attention && answer.output ? attention(about, input, answer) : [text];
  const more = about.makes.length && answer.output ? [files(about, answer.output)] : [];
  return [...shown, ...more, ...nBest(answer)];
}

function written(about, input, output) {
  if (about.kind === "music") return roll(output);
  const begin = about.kind === "pairs" || !input.text ? "" : input.text();
  const text = make("div", { className: `text${about.kind === "abc" ? " code" : ""}`, dir: "auto" });
  if (begin && output.startsWith(begin)) {
    text.append(make("span", { className: "given" }, begin), output.slice(begin.length));
  } else {
    text.append(output || "(nothing)");
  }
  return text;
}

// An output that is still being written.
export function showWritten(about, input, place, text) {
  place.hidden = false;
  place.classList.remove("busy");
  const shown = written(about, input, text);
  shown.classList.add("caret");
  place.replaceChildren(shown);
}

function nBest(answer) {
  if (!answer.n_best) return [];
  const rows = answer.n_best.map(({ output, log_prob }) => make("tr", {},
    make("td", {}, String(output)), make("td", {}, log_prob.toFixed(2))));
  return [make("details", {}, make("summary", {}, "Other outputs"), make("table", {}, ...rows))];
}

function bars({ output, scores }) {
  const sorted = Object.entries(scores).sort(([, a], [, b]) => b - a);
  const list = (some) => make("div", { className: "bars" }, ...some.flatMap(([name, share]) => {
    const fill = make("div");
    fill.style.width = `${100 * share}%`;
    const best = name === output ? " best" : "";
    return [
      make("span", { className: `name${best}` }, name),
      make("div", { className: "bar", ariaHidden: "true" }, fill),
      make("span", { className: `number${best}` }, `${(100 * share).toFixed(1)} %`),
    ];
  }));
  const rest = sorted.slice(SHOWN);
  const more = rest.length ? [make("details", {}, make("summary", {}, `${rest.length} other labels`), list(rest))] : [];
  const label = make("p", { className: "text label", dir: "auto" }, output || "no label is sure enough");
  return [label, list(sorted.slice(0, SHOWN)), ...more];
}

function tokens(text) {
  if (!text.trim().startsWith("[")) return text.trim().split(/\s+/);
  return JSON.parse(text).map((token) => (Array.isArray(token) ? token[0] : token));
}

function tags(text, found) {
  const words = tokens(text);
  const kinds = [...new Set(found.map(kind).filter((one) => one !== "O"))].sort();
  return [make("div", { className: "tags" }, ...found.map((tag, i) => {
    const shown = make("span", {}, words[i] ?? "", make("small", {}, tag === "O" ? "" : tag));
    if (tag !== "O") {
      const hue = 360 * kinds.indexOf(kind(tag)) / kinds.length + 225;
      shown.style.background = `hsl(${hue} 70% 50% / 0.18)`;
    }
    return shown;
  }))];
}

// B-NP and I-NP are of one kind.
function kind(tag) {
  return tag.replace(/^[BIESLU]-/, "");
}

// What an output becomes: a sound to hear, and files to keep.
function files(about, output) {
  const place = make("div", { className: "row" });
  const get = async (ending) => URL.createObjectURL(await api.file(output, ending));
  const fail = (error) => place.append(make("span", { className: "hint" }, error.message));
  if (about.makes.includes(".wav")) {
    const player = make("audio", { controls: true });
    place.append(player);
    get(".wav").then((url) => { player.src = url; }, (error) => { player.remove(); fail(error); });
  }
  for (const ending of about.makes) {
    const button = make("button", { type: "button" }, `Save ${ending}`);
    button.addEventListener("click", () => get(ending).then(
      (url) => make("a", { href: url, download: `output${ending}` }).click(), fail));
    place.append(button);
  }
  return place;
}
