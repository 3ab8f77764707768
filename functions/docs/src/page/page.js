// The page: every operation and every schema of the document, a menu and a filter.
const METHODS = ["get", "post", "put", "patch", "delete"];

function replies(operation) {
  return [h("h3", {}, "Documented replies"), Object.entries(operation.responses || {}).map(([status, node]) => {
    const reply = resolve(node), [mediaType, media] = Object.entries(reply.content || {})[0] || [];
    const headers = Object.entries(reply.headers || {}).map(([name, part]) => {
      const header = resolve(part);
      return h("li", {}, h("span", { class: "name" }, name), " ", header.required && h("span", { class: "req" }, "always"), " ", h("span", { class: "meta" }, inline(header.description || "")));
    });
    const head = [h("span", { class: `status ${status < "4" ? "ok" : "no"}` }, status), " ", inline(reply.description || ""), " ", media && h("span", { class: "type" }, `${typeName(media.schema || {})}, ${mediaType}`)];
    const view = h("details", { class: "more" }, h("summary", {}, head));
    const example = () => {
      const value = sample(media.schema || {}, true);
      if (value && typeof value === "object" && "status" in value && "code" in value) value.status = Number(status);
      return JSON.stringify(value, null, 2);
    };
    onFirstOpening(view, () => [headers.length > 0 && [h("h4", {}, "Headers"), h("ul", { class: "schema" }, headers)],
      media && mediaType.endsWith("json") && [h("h4", {}, "Body"), schemaView(media.schema || {}), h("h4", {}, "Example"), copyable(example(), `example of ${status}`)]]);
    return view;
  })];
}

/** Unfolded when first opened, so that a long document shows at once. */
function onFirstOpening(view, content) {
  view.addEventListener("toggle", () => { if (view.open && view.children.length === 1) view.append(h("div", { class: "inside" }, content())); });
}

function operationView(operation) {
  const view = h("details", { class: `op ${operation.method}`, id: operation.id, "data-text": `${operation.method} ${operation.path} ${operation.id} ${operation.summary || ""}`.toLowerCase() },
    h("summary", {}, h("span", { class: `badge ${operation.method}` }, operation.method.toUpperCase()), h("span", { class: "path" }, operation.path),
      h("span", { class: "what" }, operation.summary || ""), h("span", { class: "type" }, operation.secured ? "session" : "anyone")));
  onFirstOpening(view, () => [markdown(operation.description), tryForm(operation), replies(operation)]);
  return view;
}

function schemaDetails([name, schema]) {
  const view = h("details", { class: "op schema-of", id: `schema-${name}`, "data-text": name.toLowerCase() },
    h("summary", {}, h("span", { class: "badge" }, "TYPE"), h("span", { class: "path" }, name), h("span", { class: "what" }, inline((schema.description || "").split("\n")[0])), h("span", {})));
  onFirstOpening(view, () => [markdown(schema.description), h("p", { class: "rule" }, [typeName(schema), rules(flat(schema))].filter(Boolean).join(" · ")),
    schemaView(schema, [name]), h("h3", {}, "Example"), copyable(JSON.stringify(sample(schema, true), null, 2), `example of ${name}`)]);
  return view;
}

function operationsOf(document_) {
  return Object.entries(document_.paths || {}).flatMap(([path, node]) => METHODS.filter(method => node[method]).map(method => {
    const own = node[method];
    const parameters = [...(node.parameters || []), ...(own.parameters || [])].map(part => resolve(part)).filter(part => part.in !== "cookie");
    const demands = own.security ?? document_.security ?? [];
    return { ...own, path, method, parameters, content: resolve(own.requestBody).content, id: own.operationId || `${method}-${path.replace(/\W+/g, "-")}`,
      secured: demands.some(demand => Object.keys(demand).length > 0), tag: own.tags?.[0] || "operations" };
  }));
}

function openFromAddress() {
  const target = location.hash ? $(decodeURIComponent(location.hash.slice(1))) : null;
  if (target?.matches("details.op")) { showMenu(false); target.open = true; target.scrollIntoView(); target.querySelector("summary").focus({ preventScroll: true }); }
}

function filterOperations() {
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const view of document.querySelectorAll("details.op")) {
    view.hidden = !words.every(word => view.dataset.text.includes(word));
    found += !view.hidden;
    const entry = document.querySelector(`nav li[data-for="${CSS.escape(view.id)}"]`);
    if (entry) entry.hidden = view.hidden;
  }
  for (const group of document.querySelectorAll("[data-group]")) group.hidden = !group.querySelector(":scope > details:not([hidden]), :scope > ul > li:not([hidden])");
  $("no-match").textContent = found ? "" : `Nothing matches “${$("filter").value}”.`;
}

/** On a narrow screen the list of operations is behind a button. */
function showMenu(open) {
  $("menu").setAttribute("aria-expanded", String(open));
  $("groups").classList.toggle("open", open);
}

async function start() {
  const reply = await fetch(new URL("openapi.json", base), { credentials: "omit" });
  if (!reply.ok) throw new Error(`openapi.json answered ${reply.status}`);
  api = await reply.json();
  const operations = operationsOf(api);
  const tags = [...new Set([...(api.tags || []).map(tag => tag.name), ...operations.map(one => one.tag)])].filter(tag => operations.some(one => one.tag === tag));
  document.title = $("title").textContent = api.info?.title || "API";
  $("about").replaceChildren(`Version ${api.info?.version || "?"} · ${operations.length} operations · `, h("a", { href: new URL("openapi.json", base) }, "openapi.json"), ` · ${base}`);
  $("intro").append(...markdown(api.info?.description));
  for (const tag of tags) {
    const own = operations.filter(one => one.tag === tag);
    $("groups").append(h("div", { "data-group": tag }, h("h3", {}, tag), h("ul", {}, own.map(one => h("li", { "data-for": one.id },
      h("a", { href: `#${one.id}`, onclick: () => setTimeout(openFromAddress) }, h("span", { class: `badge ${one.method}` }, one.method.toUpperCase()), one.path))))));
    $("operations").append(h("section", { "data-group": tag, "aria-label": tag }, h("h2", {}, tag), markdown(api.tags?.find(one => one.name === tag)?.description), own.map(operationView)));
  }
  const schemas = Object.entries(api.components?.schemas || {});
  $("operations").append(h("section", { "data-group": "schemas", "aria-label": "schemas" }, h("h2", {}, "schemas"), schemas.map(schemaDetails)));
  $("filter").addEventListener("input", filterOperations);
  addEventListener("hashchange", openFromAddress);
  openFromAddress();
}

$("authorization").addEventListener("submit", event => event.preventDefault());
$("menu").addEventListener("click", () => showMenu($("menu").getAttribute("aria-expanded") !== "true"));
$("show").addEventListener("click", () => {
  const hide = $("token").type === "text";
  $("token").type = hide ? "password" : "text";
  $("show").textContent = hide ? "Show" : "Hide";
  $("show").setAttribute("aria-pressed", String(!hide));
});
start().catch(error => { $("about").textContent = `The API document could not be read: ${error.message}`; $("about").classList.add("no"); });
