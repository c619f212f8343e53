// Gives the suite, on an older Node.js, a node:fs that has globSync.
import * as fs from "node:fs";

const source = 'export * from "node:fs"; export { default } from "node:fs"; export function globSync() { throw new Error("Node.js 22 has it"); }';
const shim = `data:text/javascript,${encodeURIComponent(source)}`;

export async function resolve(specifier, context, next) {
  const asked = specifier === "fs" && context.parentURL?.includes("/conformance/dist/");
  return asked && !("globSync" in fs) ? { url: shim, shortCircuit: true } : next(specifier, context);
}
