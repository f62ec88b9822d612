// Decides flags with Unleash's own SDK. Given on stdin: url, token, now, and subjects with names.
// Prints for each subject what each flag answers: on or off, a variant's name and its payload.
const { InMemStorageProvider, startUnleash } = require('unleash-client');

async function main() {
  const given = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));
  const unleash = await startUnleash({
    url: `${given.url}/api`,
    appName: 'tests',
    customHeaders: { Authorization: given.token },
    storageProvider: new InMemStorageProvider(),
    // Long enough never to come due; what was counted is sent below.
    refreshInterval: 3_600_000,
    metricsInterval: 3_600_000,
  });
  const currentTime = new Date(given.now);
  const told = given.subjects.map(({ userId, properties, names }) =>
    names.map((name) => {
      const variant = unleash.getVariant(name, { userId, properties, currentTime });
      return variant.enabled
        ? [variant.feature_enabled, variant.name, variant.payload ?? null]
        : [variant.feature_enabled, null, null];
    }),
  );
  await unleash.flushMetrics();
  unleash.destroy();
  process.stdout.write(JSON.stringify(told), () => process.exit(0));
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
