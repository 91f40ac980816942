"use strict";
// Draws /openapi.json: every call with its parameters, body and answers.

function make(tag, text, ...children) {
  const node = document.createElement(tag);
  if (text) node.textContent = text;
  node.append(...children);
  return node;
}

function kind(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(kind).join(" | ");
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.type === "array") return `[${kind(schema.items)}]`;
  const low = schema.minimum ?? schema.minLength, high = schema.maximum ?? schema.maxLength;
  return schema.type + (low === undefined && high === undefined ? "" : ` ${low ?? ""}…${high ?? ""}`);
}

function table(rows) {
  return make("table", "", ...rows.map((row) => make("tr", "", ...row.map((cell) => make("td", cell)))));
}

// A field that may be left out has null as its default; that is all null means in a body.
function field([name, one]) {
  const left_out = one.default === undefined || one.default === null;
  const type = one.default === null ? kind(one).replace(" | null", "") : kind(one);
  return [name, type, left_out ? "" : JSON.stringify(one.default), one.description || ""];
}

function fields(schema, schemas) {
  const named = schema && schema.$ref ? schemas[schema.$ref.split("/").pop()] : schema;
  if (!named || !named.properties) return make("p", kind(schema));
  return table(Object.entries(named.properties).map(field));
}

function bodies(content, schemas) {
  return Object.entries(content || {}).flatMap(
    ([type, one]) => [make("p", type), fields(one.schema, schemas)]);
}

function call(method, path, operation, schemas) {
  const title = make("summary", "", make("code", `${method.toUpperCase()} ${path}`), ` ${operation.summary}`);
  const parts = [];
  if (operation.parameters) {
    parts.push(make("h4", "Parameters"), table(operation.parameters.map(
      (one) => [one.name, one.in, kind(one.schema), one.description || ""])));
  }
  if (operation.requestBody) {
    parts.push(make("h4", "Body"), ...bodies(operation.requestBody.content, schemas));
  }
  parts.push(make("h4", "Answers"));
  for (const [status, answer] of Object.entries(operation.responses)) {
    const title = make("summary", `${status} ${answer.description.replaceAll("`", "")}`);
    parts.push(make("details", "", title, ...bodies(answer.content, schemas)));
  }
  return make("details", "", title, ...parts);
}

async function draw() {
  const doc = await (await fetch("openapi.json")).json();
  for (const tag of doc.tags) {
    // The shortest path is what the others are about.
    const paths = Object.entries(doc.paths).sort(([one], [other]) => one.length - other.length);
    const calls = paths.flatMap(([path, methods]) => Object.entries(methods)
      .filter(([, operation]) => operation.tags[0] === tag.name)
      .map(([method, operation]) => call(method, path, operation, doc.components.schemas)));
    document.getElementById("calls").append(make("h2", tag.name), make("p", tag.description), ...calls);
  }
}

draw().catch((error) => document.getElementById("calls").append(make("p", error.message)));
