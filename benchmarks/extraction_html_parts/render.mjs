// Formulas set by the programs that set them on web pages. JSON in: [[tex, display], …]; JSON out: [{name: html}, …].
//
//   node render.mjs ENGINE FOLDER < formulas.json > rendered.json
//
// FOLDER holds node_modules with katex, katex_new, temml, mathjax-node (MathJax 2), mathjax3 and mathjax4. One engine a process:
// every MathJax takes the same global name. A formula that an engine refuses is null, with a word on standard error.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [engine, folder] = process.argv.slice(2);
const require = createRequire(resolve(folder) + "/");

const engines = {
  async katex() {
    const katex = require("katex");
    const set = (output) => (tex, displayMode) => katex.renderToString(tex, { displayMode, output, strict: false });
    const newer = require("katex_new"); // other class names
    return {
      katex: set("htmlAndMathml"),
      katex_html: set("html"),
      katex_new_html: (tex, displayMode) => newer.renderToString(tex, { displayMode, output: "html", strict: false }),
    };
  },

  async temml() {
    const temml = require("temml");
    return { mathml: (tex, displayMode) => temml.renderToString(tex, { displayMode, throwOnError: true }) };
  },

  async mathjax2() {
    const { typeset, config } = require("mathjax-node");
    config({ displayErrors: false });
    const html = async (math, display) => {
      const result = await typeset({ math, format: display ? "TeX" : "inline-TeX", html: true });
      if (result.errors) throw new Error(result.errors.join(" "));
      return result.html;
    };
    return { mathjax2: html };
  },

  async mathjax3() {
    const MathJax = await mathjax("mathjax3", "output/chtml", "input/tex-full", "a11y/assistive-mml");
    const chtml = async (tex, display) => outer(MathJax, await MathJax.tex2chtmlPromise(tex, { display }));
    return { mathjax3_assistive: chtml, mathjax3_chtml: async (tex, display) => bare(await chtml(tex, display)) };
  },

  async mathjax3_svg() {
    const MathJax = await mathjax("mathjax3", "output/svg", "input/tex-full");
    return { mathjax3_svg: async (tex, display) => outer(MathJax, await MathJax.tex2svgPromise(tex, { display })) };
  },

  async mathjax4() {
    const MathJax = await mathjax("mathjax4", "output/chtml", "input/tex");
    return { mathjax4_chtml: async (tex, display) => outer(MathJax, await MathJax.tex2chtmlPromise(tex, { display })) };
  },
};

const bare = (html) => html.replace(/<mjx-assistive-mml.*<\/mjx-assistive-mml>/s, "");
const outer = (MathJax, node) => MathJax.startup.adaptor.outerHTML(node);

function mathjax(name, ...load) {
  const formatError = (_, error) => { throw error; };
  return require(name).init({ loader: { load: [...load, "adaptors/liteDOM"] }, tex: { formatError } });
}

const outputs = await engines[engine]();
const rendered = [];
for (const [tex, display] of JSON.parse(readFileSync(0, "utf-8"))) {
  const row = {};
  for (const [name, set] of Object.entries(outputs)) {
    try {
      row[name] = await set(tex, display);
    } catch (error) {
      row[name] = null;
      if (!process.env.QUIET) console.error(`${name}: ${tex}: ${error.message}`);
    }
  }
  rendered.push(row);
}
process.stdout.write(JSON.stringify(rendered), () => process.exit(0));
