// Elements: built one by one, so that no text is ever read as markup.
const $ = id => document.getElementById(id);

/** An element: attributes by name, `on…` as listeners. */
function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== false));
  return element;
}

/** `code`, **strong**, *emphasis* and [links](…) of one line of Markdown; an address that is no web address stays text. */
function inline(text) {
  const parts = [];
  let last = 0;
  for (const found of text.matchAll(/`([^`]+)`|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*|\[([^\]]+)\]\(([^)\s]+)\)/g)) {
    parts.push(text.slice(last, found.index));
    const [whole, code, strong, emphasis, label, address] = found;
    if (code) parts.push(h("code", {}, code));
    else if (strong) parts.push(h("strong", {}, inline(strong)));
    else if (emphasis) parts.push(h("em", {}, inline(emphasis)));
    else parts.push(/^(https?:\/\/|#)/.test(address) ? h("a", { href: address, rel: "noopener noreferrer" }, label) : whole);
    last = found.index + whole.length;
  }
  return [...parts, text.slice(last)];
}

/** What CommonMark makes of a description, as far as descriptions go: paragraphs, headings, lists, fenced code and what is inline. */
function markdown(text) {
  const blocks = [];
  for (const [whole, , fenced] of (text || "").matchAll(/(```[^\n]*\n([\s\S]*?)```)|[^\n]+(?:\n(?!\s*\n|```)[^\n]+)*/g)) {
    const lines = whole.split("\n");
    if (fenced !== undefined) blocks.push(copyable(fenced.trimEnd(), "code"));
    else if (/^#{1,6} /.test(whole)) blocks.push(h("h4", {}, inline(whole.replace(/^#+ /, ""))));
    else if (/^\s*[-*] /.test(whole)) {
      const entries = whole.split(/\n(?=\s*[-*] )/).map(entry => entry.replace(/^\s*[-*] /, "").replaceAll("\n", " "));
      blocks.push(h("ul", {}, entries.map(entry => h("li", {}, inline(entry)))));
    } else blocks.push(h("p", {}, inline(lines.join(" "))));
  }
  return blocks;
}

/** A text in a box, and a button that copies it. `text` may be asked for anew each time. */
function copyable(text, label) {
  const said = typeof text === "function" ? text : () => text;
  const box = h("pre", { tabindex: "0", "aria-label": label }, said());
  const button = h("button", { type: "button", class: "quiet copy", "aria-label": `Copy ${label}`, onclick: async () => {
    try {
      await navigator.clipboard.writeText(box.textContent);
      button.textContent = "Copied";
    } catch { // no permission, or no secure context: left marked for the keyboard
      getSelection().selectAllChildren(box);
      button.textContent = "Marked";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  } }, "Copy");
  return Object.assign(h("div", { class: "copyable" }, box, button), { renew: () => { box.textContent = said(); } });
}

/** A type's name, which leads to it if it has a place of its own. */
function typeLink(node) {
  const name = nameOf(node) || nameOf(flat(node).items);
  return h("span", { class: "type" }, name ? h("a", { href: `#schema-${name}` }, typeName(node)) : typeName(node));
}

/** What a schema says, as a nested list; a type that contains itself is named, not unfolded again. */
function schemaView(node, inside = []) {
  const schema = flat(node), name = nameOf(node);
  if (name && inside.includes(name)) return null;
  const path = name ? [...inside, name] : inside;
  if (choicesOf(schema)) return h("ul", { class: "schema" }, choicesOf(schema).map((part, index) =>
    h("li", {}, h("span", { class: "type" }, index ? "or " : "either "), typeLink(part), schemaView(part, path))));
  if (typesOf(schema).includes("array")) return schemaView(schema.items || {}, path);
  const fields = Object.entries(schema.properties || {});
  if (typeof schema.additionalProperties === "object") fields.push(["(any name)", schema.additionalProperties]);
  if (!fields.length) return null;
  return h("ul", { class: "schema" }, fields.map(([field, value]) => {
    const part = flat(value);
    return h("li", {}, h("span", { class: "name" }, field), " ", typeLink(value), " ",
      schema.required?.includes(field) && h("span", { class: "req" }, "required"), " ", h("span", { class: "rule" }, rules(part)),
      part.description && h("div", { class: "meta" }, markdown(part.description)), schemaView(value, path));
  }));
}
