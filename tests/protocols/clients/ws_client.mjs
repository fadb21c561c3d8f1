// ws.
import { createRequire } from 'node:module';
import { authority, each, fields, tell, TIMEOUT, url } from './common.mjs';

const WebSocket = createRequire(process.env.QILA_NODE + '/')('ws');

await each(
  (op) =>
    new Promise((done) => {
      const ws = new WebSocket(url(op).replace(/^http/, 'ws'), { headers: fields(op), ca: authority(op), handshakeTimeout: TIMEOUT });
      const got = [];
      const late = setTimeout(() => ws.terminate(), TIMEOUT);
      let binary = 0;
      const finish = (what) => {
        clearTimeout(late);
        tell(op.case, what);
        done();
      };
      ws.on('open', () => ws.send(op.messages[0]));
      ws.on('message', (data, isBinary) => {
        if (isBinary) {
          binary = data.length;
          return ws.close(1000);
        }
        got.push(data.toString());
        if (got.length < op.messages.length) ws.send(op.messages[got.length]);
        else ws.send(Buffer.alloc(76800, 1));
      });
      ws.on('close', (code) => finish({ status: 101, version: '1.1', messages: got, binary, closed: code, zipped: ws.extensions }));
      ws.on('unexpected-response', (_request, r) => {
        let body = '';
        r.on('data', (d) => (body += d));
        r.on('end', () => {
          ws.removeAllListeners('close');
          ws.on('error', () => {});
          finish({ status: r.statusCode, headers: r.headers, body });
        });
      });
      ws.on('error', (e) => {
        ws.removeAllListeners('close');
        finish({ error: `${e.name}: ${e.message}` });
      });
    }),
);
