// Builds the package: node build.mjs [folder], dist beside this file unless told.
//   ringcast.js           an ES module
//   sealed.js             another, for those who read sealed topics
//   ringcast.global.js    a script for pages without modules: the global `Ringcast`
//   *.d.ts                the types
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const folder = resolve(process.argv[2] ?? `${here}/dist`);
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");

try {
  execFileSync(process.execPath, [tsc, "-p", here, "--outDir", folder], { stdio: "inherit" });
} catch {
  process.exit(1); // it has said why
}
const shared = {
  absWorkingDir: here,
  bundle: true,
  minify: true,
  mangleProps: /[^_]_$/, // what one module shows the others, and nobody else
  target: "es2022",
  logLevel: "warning",
};
await build({
  ...shared, entryPoints: ["src/index.ts"], format: "esm", outfile: `${folder}/ringcast.js`,
});
await build({
  ...shared, entryPoints: ["src/sealed.ts"], format: "esm", outfile: `${folder}/sealed.js`,
});
await build({
  ...shared, entryPoints: ["src/global.ts"], format: "iife",
  outfile: `${folder}/ringcast.global.js`,
});
