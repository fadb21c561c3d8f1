// @grpc/grpc-js: messages are bytes.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { each, fields, tell, TIMEOUT } from './common.mjs';

const grpc = createRequire(process.env.QILA_NODE + '/')('@grpc/grpc-js');
const same = (b) => b;

await each(async (op) => {
  const host = op.base.split('//')[1];
  const secure = op.base.startsWith('https');
  const roots = secure ? readFileSync(op.ca ?? process.env.GRPC_DEFAULT_SSL_ROOTS_FILE_PATH) : undefined;
  const client = new grpc.Client(secure ? `${host}:443` : `${host}:80`, secure ? grpc.credentials.createSsl(roots) : grpc.credentials.createInsecure());
  const data = new grpc.Metadata();
  for (const [name, value] of Object.entries(fields(op))) data.set(name, value);
  const name = `${op.prefix}/qila.Echo/${{ unary: 'Unary', 'server-stream': 'ServerStream', 'client-stream': 'ClientStream', bidi: 'Bidi' }[op.feature]}`;
  const limit = { deadline: Date.now() + TIMEOUT };
  const got = [];
  let after = {};
  try {
    await new Promise((done, failed) => {
      const end = (error, value) => {
        if (error) return failed(error);
        got.push(value.toString());
      };
      let call;
      if (op.feature === 'unary') call = client.makeUnaryRequest(name, same, same, Buffer.from('word'), data, limit, end);
      else if (op.feature === 'client-stream') {
        call = client.makeClientStreamRequest(name, same, same, data, limit, end);
        for (const word of ['a', 'b', 'c']) call.write(Buffer.from(word));
        call.end();
      } else if (op.feature === 'server-stream') call = client.makeServerStreamRequest(name, same, same, Buffer.from('word'), data, limit);
      else {
        call = client.makeBidiStreamRequest(name, same, same, data, limit);
        call.write(Buffer.from('word 0'));
      }
      if (op.feature === 'server-stream' || op.feature === 'bidi') {
        call.on('data', (m) => {
          got.push(m.toString());
          if (op.feature === 'bidi') got.length < 4 ? call.write(Buffer.from(`word ${got.length}`)) : call.end();
        });
        call.on('error', failed);
      }
      call.on('status', (status) => {
        after = status.metadata.getMap();
        status.code === 0 ? setImmediate(done) : failed(Object.assign(new Error(status.details), { code: status.code, details: status.details }));
      });
    });
    tell(op.case, { grpc: 'OK', messages: got, trailers: after });
  } catch (error) {
    tell(op.case, { grpc: grpc.status[error.code] ?? String(error.code), error: error.details ?? error.message });
  }
  client.close();
});
