// Loads a package from MLXD_TEST_NODE: modules would look for it beside themselves only.
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.MLXD_TEST_NODE, "node_modules", "x.js"));

export const load = (name) => require(name);
