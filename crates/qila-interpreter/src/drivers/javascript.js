// Run by Qila as one program for a context: reads cells from its input, a JSON object on each line, runs each where the ones
// before ran, and marks the end of each. Node's own REPL evaluates: `await` at the top, and `const` that lasts.
'use strict';
const mark = process.env.QILA_MARK;
delete process.env.QILA_MARK;
const repl = require('repl');
const util = require('util');
const readline = require('readline');
const { PassThrough } = require('stream');
const quiet = new PassThrough();
quiet.resume();
const session = repl.start({ prompt: '', input: new PassThrough(), output: quiet, useGlobal: true, ignoreUndefined: true });
// Where the REPL runs code in a domain, what the code throws is told there instead of to whoever asked.
let thrown = () => {};
if (session._domain) {
  session._domain.removeAllListeners('error');
  session._domain.on('error', (error) => thrown(error));
}
// An interrupted cell that waits for something is not waited for any more. One that computes is ended with its context: where
// Node 20's own `breakEvalOnSigint` is on, the second signal ends it always.
let interrupted = () => {};
process.on('SIGINT', () => interrupted());
process.on('uncaughtException', (error) => process.stderr.write(`${error && error.stack ? error.stack : error}\n`));
const say = (event) => process.stdout.write(`\x1e${mark} ${JSON.stringify(event)}\n`);
const parts = (value) => {
  const out = { text: typeof value === 'string' ? value : util.inspect(value, { depth: 6, maxArrayLength: 1000, maxStringLength: 1e6 }) };
  if (value !== null && typeof value === 'object') {
    try {
      const json = JSON.stringify(value);
      if (json && json.length < 1e6) out.json = JSON.parse(json);
    } catch {}
  }
  return out;
};
const run = (code) => new Promise((done) => {
  interrupted = () => done([new Error('the cell was interrupted')]);
  thrown = (error) => done([error === undefined || error === null ? new Error(String(error)) : error]);
  session.eval(`${code}\n`, session.context, 'cell', (error, value) => {
    Promise.resolve(value).then((settled) => done([error, settled]), (rejected) => done([rejected]));
  });
});
process.stdout.write(`\x1e${mark} ready\n`);
process.stderr.write(`\x1e${mark} ready\n`);
(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { code, env } = JSON.parse(line);
    const old = {};
    for (const [name, value] of Object.entries(env)) {
      old[name] = process.env[name];
      process.env[name] = value;
    }
    let [error, value] = await run(code);
    if (error) {
      if (error instanceof repl.Recoverable) error = error.err;
      const known = error instanceof Error || (error && error.stack);
      say({
        type: 'error',
        name: known ? String(error.name) : 'Error',
        value: known ? String(error.message) : util.inspect(error),
        traceback: known ? String(error.stack) : util.inspect(error),
      });
    } else if (value !== undefined) {
      say({ type: 'result', parts: parts(value) });
    }
    for (const [name, value] of Object.entries(old)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    process.stdout.write(`\x1e${mark} end\n`);
    process.stderr.write(`\x1e${mark} end\n`);
  }
  process.exit(0);
})();
