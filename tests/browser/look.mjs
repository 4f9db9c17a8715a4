// Opens pages in a real Chromium and prints what came of it as one JSON array.
//
//   node look.mjs CHROMIUM PAGE:WIDTH:light|dark...
//
// playwright-core and axe-core are taken from $NODE_PATH.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const require = createRequire(import.meta.url);
const { chromium } = require("playwright-core");
const [executablePath, ...wanted] = process.argv.slice(2);

const browser = await chromium.launch({
  executablePath,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
async function look(page, width, colorScheme) {
  const context = await browser.newContext({
    viewport: { width: Number(width), height: 900 },
    colorScheme,
  });
  const tab = await context.newPage();
  const requests = [];
  const complaints = [];
  tab.on("request", (request) => requests.push(request.url()));
  tab.on("console", (message) => complaints.push(message.text()));
  tab.on("pageerror", (error) => complaints.push(String(error)));
  tab.on("dialog", (dialog) => complaints.push(`dialog: ${dialog.message()}`));
  await tab.goto(pathToFileURL(page).href);
  // Through the debugger: what the page's own policy refuses to everybody else.
  const debug = await context.newCDPSession(tab);
  const ask = async (expression) => {
    const answer = await debug.send("Runtime.evaluate", {
      expression,
      awaitPromise: true,
      returnByValue: true,
    });
    if (answer.exceptionDetails) {
      throw new Error(answer.exceptionDetails.exception?.description ?? "failed");
    }
    return answer.result.value;
  };
  const seen = await ask(`({
    title: document.title,
    language: document.documentElement.lang,
    text: document.body.innerText,
    scripts: document.scripts.length,
    styled: document.styleSheets[0]?.cssRules.length > 0
      && getComputedStyle(document.querySelector(".skip, main")).position,
    tooWide: document.documentElement.scrollWidth > innerWidth,
    broken: [...document.querySelectorAll("a[href^='#']")]
      .map((link) => link.getAttribute("href"))
      .filter((href) => !document.getElementById(decodeURIComponent(href.slice(1)))
                        && !document.getElementById(href.slice(1))),
  })`);
  const quiet = [...complaints];
  // The closed parts are looked at as well.
  await ask(`document.querySelectorAll("details").forEach((each) => { each.open = true; })`);
  await ask(readFileSync(require.resolve("axe-core/axe.min.js"), "utf8"));
  const found = await ask(`axe.run(document).then((result) => ({
    passes: result.passes.length,
    violations: result.violations.map((each) => ({
      rule: each.id,
      help: each.help,
      places: each.nodes.slice(0, 3).map((node) => node.html.slice(0, 200)),
    })),
  }))`);
  await context.close();
  return { ...seen, requests, complaints: quiet, ...found };
}

try {
  const found = [];
  for (const each of wanted) {
    found.push(await look(...each.split(":")));
  }
  console.log(JSON.stringify(found));
} finally {
  await browser.close();
}
