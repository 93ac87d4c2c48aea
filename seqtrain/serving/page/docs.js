// The calls of openapi.json, and for each of them a command to copy.

import { make } from "./dom.js";

const EXAMPLES = {
  "/api/predict": { inputs: ["…"] },
  "/api/stream": { input: "…" },
  "/api/file": { output: "…", ending: ".wav" },
};

const api = await (await fetch("openapi.json")).json();
const schema = (node) => (node?.$ref ? api.components.schemas[node.$ref.split("/").at(-1)] : node);

function type(node) {
  if (node.anyOf) return node.anyOf.map(type).join(" or ");
  if (node.$ref) return "object";
  if (node.type === "array") return `list of ${type(node.items)}s`;
  const bounds = { minimum: "≥", exclusiveMinimum: ">", maximum: "≤", exclusiveMaximum: "<" };
  return [node.type, ...Object.entries(bounds).filter(([key]) => key in node).map(([key, sign]) => `${sign} ${node[key]}`)].join(" ");
}

function rows(node, prefix = "") {
  return Object.entries(node.properties ?? {}).flatMap(([name, value]) => (schema(value).properties
    ? rows(schema(value), `${prefix}${name}.`)
    : [make("tr", {}, ...[`${prefix}${name}`, type(value), value.description ?? ""].map((cell) => make("td", {}, cell)))]));
}

for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, call] of Object.entries(methods)) {
    const body = schema(call.requestBody?.content["application/json"].schema);
    const data = EXAMPLES[path] ? ` \\\n  -H 'content-type: application/json' -d '${JSON.stringify(EXAMPLES[path])}'` : "";
    const codes = Object.entries(call.responses).map(([code, { description }]) => `${code} ${description}`).join(" · ");
    document.getElementById("calls").append(make("section", {},
      make("h2", {}, `${method.toUpperCase()} ${path}`),
      make("p", {}, call.description),
      make("pre", {}, `curl ${new URL(path.slice(1), location.href)}${data}`),
      ...(body ? [make("table", {}, make("tr", {}, ...["key", "type", "meaning"].map((name) => make("th", {}, name))), ...rows(body))] : []),
      make("p", { className: "hint" }, codes)));
  }
}
