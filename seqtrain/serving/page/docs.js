// The calls of openapi.json, and for each of them a command to copy.

import { make } from "./dom.js";

const EXAMPLES = {
  "/api/predict": { inputs: ["…"] },
  "/api/stream": { input: "…" },
  "/api/file": { output: "…", ending: ".wav" },
};

const SIGNS = { minimum: "≥", exclusiveMinimum: ">", maximum: "≤", exclusiveMaximum: "<" };

const api = await (await fetch("openapi.json")).json();
const schema = (node) => (node?.$ref ? api.components.schemas[node.$ref.split("/").at(-1)] : node);

function type(node) {
  if (node.anyOf) return node.anyOf.map(type).join(" or ");
  if (node.$ref) return "object";
  if (node.type === "array") return `list of ${type(node.items)}s`;
  const bounds = Object.keys(SIGNS).filter((key) => key in node).map((key) => `${SIGNS[key]} ${node[key]}`);
  return [node.type, ...bounds].join(" ");
}

function row(kind, ...cells) {
  return make("tr", {}, ...cells.map((cell) => make(kind, {}, cell)));
}

function rows(node, prefix = "") {
  return Object.entries(node.properties ?? {}).flatMap(([name, value]) => (schema(value).properties
    ? rows(schema(value), `${prefix}${name}.`)
    : [row("td", `${prefix}${name}`, type(value), value.description ?? "")]));
}

for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, call] of Object.entries(methods)) {
    const body = schema(call.requestBody?.content["application/json"].schema);
    const example = JSON.stringify(EXAMPLES[path]);
    const data = example ? ` \\\n  -H 'content-type: application/json' -d '${example}'` : "";
    const codes = Object.entries(call.responses).map(([code, { description }]) => `${code} ${description}`);
    document.getElementById("calls").append(make("section", {},
      make("h2", {}, `${method.toUpperCase()} ${path}`),
      make("p", {}, call.description),
      make("pre", {}, `curl ${new URL(path.slice(1), location.href)}${data}`),
      ...(body ? [make("table", {}, row("th", "key", "type", "meaning"), ...rows(body))] : []),
      make("p", { className: "hint" }, codes.join(" · "))));
  }
}
