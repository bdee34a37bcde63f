// A certified OpenID provider on loopback, for the tests. Run with: node server.mjs
//
// settings.mjs lists the environment variables, control.mjs the endpoints for tests.

import { fstatSync } from 'node:fs';
import { createServer } from 'node:http';

import { countRequest, handleControl } from './control.mjs';
import { handleLogin } from './login.mjs';
import { createProvider, generateKeys } from './provider.mjs';
import { settings } from './settings.mjs';

const idp = {
  issuer: undefined,
  keys: generateKeys(),
  provider: undefined,
  /** Replaces the provider by one with other keys. The store keeps its entries. */
  restart(keys) {
    this.keys = keys;
    this.provider = createProvider(this.issuer, keys);
    this.provider.use(countRequest);
    this.handle = this.provider.callback();
  },
};

const server = createServer(async (request, response) => {
  try {
    if (await handleControl(request, response, idp)) return;
    if (await handleLogin(request, response, idp.provider)) return;
    await idp.handle(request, response);
  } catch (error) {
    response.writeHead(error.status ?? 500, { 'content-type': 'text/plain' });
    response.end(`${error.message}\n`);
  }
});

server.on('error', (error) => {
  process.stderr.write(`PORT=${settings.port}: ${error.message}. Use PORT=0 for any free port.\n`);
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
// If the parent process holds a pipe to stdin, the pipe ends with that process.
if (fstatSync(0).isFIFO()) process.stdin.on('end', stop).resume();
