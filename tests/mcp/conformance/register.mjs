// The suite asks node:fs for globSync, which Node.js has from version 22 on, and uses it only in commands that are not run here.
import { register } from "node:module";

register("./hooks.mjs", import.meta.url);
