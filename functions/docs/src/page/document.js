"use strict";
// What the OpenAPI document says: references followed, schemas put into words, values made of them.
let api = {};

function resolve(node, depth = 0) {
  if (!node || !node.$ref || depth > 20) return node || {};
  if (!node.$ref.startsWith("#/")) return {};
  const target = node.$ref.slice(2).split("/").reduce((at, key) => at?.[decodeURIComponent(key).replace(/~1/g, "/").replace(/~0/g, "~")], api);
  const { $ref, ...beside } = node;
  return { ...resolve(target, depth + 1), ...beside };
}

const typesOf = schema => [schema.type ?? []].flat();
const isNull = part => typesOf(resolve(part)).join() === "null";

/** The one schema of `oneOf`/`anyOf: [null, schema]`. */
function orNull(schema) {
  const choices = schema?.oneOf || schema?.anyOf;
  return choices?.length === 2 && choices.some(isNull) ? choices.find(part => !isNull(part)) : undefined;
}

/** The name of a schema that has a place of its own in the document. */
function nameOf(node) {
  if (node?.$ref) return decodeURIComponent(node.$ref.split("/").pop());
  return orNull(node) ? nameOf(orNull(node)) : undefined;
}

/** `allOf` taken together; a choice between null and one schema as that schema, marked nullable. */
function flat(node) {
  let schema = resolve(node);
  if (schema.allOf) {
    const { allOf, ...own } = schema;
    schema = [own, ...allOf.map(flat)].reduce((all, part) => ({ ...all, ...part,
      properties: { ...all.properties, ...part.properties }, required: [...(all.required || []), ...(part.required || [])] }), {});
    if (!Object.keys(schema.properties).length) delete schema.properties;
  }
  const other = orNull(schema);
  if (other) {
    const { oneOf, anyOf, ...own } = schema;
    schema = { ...flat(other), ...own, nullable: true };
  }
  return schema;
}

const choicesOf = schema => schema.oneOf || schema.anyOf;

function typeName(node) {
  const schema = flat(node);
  let name = nameOf(node) || schema.title;
  if (!name && choicesOf(schema)) name = choicesOf(schema).map(typeName).join(" or ");
  if (!name && typesOf(schema).includes("array")) name = `list of ${typeName(schema.items || {})}`;
  name ||= typesOf(schema).filter(type => type !== "null").join(" or ") || (schema.properties ? "object" : schema.const !== undefined ? "constant" : "any");
  return name + (schema.format ? ` (${schema.format})` : "") + (schema.nullable || typesOf(schema).includes("null") ? " or null" : "");
}

function rules(schema) {
  const said = [];
  const add = (key, text) => schema[key] !== undefined && said.push(text(schema[key]));
  add("const", value => `is ${JSON.stringify(value)}`);
  add("enum", values => `one of ${values.map(value => JSON.stringify(value)).join(", ")}`);
  add("minimum", value => `≥ ${value}`); add("exclusiveMinimum", value => `> ${value}`);
  add("maximum", value => `≤ ${value}`); add("exclusiveMaximum", value => `< ${value}`);
  add("minLength", value => `at least ${value} long`); add("maxLength", value => `at most ${value} long`);
  add("minItems", value => `at least ${value} entries`); add("maxItems", value => `at most ${value} entries`);
  add("pattern", value => `matches ${value}`); add("default", value => `default ${JSON.stringify(value)}`);
  if (schema.readOnly) said.push("read only");
  if (schema.additionalProperties === false) said.push("no other fields");
  return said.join(" · ");
}

/** A value by a schema: the document's own example, else one made of its fields; `all` has those that may be left out, too. */
function sample(node, all = false, depth = 0) {
  const schema = flat(node);
  for (const value of [schema.example, schema.examples?.[0], schema.default, schema.const, schema.enum?.[0]]) if (value !== undefined && value !== null) return value;
  if (choicesOf(schema)) return sample(choicesOf(schema)[0], all, depth + 1);
  const type = typesOf(schema).find(one => one !== "null") ?? (schema.properties ? "object" : "string");
  if (depth > 8) return null;
  if (type === "array") return schema.items ? [sample(schema.items, all, depth + 1)] : [];
  if (type === "object") return Object.fromEntries(Object.entries(schema.properties || {})
    .filter(([field]) => all || (schema.required?.includes(field) ?? true)).map(([field, part]) => [field, sample(part, all, depth + 1)]));
  if (type === "integer" || type === "number") return schema.minimum ?? 0;
  if (type === "boolean") return false;
  const byFormat = { email: "ada@example.com", "date-time": new Date().toISOString(), password: "correct horse battery" };
  return byFormat[schema.format] ?? "text".padEnd(Math.min(schema.minLength || 0, 64), "x");
}

/** Bodies to start from, by name: the media type's own example, each of the schema's, or those of its alternatives. */
function samplesOf(media) {
  if (media.example !== undefined) return [["example", media.example]];
  const of = node => {
    const schema = flat(node), name = nameOf(node) || schema.title || "example";
    if (choicesOf(schema)) return choicesOf(schema).flatMap(of);
    return (schema.examples || [sample(node)]).map(value => [name, value]);
  };
  return of(media.schema || {});
}
