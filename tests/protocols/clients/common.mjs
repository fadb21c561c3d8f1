// What the Node clients share: cases from standard input, a line of JSON out for each.
import { readFileSync } from 'node:fs';

export const TIMEOUT = 8000;
export const cases = () => JSON.parse(readFileSync(0, 'utf8'));
export const url = (op, path, query = true) => {
  const text = op.base + op.prefix + (path ?? op.path);
  return query && op.query ? text + (text.includes('?') ? '&' : '?') + op.query : text;
};
export const fields = (op) => {
  const out = { 'x-case': op.case, ...(op.headers ?? {}) };
  if (op.key) out.authorization = `Bearer ${process.env[op.key]}`;
  if (op.feature === 'trailers') out.te = 'trailers';
  if (op.feature === 'large') for (let n = 0; n < 8; n++) out[`x-big-${n}`] = 'b'.repeat(900);
  return out;
};
export const authority = (op) => (op.ca ? readFileSync(op.ca, 'utf8') : undefined);
export const tell = (name, what) => {
  if (typeof what.body === 'string') what.body = what.body.slice(0, 4096);
  console.log(JSON.stringify({ case: name, ...what }));
};
export const shown = (error) => {
  const all = [];
  for (let e = error; e && all.length < 5; e = e.cause) all.push(`${e.name}: ${e.message}${e.code ? ` (${e.code})` : ''}`);
  return all.join(' <- ').slice(0, 1500);
};
export const each = async (run) => {
  for (const op of cases()) {
    try {
      await run(op);
    } catch (error) {
      tell(op.case, { error: shown(error) });
    }
  }
  process.exit(0);
};
