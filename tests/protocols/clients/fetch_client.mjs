// Node's own fetch (HTTP/1.1), undici's with HTTP/2, and node:https for fields after a body.
import http from 'node:http';
import https from 'node:https';
import { createRequire } from 'node:module';
import { authority, each, fields, tell, TIMEOUT, url } from './common.mjs';

const require = createRequire(process.env.QILA_NODE + '/');
const undici = require('undici');

const options = (op) => {
  const headers = fields(op);
  const out = { method: op.method, headers, signal: AbortSignal.timeout(TIMEOUT) };
  out.redirect = op.feature === 'redirect' ? 'follow' : 'manual';
  if (op.feature === 'upload') {
    out.duplex = 'half';
    out.body = new ReadableStream({
      start(c) {
        for (let n = 0; n < op.size; n += 1000) c.enqueue(new Uint8Array(1000).fill(112));
        c.close();
      },
    });
  } else if (op.size) out.body = 'p'.repeat(op.size);
  else if (op.send) {
    out.body = op.send;
    headers['content-type'] = 'application/json';
  }
  if (op.feature === 'range') headers.range = 'bytes=100-199';
  if (['gzip', 'br', 'zstd'].includes(op.feature)) headers['accept-encoding'] = op.feature;
  return out;
};

const classic = (op) =>
  new Promise((done, failed) => {
    const library = op.base.startsWith('https') ? https : http;
    const request = library.request(url(op), { method: op.method, headers: fields(op), ca: authority(op), timeout: TIMEOUT }, (r) => {
      let body = '';
      r.on('data', (d) => (body += d));
      r.on('end', () => {
        tell(op.case, { status: r.statusCode, version: r.httpVersion, headers: r.headers, body, trailers: r.trailers });
        done();
      });
      r.on('error', failed);
    });
    request.on('error', failed);
    request.end();
  });

await each(async (op) => {
  if (op.feature === 'trailers') return classic(op);
  const two = op.version === '2';
  const own = two || op.ca;
  const dispatcher = own ? new undici.Agent({ allowH2: two, connect: { ca: authority(op) ?? (await roots()) } }) : undefined;
  const get = own ? undici.fetch : fetch;
  const r = await get(url(op), { ...options(op), dispatcher });
  const headers = Object.fromEntries(r.headers);
  if (op.feature === 'sse' && r.status === 200) {
    const seen = [];
    let text = '';
    for await (const part of r.body) {
      text += new TextDecoder().decode(part);
      for (let at; (at = text.indexOf('\n')) >= 0; text = text.slice(at + 1)) {
        const line = text.slice(0, at);
        if (!line.startsWith('id: ')) continue;
        seen.push(Number(line.slice(4)));
        const ack = await get(url(op, `/ack?id=${op.id}&n=${seen.at(-1)}`, false), { method: 'POST', headers: fields(op), dispatcher });
        await ack.text();
      }
    }
    return tell(op.case, { status: r.status, headers, events: seen });
  }
  tell(op.case, { status: r.status, headers, body: await r.text() });
});

async function roots() {
  const { readFileSync } = await import('node:fs');
  return readFileSync(process.env.NODE_EXTRA_CA_CERTS, 'utf8');
}
