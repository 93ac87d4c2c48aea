// A field to write on.

import { colour, glow, make, sharp } from "./dom.js";

export class Pad {
  // strokes: whether the model reads the points of the strokes, else it reads an image of them.
  constructor(strokes) {
    this.strokes = strokes;
    this.lines = [];
    this.seen = null; // where a model looked
    const name = "Field to write on; Escape clears it";
    this.canvas = make("canvas", { className: "pad", tabIndex: 0, role: "img", ariaLabel: name });
    this.buttons = make("div", { className: "row" },
      this.button("Undo", () => this.lines.pop()), this.button("Clear", () => { this.lines = []; }));
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.seen = null;
      this.lines.push([this.point(event)]);
      this.draw();
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!this.canvas.hasPointerCapture(event.pointerId)) return;
      for (const one of event.getCoalescedEvents?.() ?? [event]) this.lines.at(-1).push(this.point(one));
      this.draw();
    });
    this.canvas.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.lines = [];
      this.look(null);
    });
    window.addEventListener("resize", () => this.draw());
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  get empty() {
    return !this.lines.length;
  }

  button(text, change) {
    const button = make("button", { type: "button" }, text);
    button.addEventListener("click", () => {
      change();
      this.seen = null;
      this.draw();
    });
    return button;
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  draw() {
    const [context] = sharp(this.canvas);
    if (this.seen) this.shade(context, ...this.seen);
    trace(context, this.lines, colour("--ink"), 4);
  }

  // Shows where a model looked. sources: the points or the columns that the weights stand for.
  look(weights, sources) {
    this.seen = weights && [weights, sources];
    this.draw();
  }

  shade(context, weights, sources) {
    const most = Math.max(...weights), [left, , right] = this.bounds();
    weights.forEach((weight, i) => {
      context.fillStyle = glow(0.8 * weight / most);
      if (this.strokes) {
        const [x, y] = sources[i].split(" ").map(Number);
        context.beginPath();
        context.arc(x, y, 9, 0, 2 * Math.PI);
        context.fill();
      } else {
        const width = (right - left) / weights.length;
        context.fillRect(left + i * width, 0, width + 1, this.canvas.clientHeight);
      }
    });
  }

  bounds() {
    const points = this.lines.flat(), [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
    return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  }

  // What is sent: strokes in JSON, or a PNG with little margin.
  async content() {
    if (this.strokes) return new TextEncoder().encode(JSON.stringify(this.lines));
    const [left, top, right, bottom] = this.bounds();
    const tall = Math.max(bottom - top, (right - left) / 40, 1), edge = 0.1 * tall;
    const image = make("canvas", { width: right - left + 2 * edge + 1, height: tall + 2 * edge + 1 });
    const context = image.getContext("2d");
    context.fillStyle = "white";
    context.fillRect(0, 0, image.width, image.height);
    context.translate(edge - left, edge - top);
    trace(context, this.lines, "black", 0.096 * tall);
    const blob = await new Promise((done) => image.toBlob(done, "image/png"));
    return new Uint8Array(await blob.arrayBuffer());
  }
}

function trace(context, lines, ink, width) {
  Object.assign(context, { strokeStyle: ink, lineWidth: width, lineCap: "round", lineJoin: "round" });
  for (const line of lines) {
    context.beginPath();
    context.moveTo(...line[0]);
    for (const point of line) context.lineTo(...point);
    context.stroke();
  }
}
