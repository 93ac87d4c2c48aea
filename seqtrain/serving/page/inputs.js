// What goes in. Each widget has its `elements`, perhaps `controls`, `read()`, which makes the body of a request, and
// what an answer is drawn with: `text()`, or `look(weights, sources)`, which shows where a model looks.

import { base64, colour, glow, labelled, make, sharp, slider } from "./dom.js";
import { Pad } from "./pad.js";
import { recorder, samples } from "./sound.js";

const HINTS = {
  pairs: ["Text", "Write or paste a text"],
  labelled: ["Text", "Write or paste a text"],
  tagged: ["Sentence", "Tokens between blanks: import os"],
  attributes: ["Attributes", "name[The Mill], area[riverside]"],
};

export function chosen(about, writes, complain) {
  if (writes) return about.kind === "music" ? notes(about, complain) : prompt(about);
  if (about.kind === "series") return series(about, complain);
  if (about.kind === "recordings") return recording(about, complain);
  if (about.kind === "strokes" || about.kind === "line_images") return writing(about, complain);
  if (about.kind === "pictures") return picture(about, complain);
  return text(about);
}

function field(placeholder, more = {}) {
  return make("textarea", { placeholder, spellcheck: false, dir: "auto", ...more });
}

function text(about) {
  const [name, hint] = HINTS[about.kind] ?? ["Input", ""];
  const numbers = about.reads === "numbers";
  const area = field(numbers ? "1.5, 2, 3" : hint);
  return {
    elements: [labelled(numbers ? "Numbers" : name, area)],
    text: () => area.value,
    read() {
      if (!area.value.trim()) throw new Error("There is nothing to answer yet.");
      return { inputs: [area.value] };
    },
  };
}

// ---------------------------------------------------------------------------------------------------- generation

function sampling(about) {
  const value = about.temperature || (about.kind === "music" ? 1 : 0.8);
  const [heat, temperature] = slider("Temperature", { min: 0, max: 2, step: 0.05, value });
  const frames = about.kind === "music";
  const [name, key, items] = frames ? ["Frames", "length", 96] : ["Longest", "max_length", 400];
  const [size, length] = slider(name, { min: 8, max: 1000, step: 8, value: items });
  const decode = () => ({ temperature: Number(temperature.value), [key]: Number(length.value) });
  return { controls: [heat, size], decode };
}

function prompt(about) {
  const { controls, decode } = sampling(about);
  const area = field("Nothing, or the beginning");
  const labels = about.labels?.length
    ? make("select", {}, ...about.labels.map((label) => make("option", { value: label }, label))) : null;
  return {
    elements: [...(labels ? [labelled("Kind", labels)] : []), labelled("Beginning", area)],
    controls,
    text: () => area.value,
    read: () => ({ input: labels ? `${labels.value}\t${area.value}` : area.value, decode: decode() }),
  };
}

function notes(about, complain) {
  const { controls, decode } = sampling(about);
  const area = field("Nothing, or frames: C4+E4+G4 C4+F4+A4", { className: "code" });
  let dropped = null;
  const zone = drop("Or drop a MIDI or ABC file here", about.endings, async (file) => {
    dropped = file ? base64(new Uint8Array(await file.arrayBuffer())) : null;
    area.disabled = Boolean(dropped);
  }, complain);
  return {
    elements: [labelled("Beginning", area), zone],
    controls,
    text: () => (dropped ? "" : area.value),
    read: () => ({ ...(dropped ? { file: dropped } : { input: area.value }), decode: decode() }),
  };
}

// ---------------------------------------------------------------------------------------------------- files

// A field for one file, which can also be dropped. Calls `use` with the file, or null where it is taken away.
export function drop(text, endings, use, complain) {
  const chooser = make("input", { type: "file", accept: endings.join(","), ariaLabel: text });
  const zone = make("div", { className: "drop" }, text, chooser);
  const take = async (file) => {
    complain("");
    try {
      await use(file ?? null);
    } catch (error) {
      complain(error.message);
    }
  };
  chooser.addEventListener("change", () => take(chooser.files[0]));
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    if (event.dataTransfer.files.length) {
      chooser.files = event.dataTransfer.files;
      take(event.dataTransfer.files[0]);
    }
  });
  return zone;
}

function series(about, complain) {
  const area = field(`${about.columns.join(",")}\n… at least ${about.context} rows`, { className: "code", rows: 9 });
  const zone = drop(`Or drop a CSV file here: ${about.columns.join(", ")}`, [".csv", ".txt"], async (file) => {
    if (file) area.value = await file.text();
  }, complain);
  return {
    elements: [labelled(about.id ? "Table" : `Table, or a line of the last ${about.context} values`, area), zone],
    text: () => area.value,
    read() {
      if (!area.value.trim()) throw new Error("There is no table yet.");
      return { inputs: [area.value] };
    },
  };
}

function recording(about, complain) {
  const wave = make("canvas", { className: "wave", role: "img", ariaLabel: "The recording" });
  const player = make("audio", { controls: true });
  const shown = make("div", { hidden: true }, wave, player);
  let bytes = null, heard = null, weights = null;
  const draw = () => {
    const [context, width, height] = sharp(wave);
    if (weights) bands(context, weights, width, height);
    context.fillStyle = colour("--ink");
    for (let x = 0; heard && x < width; x++) {
      const part = heard.subarray(Math.floor(x * heard.length / width), Math.floor((x + 1) * heard.length / width) + 1);
      const loud = part.reduce((most, value) => Math.max(most, Math.abs(value)), 0.01);
      context.fillRect(x, height / 2 * (1 - loud), 1, Math.max(1, height * loud));
    }
  };
  const use = async (blob) => {
    shown.hidden = !blob;
    bytes = blob ? new Uint8Array(await blob.arrayBuffer()) : null;
    if (!bytes) return;
    weights = null;
    player.src = URL.createObjectURL(blob);
    heard = await samples(bytes.slice().buffer);
    draw();
  };
  window.addEventListener("resize", () => bytes && draw());
  const zone = drop("Drop a recording here (WAV), or record one", about.endings, use, complain);
  return {
    elements: [zone, recorder(use, complain), shown],
    look(row) { weights = row; draw(); },
    read() {
      if (!bytes) throw new Error("There is no recording yet.");
      return { files: [base64(bytes)] };
    },
  };
}

// Weights as bands from left to right.
function bands(context, weights, width, height) {
  const most = Math.max(...weights);
  weights.forEach((weight, i) => {
    context.fillStyle = glow(0.75 * weight / most);
    context.fillRect(i * width / weights.length, 0, width / weights.length + 1, height);
  });
}

function picture(about, complain) {
  const image = make("img", { alt: "The picture" });
  const veil = make("canvas");
  const shown = make("div", { className: "picture", hidden: true }, image, veil);
  let bytes = null;
  const use = async (file) => {
    shown.hidden = !file;
    bytes = file ? new Uint8Array(await file.arrayBuffer()) : null;
    if (file) image.src = URL.createObjectURL(file);
    sharp(veil);
  };
  return {
    elements: [drop("Drop a picture here", about.endings, use, complain), shown],
    look(weights) {
      const [context, width, height] = sharp(veil);
      if (!weights) return;
      // The places are a grid over the square in the middle, which is what the model sees.
      const side = Math.round(Math.sqrt(weights.length)), most = Math.max(...weights);
      const cell = Math.min(width, height) / side, left = (width - side * cell) / 2, top = (height - side * cell) / 2;
      context.fillStyle = "rgb(0 0 0 / 0.72)";
      context.fillRect(0, 0, width, height);
      for (let i = 0; i < side * side; i++) {
        const [x, y] = [left + (i % side) * cell, top + Math.floor(i / side) * cell];
        context.clearRect(x, y, cell + 0.5, cell + 0.5);
        context.fillStyle = `rgb(0 0 0 / ${0.72 * (1 - weights[i] / most)})`;
        context.fillRect(x, y, cell + 0.5, cell + 0.5);
      }
    },
    read() {
      if (!bytes) throw new Error("There is no picture yet.");
      return { files: [base64(bytes)] };
    },
  };
}

function writing(about, complain) {
  const strokes = about.kind === "strokes";
  const pad = new Pad(strokes);
  let bytes = null;
  const zone = drop("Or drop a file here", about.endings, async (file) => {
    bytes = file ? new Uint8Array(await file.arrayBuffer()) : null;
  }, complain);
  return {
    elements: [labelled("Write here, with mouse, finger or pen", pad.canvas), pad.buttons, zone],
    look(row, sources) { if (!bytes) pad.look(row, sources); },
    async read() {
      if (!bytes && pad.empty) throw new Error("Nothing is written yet.");
      return { files: [base64(bytes ?? await pad.content())] };
    },
  };
}
