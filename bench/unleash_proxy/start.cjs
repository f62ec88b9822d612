// Starts the proxy from the folder where it is installed, on the loopback address alone: its own
// command listens on every address.  Arguments: node_modules, port, upstream address, client key.
const { join } = require('node:path');

const [modules, port, upstream, clientKey] = process.argv.slice(2);
const { createApp } = require(join(modules, '@unleash', 'proxy'));
const { InMemStorageProvider } = require(join(modules, 'unleash-client'));

const AN_HOUR = 3_600_000; // No run lasts so long: nothing is fetched or told while it is measured.

createApp({
  unleashUrl: upstream,
  unleashApiToken: 'no-token',
  clientKeys: [clientKey],
  refreshInterval: AN_HOUR,
  metricsInterval: AN_HOUR,
  enableAllEndpoint: true,
  logLevel: 'error',
  storageProvider: new InMemStorageProvider(),
}).listen(Number(port), '127.0.0.1');
