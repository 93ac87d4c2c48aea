// Elements made by hand. What a model or a file says becomes text, never HTML.

export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// A canvas as sharp as the screen, emptied. Returns [its context, width, height], in CSS pixels.
export function sharp(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return [context, width, height];
}

export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export function glow(share) {
  return `rgb(${colour("--glow")} / ${share.toFixed(3)})`;
}

// A labelled control.
export function labelled(text, control, ...more) {
  control.id ||= `c${text.replace(/\W+/g, "-")}`;
  return make("div", {}, make("label", { htmlFor: control.id }, text, ...more), control);
}

export function slider(text, { min, max, step, value }) {
  const shown = make("output", {}, String(value));
  const control = make("input", { type: "range", min, max, step, value });
  control.addEventListener("input", () => { shown.textContent = control.value; });
  return [labelled(text, control, shown), control];
}

// Bytes as base64, in pieces that the stack holds.
export function base64(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}
