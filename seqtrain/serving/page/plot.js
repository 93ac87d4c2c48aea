// A forecast as a plot: the end of the history, the forecast, and its interval where there is one.

import { make, svg } from "./dom.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [860, 340, 62, 14, 14, 34];

export function forecast(about, text, answer) {
  const sets = answer.rows ? ofTable(about, text, answer.rows) : ofLine(about, text, answer);
  const place = make("div");
  const pick = make("select", { ariaLabel: "Series" }, ...sets.map((set, i) => make("option", { value: i }, set.name)));
  const draw = () => place.replaceChildren(...drawn(sets[Number(pick.value)]));
  pick.addEventListener("change", draw);
  draw();
  return [...(sets.length > 1 ? [pick] : []), place, table(answer)];
}

// Each channel of each series.
function ofTable(about, text, rows) {
  const given = parse(text);
  const ids = about.id ? [...new Set(rows.map((row) => row[about.id]))] : [null];
  return ids.flatMap((id) => about.targets.map((target) => {
    const of = (some) => some.filter((row) => id === null || row[about.id] === id);
    const future = of(rows);
    const known = of(given).filter((row) => !future.some((other) => other[about.date] === row[about.date]))
      .slice(-4 * about.horizon - about.context);
    const number = (row) => (row[target] === "" || row[target] === undefined ? NaN : Number(row[target]));
    return {
      name: [id, target].filter((part) => part !== null).join(": "),
      dates: [...known, ...future].map((row) => row[about.date]),
      history: known.map(number),
      forecast: future.map(number),
      interval: interval(future, target),
    };
  }));
}

function ofLine(about, text, answer) {
  const list = text.trim().startsWith("[") ? JSON.parse(text) : text.trim().split(text.includes(",") ? "," : /\s+/);
  return about.targets.map((name, channel) => {
    const numbers = (some) => some.map((value) => Number((Array.isArray(value) ? value[channel] : value) ?? NaN));
    const [history, forecast] = [numbers(list), numbers(answer.output)];
    const dates = [...history, ...forecast].map((_, i) => String(i + 1 - history.length));
    const ends = answer.lower && [numbers(answer.lower), numbers(answer.upper)];
    return { name, dates, history, forecast, interval: ends ? ends[0].map((low, i) => [low, ends[1][i]]) : null };
  });
}

// [lower, upper] of each row, where there is an interval; with several targets, columns begin with the target's name.
function interval(rows, target) {
  const prefix = `${target}_lower` in rows[0] ? `${target}_` : "";
  return `${prefix}lower` in rows[0] ? rows.map((row) => [row[`${prefix}lower`], row[`${prefix}upper`]]) : null;
}

// CSV with quotes, as objects by the header.
function parse(text) {
  const rows = text.replace(/\r\n?/g, "\n").trim().split("\n").map((line) => {
    const cells = [];
    for (const [, quoted, bare] of line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)) {
      cells.push(quoted?.replaceAll('""', '"') ?? bare);
    }
    return cells;
  });
  const [header, ...rest] = rows;
  return rest.map((cells) => Object.fromEntries(header.map((name, i) => [name.trim(), (cells[i] ?? "").trim()])));
}

function drawn({ name, dates, history, forecast, interval }) {
  const values = [...history, ...forecast, ...(interval ?? []).flat()].filter(Number.isFinite);
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (low === high) [low, high] = [low - 1, high + 1];
  const ticks = steps(low, high);
  [low, high] = [Math.min(low, ticks[0]), Math.max(high, ticks.at(-1))];
  const count = history.length + forecast.length;
  const x = (i) => LEFT + (WIDTH - LEFT - RIGHT) * i / Math.max(1, count - 1);
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low);
  const path = (some, from) => some.map((value, i) => (Number.isFinite(value)
    ? `${Number.isFinite(some[i - 1]) ? "L" : "M"}${x(from + i).toFixed(1)} ${y(value).toFixed(1)}` : "")).join("");
  const from = history.length;
  const last = history.findLastIndex(Number.isFinite);
  const plot = svg("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img",
    "aria-label": `${name}: a forecast of ${forecast.length} values after ${dates[from - 1] ?? ""}` });
  for (const tick of ticks) {
    plot.append(svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }),
      svg("text", { x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end" }, short(tick)));
  }
  const marks = Math.min(5, count);
  for (let k = 0; k < marks; k++) {
    const i = Math.round(k * (count - 1) / Math.max(1, marks - 1));
    const anchor = k === 0 ? "start" : k === marks - 1 ? "end" : "middle";
    plot.append(svg("text", { x: x(i), y: HEIGHT - 10, "text-anchor": anchor }, dates[i] ?? ""));
  }
  if (interval) {
    const side = (which, some) => some.map((pair, i) => `${x(from + i)} ${y(pair[which])}`);
    const points = [...side(1, interval), ...side(0, interval).reverse()];
    plot.append(svg("polygon", { class: "interval", points: points.join(" ") }));
  }
  plot.append(svg("line", { class: "now", x1: x(from - 0.5), x2: x(from - 0.5), y1: TOP, y2: HEIGHT - BOTTOM }));
  plot.append(svg("path", { class: "history", d: path(history, 0) }));
  const ahead = path(forecast, from);
  const joined = last < 0 ? ahead : `M${x(last)} ${y(history[last])}${ahead.replace("M", "L")}`;
  plot.append(svg("path", { class: "forecast", d: joined }));
  forecast.forEach((value, i) => plot.append(svg("circle",
    { class: "mark", cx: x(from + i), cy: y(value), r: forecast.length > 60 ? 1.5 : 3 },
    svg("title", {}, `${dates[from + i]}: ${value}`))));
  const legend = [make("span", {}, make("i"), "history"), make("span", {}, make("i", { className: "f" }), "forecast")];
  if (interval) legend.push(make("span", {}, make("i", { className: "b" }), "interval"));
  return [make("h2", {}, name), plot, make("p", { className: "legend" }, ...legend)];
}

// Round numbers from below the lowest to above the highest.
function steps(low, high) {
  const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((one) => one * power >= rough);
  const found = [];
  for (let i = Math.floor(low / step); i <= Math.ceil(high / step); i++) found.push(i * step);
  return found;
}

function short(number) {
  const size = Math.abs(number);
  return size >= 1e6 || (size && size < 1e-3) ? number.toExponential(1) : String(Number(number.toPrecision(6)));
}

function table(answer) {
  const rows = answer.rows ?? [answer.output].flat().map((value, i) => ({ step: i + 1, value }));
  const names = Object.keys(rows[0] ?? {});
  return make("details", {}, make("summary", {}, "The numbers"), make("table", {},
    make("tr", {}, ...names.map((name) => make("th", {}, name))),
    ...rows.map((row) => make("tr", {}, ...names.map((name) => make("td", {}, String(row[name])))))));
}
