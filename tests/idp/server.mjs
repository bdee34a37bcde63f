// A certified OpenID provider on loopback, for the tests. Run with: node server.mjs
//
// What the environment may say is in settings.mjs, what only tests may ask in control.mjs.

import { fstatSync } from 'node:fs';
import { createServer } from 'node:http';

import { control, count } from './control.mjs';
import { login } from './login.mjs';
import { newKeys, newProvider } from './provider.mjs';
import { settings } from './settings.mjs';

const idp = {
  issuer: undefined,
  keys: newKeys(),
  provider: undefined,
  /** Goes on with other keys. What is kept stays. */
  restart(keys) {
    this.keys = keys;
    this.provider = newProvider(this.issuer, keys);
    this.provider.use(count);
    this.handle = this.provider.callback();
  },
};

const server = createServer(async (request, response) => {
  try {
    if (await control(request, response, idp)) return;
    if (await login(request, response, idp.provider)) return;
    await idp.handle(request, response);
  } catch (error) {
    response.writeHead(error.status ?? 500, { 'content-type': 'text/plain' });
    response.end(`${error.message}\n`);
  }
});

server.on('error', (error) => {
  process.stderr.write(`PORT=${settings.port}: ${error.message}\n`);
  process.exit(2);
});

server.listen(settings.port, '127.0.0.1', () => {
  idp.issuer = `http://127.0.0.1:${server.address().port}`;
  idp.restart(idp.keys);
  process.stdout.write(`listening on ${idp.issuer}\n`);
});

function stop() {
  server.close(() => process.exit(0));
  server.closeAllConnections();
}

process.on('SIGTERM', stop);
process.on('SIGINT', stop);
// Whoever started it with a pipe has gone when the pipe ends.
if (fstatSync(0).isFIFO()) process.stdin.on('end', stop).resume();
