// The same for pages without modules: a script that leaves one global behind.

import { RingcastError, connect } from "./index.js";

Object.assign(globalThis, { Ringcast: { connect, RingcastError } });
