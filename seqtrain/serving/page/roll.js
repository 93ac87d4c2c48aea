// A piano roll, of the words in which a model writes one: keys of a frame joined by +, a point for silence.

import { colour, make, sharp } from "./dom.js";

const NAMES = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"];

function pitch(name) {
  const [, letter, octave] = name.match(/^([A-G]#?)(-?\d+)$/) ?? [];
  return letter ? NAMES.indexOf(letter) + 12 * (Number(octave) + 1) : null;
}

export function roll(text) {
  const frames = text.split(/\s+/).filter(Boolean).map((word) => (word === "." ? [] : word.split("+").map(pitch)));
  const keys = frames.flat().filter((key) => key !== null);
  const name = `A piano roll of ${frames.length} frames`;
  const canvas = make("canvas", { className: "roll", role: "img", ariaLabel: name });
  const draw = () => {
    const [context, width, height] = sharp(canvas);
    const low = Math.min(...keys, 60) - 2, high = Math.max(...keys, 72) + 2;
    const tall = height / (high - low + 1), wide = width / Math.max(frames.length, 32);
    for (let key = low; key <= high; key++) {
      context.globalAlpha = NAMES[((key % 12) + 12) % 12].includes("#") ? 0.45 : 0;
      context.fillStyle = colour("--line");
      context.fillRect(0, (high - key) * tall, width, tall);
    }
    context.globalAlpha = 1;
    context.fillStyle = colour("--accent");
    frames.forEach((frame, i) => frame.forEach((key) => {
      if (key === null) return;
      const held = frames[i + 1]?.includes(key);
      context.fillRect(i * wide, (high - key) * tall + 0.5, held ? wide + 0.5 : wide * 0.85, Math.max(1, tall - 1));
    }));
  };
  requestAnimationFrame(draw);
  return canvas;
}
