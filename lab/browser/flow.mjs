// What a browser makes of the API: does it keep the session's cookie and send it, and do the first steps on /docs work as they stand?
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { createServer as createSocket } from "node:net";
import { chromium } from "playwright-core";

const STEP_MS = 20_000;
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"];

function check(holds, what) {
  if (!holds) throw new Error(what);
}

const freePort = () => new Promise((found) => {
  const socket = createSocket().listen(0, "localhost", () => {
    const { port } = socket.address();
    socket.close(() => found(port));
  });
});

/** A local system. Its own page writes with a cookie as it stands, and pages at other origins do where they are given. */
async function startSystem(program, options = []) {
  const port = await freePort();
  const system = spawn(program, ["--ephemeral", "--port", String(port), ...options]);
  let log = "";
  await new Promise((started, failed) => {
    const hear = (bytes) => {
      log += bytes;
      if (log.includes("API answers at")) started();
    };
    system.stdout.on("data", hear);
    system.stderr.on("data", hear);
    system.on("exit", () => failed(new Error(`the local system did not start\n${log}`)));
  });
  return { system, url: `http://localhost:${port}` };
}

/** From a page at another origin, which is allowed: register with a cookie, read and write with it, log out. */
async function cookieSession(browser, url, pagePort) {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`http://localhost:${pagePort}/`);
  const call = (method, path, body) => page.evaluate(async ({ url, method, path, body }) => {
    const headers = body ? { "Content-Type": "application/json" } : {};
    const reply = await fetch(url + path, { method, headers, body: body && JSON.stringify(body), credentials: "include" });
    const text = await reply.text();
    return { status: reply.status, body: text ? JSON.parse(text) : null, id: reply.headers.get("X-Request-Id") };
  }, { url, method, path, body });

  const email = `browser-${Date.now()}@example.com`;
  const account = { email, password: "correct horse battery", name: "Ada", org_name: "Engines", session: "cookie" };
  const registered = await call("POST", "/auth/register", account);
  check(registered.status === 201 && !("token" in registered.body), `register: ${JSON.stringify(registered)}`);
  check(registered.id, "a script reads X-Request-Id");
  const session = async () => (await context.cookies(url)).find((cookie) => cookie.name === "__Host-session");
  const cookie = await session();
  check(cookie && cookie.httpOnly && cookie.secure, `the browser keeps the cookie: ${JSON.stringify(cookie)}`);
  check(await page.evaluate(() => document.cookie) === "", "no script reads the cookie");
  const me = await call("GET", "/me");
  check(me.status === 200 && me.body.email === email, `read with the cookie: ${JSON.stringify(me)}`);
  const made = await call("POST", "/items", { name: "By cookie" });
  check(made.status === 201, `write with the cookie: ${JSON.stringify(made)}`);
  const out = await call("POST", "/auth/logout");
  check(out.status === 204, `log-out: ${JSON.stringify(out)}`);
  check(!(await session()), "the session's cookie is gone after the log-out");
  const after = await call("GET", "/me");
  check(after.status === 401 && after.body.code === "authentication_required", `after the log-out: ${JSON.stringify(after)}`);
  await context.close();
}

/** The page of the documents, with what it shows when nothing is changed in its forms. */
class Docs {
  constructor(page, url) {
    Object.assign(this, { page, url, complaints: [] });
    // A refused script, style or request is said here. What the API answers with 4xx is said too, and is no complaint of the page's.
    page.on("console", (message) => message.type() === "error" && !message.text().includes("the server responded") && this.complaints.push(message.text()));
    page.on("pageerror", (error) => this.complaints.push(String(error)));
  }

  async open(slashes = "") {
    await this.page.goto(`${this.url}/docs${slashes}`);
    await this.page.locator("#get_me").waitFor();
  }

  /** Opens an operation and sends what stands in its form; the reply's status and body. */
  async send(id, change = async () => {}) {
    const view = this.page.locator(`#${id}`);
    if ((await view.getAttribute("open")) === null) await view.locator("> summary").click();
    await change(view);
    await view.locator(".reply").evaluate((node) => node.replaceChildren());
    await view.getByRole("button", { name: "Send", exact: true }).click();
    await view.locator(".reply .status").waitFor({ timeout: STEP_MS });
    const status = Number((await view.locator(".reply .status").textContent()).slice(0, 3));
    const shown = view.locator('pre[aria-label="reply body"]');
    const text = (await shown.count()) ? await shown.textContent() : "null";
    return { view, status, text, body: text.startsWith("{") ? JSON.parse(text) : null };
  }
}

/** The code in the newest mail to an address, which is written after the reply. */
async function codeOf(url, address) {
  for (let tries = 0; tries < 100; tries += 1) {
    const mail = await fetch(`${url}/_local/mail-to/${encodeURIComponent(address)}`);
    const code = mail.ok && (await mail.text()).match(/^\s*(\w{4}-\w{4})\s*$/m);
    if (code) return code[1];
    await new Promise((passed) => setTimeout(passed, 100));
  }
  throw new Error(`no code has come to ${address}`);
}

async function firstSteps(browser, url) {
  const context = await browser.newContext({ permissions: ["clipboard-read", "clipboard-write"] });
  const docs = new Docs(await context.newPage(), url);
  await docs.open();

  // One to four: register, take the token, make an item, look at it. Nothing is typed.
  const registered = await docs.send("register");
  check(registered.status === 201, `register: ${registered.text}`);
  await registered.view.getByRole("button", { name: "Use this token" }).click();
  const made = await docs.send("create_item");
  check(made.status === 201, `create-item: ${made.text}`);
  const item = await docs.send("get_item");
  check(item.status === 200 && item.body.id === made.body.id, `get-item carries the id on: ${item.text}`);

  // What goes outside needs a proven address: the code of the mail, as a reader would type it.
  const code = await codeOf(url, registered.body.user.email);
  const proven = await docs.send("verify_email", (view) => view.locator("textarea").fill(JSON.stringify({ code })));
  check(proven.status === 200, `verify-email: ${proven.text}`);

  // What else a reader tries first: every kind of e-mail, and a job.
  for (const kind of [0, 1, 2, 3]) {
    const sent = await docs.send("send_email", (view) => view.getByLabel("Start from").selectOption({ index: kind }));
    check(sent.status === 202, `send-email, example ${kind}: ${sent.text}`);
  }
  const accepted = await docs.send("analyze");
  check(accepted.status === 202, `analyze: ${accepted.text}`);
  const job = await docs.send("get_job");
  check(job.status === 200 && job.body.id === accepted.body.id, `get-job carries the id on: ${job.text}`);
  const plain = await docs.send("analyze", (view) => view.getByLabel("Media type").selectOption("text/plain").then(() => view.locator("textarea").fill("A line\tand\nanother")));
  check(plain.status === 202, `analyze, plain text: ${plain.text}`);

  // Copying, and the same request for other programs, which never shows the token.
  const curl = made.view.locator(".programs pre");
  check((await curl.textContent()).includes(`curl -i -X POST '${url}/items'`), await curl.textContent());
  check((await curl.textContent()).includes("Bearer $TOKEN"), "the token is not copied along");
  await made.view.locator(".programs .copy").click();
  check((await docs.page.evaluate(() => navigator.clipboard.readText())) === (await curl.textContent()), "what is copied is what is shown");
  for (const language of ["JavaScript", "Python"]) {
    await made.view.getByLabel("Language").selectOption(language);
    check((await curl.textContent()).includes("/items"), language);
  }

  // Headers and an example of each reply; types that lead to their own place; Markdown; a filter that says when nothing matches.
  const replies = made.view.locator("details.more", { hasText: "201" }).first();
  await replies.locator("> summary").click();
  // What is folded up is filled when it opens.
  await replies.filter({ hasText: "Location" }).filter({ hasText: "itm_" }).waitFor({ timeout: STEP_MS });
  await docs.page.locator("#schema-Item > summary").click();
  await docs.page.locator("#schema-Item").filter({ hasText: "created_at" }).waitFor({ timeout: STEP_MS });
  const words = await docs.page.locator("main").innerText();
  check(!/\*\*|`|# Errors|\[`/.test(words.replaceAll(/curl[\s\S]*?--data-raw.*/g, "")), "raw Markdown is shown");
  await docs.page.locator("#filter").fill("no such thing");
  check((await docs.page.locator("#no-match").innerText()).includes("no such thing"), "nothing matches, and it says so");
  check(docs.complaints.length === 0, docs.complaints.join("\n"));
  await context.close();
}

/** The page at /docs/, which the gateway takes for /docs. */
async function slashesBehind(browser, url) {
  const context = await browser.newContext();
  for (const slashes of ["/", "//"]) {
    const docs = new Docs(await context.newPage(), url);
    await docs.open(slashes);
    const health = await docs.send("health");
    check(health.status === 200, `health, sent from /docs${slashes}: ${health.text}`);
    check(docs.complaints.length === 0, docs.complaints.join("\n"));
  }
  await context.close();
}

/** The page with the cookie alone, and on a phone. */
async function cookieOnThePage(browser, url) {
  const context = await browser.newContext({ viewport: { width: 390, height: 800 } });
  const docs = new Docs(await context.newPage(), url);
  await docs.open();
  const body = JSON.stringify({ email: `page-${Date.now()}@example.com`, password: "correct horse battery", name: "Ada", org_name: "Engines", session: "cookie" });
  const registered = await docs.send("register", (view) => view.locator("textarea").fill(body));
  check(registered.status === 201 && !registered.text.includes("cit_"), `register: ${registered.text}`);
  check((await docs.send("get_me")).status === 200, "a read with the cookie");
  check((await docs.send("create_item")).status === 201, "a write with the cookie");
  check((await docs.send("logout")).status === 204, "log-out");
  check((await docs.send("get_me")).status === 401, "after the log-out");
  check(!(await docs.page.locator("#groups").isVisible()), "the list of operations is folded up");
  await docs.page.getByRole("button", { name: "All operations" }).click();
  await docs.page.locator("#groups a", { hasText: "/usage" }).click();
  // The menu leads to an operation, and opens it.
  await docs.page.locator("#get_usage[open]").waitFor({ timeout: STEP_MS });
  const wide = await docs.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  check(wide <= 0, `${wide} pixels stand out`);
  check(docs.complaints.length === 0, docs.complaints.join("\n"));
  await context.close();
}

const pages = createServer((_, reply) => reply.setHeader("Content-Type", "text/html").end("<!doctype html><title>page</title>"));
await new Promise((listening) => pages.listen(0, "localhost", listening));
const pagePort = pages.address().port;
const program = process.argv[2];
const { system, url } = await startSystem(program);
const other = await startSystem(program, ["--allowed-origins", `http://localhost:${pagePort}`]);
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: FLAGS });
let failed = false;
for (const [name, part] of Object.entries({ cookieSession, firstSteps, slashesBehind, cookieOnThePage })) {
  try {
    await part(browser, part === cookieSession ? other.url : url, pagePort);
    console.log(`${name}: as it should be`);
  } catch (error) {
    failed = true;
    console.error(`${name}: FAILED: ${error.message}`);
  }
}
await browser.close();
system.kill();
other.system.kill();
pages.close();
process.exit(failed ? 1 : 0);
