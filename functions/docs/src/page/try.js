// Trying an operation: a form, the request that it makes, the same for other programs, and the reply.
const SHOWN_CHARACTERS = 200000;
// Keeps the stage of an API Gateway address, which takes slashes behind a path: /dev/docs and /dev/docs/ -> /dev/
const base = new URL("./", location.origin + location.pathname.replace(/\/+$/, ""));
const remembered = {}; // what replies have named of what paths ask for, by the pattern of the path's parameter

/** Takes from a reply the first text that fits each path parameter, so that the next operation starts with it. */
function remember(value) {
  const found = {};
  const look = (node, depth) => {
    if (typeof node === "string") for (const pattern of patterns()) if (!(pattern in found) && new RegExp(pattern, "u").test(node)) found[pattern] = node;
    if (node && typeof node === "object" && depth < 6) for (const part of Object.values(node)) look(part, depth + 1);
  };
  look(value, 0);
  Object.assign(remembered, found);
  for (const field of document.querySelectorAll('[data-in="path"]')) if (found[field.dataset.pattern]) field.value = found[field.dataset.pattern];
  for (const form of document.forms) form.dispatchEvent(new Event("input"));
}

function patterns() {
  const parameters = Object.values(api.paths).flatMap(path => Object.values(path)).flatMap(operation => operation.parameters || []);
  return new Set(parameters.filter(one => one.in === "path").map(one => flat(one.schema || {}).pattern).filter(Boolean));
}

function parameterField(parameter, id) {
  const schema = flat(parameter.schema || {});
  const given = remembered[schema.pattern] ?? parameter.example ?? schema.examples?.[0] ?? "";
  const common = { id, "data-name": parameter.name, "data-in": parameter.in, "data-pattern": schema.pattern, required: parameter.required, autocomplete: "off", spellcheck: "false" };
  const control = schema.enum
    ? h("select", common, !parameter.required && h("option", { value: "" }, "—"), schema.enum.map(one => h("option", {}, String(one))))
    : h("input", { ...common, value: parameter.required ? given : "", placeholder: schema.default !== undefined ? `default ${schema.default}` : parameter.required ? "required" : "" });
  return [h("label", { for: id }, h("span", { class: "name" }, parameter.name), " ", parameter.required && h("span", { class: "req" }, "required"),
    h("div", { class: "type" }, `${parameter.in}, ${typeName(parameter.schema || {})}`)),
  h("div", {}, control, h("div", { class: "meta" }, markdown(parameter.description), h("span", { class: "rule" }, rules(schema))))];
}

/** The request that a form describes. With a token the cookie stays at home: it would not be looked at. */
function requestOf(operation, form) {
  const headers = new Headers({ Accept: "application/json" });
  let path = operation.path;
  const query = new URLSearchParams();
  for (const field of form.querySelectorAll("[data-name]")) {
    if (field.value === "" && field.dataset.in !== "path") continue;
    if (field.dataset.in === "path") path = path.replaceAll(`{${field.dataset.name}}`, encodeURIComponent(field.value));
    if (field.dataset.in === "query") query.append(field.dataset.name, field.value);
    if (field.dataset.in === "header") headers.set(field.dataset.name, field.value);
  }
  const token = operation.secured && $("token").value.trim();
  if (token) headers.set("Authorization", `Bearer ${token}`);
  const text = form.querySelector("textarea")?.value;
  if (text) headers.set("Content-Type", form.querySelector("[data-media]").value);
  const url = new URL(`.${path}${query.size ? `?${query}` : ""}`, base);
  return { url, init: { method: operation.method.toUpperCase(), headers, body: text || undefined, credentials: token ? "omit" : "same-origin", cache: "no-store" } };
}

/** The request in other programs' words. The token is not shown: it would be copied along. */
const LANGUAGES = {
  curl({ url, init }) {
    const quoted = text => `'${String(text).replaceAll("'", `'\\''`)}'`;
    const lines = [`curl -i -X ${init.method} ${quoted(url)}`];
    for (const [name, value] of init.headers) lines.push(name === "authorization" ? `-H "Authorization: Bearer $TOKEN"` : `-H ${quoted(`${name}: ${value}`)}`);
    if (init.body) lines.push(`--data-raw ${quoted(init.body)}`);
    return lines.join(" \\\n  ");
  },
  JavaScript({ url, init }) {
    const headers = [...init.headers].map(([name, value]) => `    ${JSON.stringify(name)}: ${name === "authorization" ? "`Bearer ${token}`" : JSON.stringify(value)},`);
    const body = init.body ? [`  body: ${JSON.stringify(init.body)},`] : [];
    return [`const reply = await fetch(${JSON.stringify(String(url))}, {`, `  method: ${JSON.stringify(init.method)},`, "  headers: {", ...headers, "  },", ...body,
      "});", "console.log(reply.status, await reply.text());"].join("\n");
  },
  Python({ url, init }) {
    const headers = [...init.headers].map(([name, value]) => `    ${JSON.stringify(name)}: ${name === "authorization" ? 'f"Bearer {token}"' : JSON.stringify(value)},`);
    const body = init.body ? [`body = ${JSON.stringify(init.body)}.encode()`] : ["body = None"];
    return ["import urllib.request", "", "headers = {", ...headers, "}", ...body,
      `request = urllib.request.Request(${JSON.stringify(String(url))}, body, headers, method=${JSON.stringify(init.method)})`,
      "with urllib.request.urlopen(request) as reply:", "    print(reply.status, reply.read().decode())"].join("\n");
  },
};

/** The same request for other programs, which follows the form. */
function otherPrograms(operation, form) {
  const language = h("select", { "aria-label": "Language" }, Object.keys(LANGUAGES).map(name => h("option", {}, name)));
  const shown = copyable(() => LANGUAGES[language.value](requestOf(operation, form)), `${operation.method.toUpperCase()} ${operation.path}`);
  for (const from of [form, language, $("token")]) from.addEventListener("input", shown.renew);
  return h("div", { class: "programs" }, h("h3", {}, "The same by ", language), shown);
}

async function send(operation, form, output, button) {
  button.disabled = true;
  const started = performance.now();
  try {
    const request = requestOf(operation, form);
    const reply = await fetch(request.url, request.init);
    const text = await reply.text();
    const took_ms = performance.now() - started;
    let json;
    try { json = JSON.parse(text); } catch { /* not JSON: shown as it came */ }
    if (json && reply.ok) remember(json);
    const body = json === undefined ? text : JSON.stringify(json, null, 2);
    output.replaceChildren(h("div", {},
      h("h3", {}, "Reply"),
      h("p", {}, h("span", { class: `status ${reply.ok ? "ok" : "no"}` }, `${reply.status} ${reply.statusText}`), ` in ${took_ms.toFixed(0)} ms, ${text.length} characters`),
      typeof json?.token === "string" && h("button", { type: "button", class: "take", onclick: event => {
        $("token").value = json.token; $("token").dispatchEvent(new Event("input")); $("token-note").textContent = "Token taken over from the reply."; event.target.textContent = "Token in use"; } }, "Use this token"),
      body && copyable(body.length > SHOWN_CHARACTERS ? `${body.slice(0, SHOWN_CHARACTERS)}\n… (${body.length - SHOWN_CHARACTERS} characters more)` : body, "reply body"),
      h("details", { class: "more" }, h("summary", {}, "Headers"), copyable([...reply.headers].map(([name, value]) => `${name}: ${value}`).join("\n"), "reply headers"))));
  } catch (error) {
    output.replaceChildren(h("h3", {}, "No reply"), h("p", { class: "no" }, String(error.message || error)));
  } finally {
    button.disabled = false;
  }
}

/** The body's field: its media type and an example to start from may be chosen. */
function bodyField(operation) {
  const id = `${operation.id}-body`;
  const pretty = value => typeof value === "string" ? value : JSON.stringify(value, null, 2);
  const area = h("textarea", { id, spellcheck: "false" });
  const types = h("select", { "data-media": true, "aria-label": "Media type" }, Object.keys(operation.content).map(type => h("option", {}, type)));
  const start = h("select", { "aria-label": "Start from" });
  const begin = () => { area.value = pretty(samplesOf(operation.content[types.value])[start.selectedIndex]?.[1] ?? ""); };
  const renew = () => {
    start.replaceChildren(...samplesOf(operation.content[types.value]).map(([name]) => h("option", {}, name)));
    start.hidden = start.options.length < 2;
    begin();
  };
  types.addEventListener("change", renew);
  start.addEventListener("change", begin);
  renew();
  const fields = Object.values(operation.content).map(media => schemaView(media.schema || {})).filter(Boolean);
  return [h("h3", {}, h("label", { for: id }, "Body")), h("div", { class: "row" }, types, start), area,
    fields.length > 0 && h("details", { class: "more" }, h("summary", {}, "Fields of the body"), fields)];
}

function tryForm(operation) {
  const fields = operation.parameters.map((parameter, index) => parameterField(parameter, `${operation.id}-p${index}`));
  const button = h("button", { type: "submit" }, "Send");
  const output = h("div", { class: "reply", "aria-live": "polite" });
  const form = h("form", { autocomplete: "off", onsubmit: event => { event.preventDefault(); send(operation, form, output, button); } },
    fields.length > 0 && [h("h3", {}, "Parameters"), h("div", { class: "grid" }, fields)],
    operation.content && bodyField(operation),
    h("div", { class: "row" }, button, operation.secured && h("span", { class: "meta" }, "sends the token above, or the browser's cookie")));
  form.addEventListener("change", () => form.dispatchEvent(new Event("input")));
  return [form, output, otherPrograms(operation, form)];
}
