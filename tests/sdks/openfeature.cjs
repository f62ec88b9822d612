// Asks for flags with OpenFeature's own providers. Given on stdin: url, token, worthless, strict.
// Prints what each client answered.
const { OpenFeature: Web } = require('@openfeature/web-sdk');
const { OFREPWebProvider } = require('@openfeature/ofrep-web-provider');
const { OpenFeature: Server } = require('@openfeature/server-sdk');
const { OFREPProvider } = require('@openfeature/ofrep-provider');

const DEFAULTS = {
  'a.on': false,
  'b.half': false,
  'c.text': 'default',
  'd.whole': -1,
  'e.float': -1,
  'f.object': {},
  'g.killed': true,
  'h.killed.text': 'default',
  'i.rule': false,
  none: false,
};
const KINDS = { boolean: 'Boolean', string: 'String', number: 'Number', object: 'Object' };

const brief = ({ value, reason, variant, errorCode }) => ({ value, reason, variant, errorCode });

async function all(client, context) {
  const found = {};
  for (const [name, value] of Object.entries(DEFAULTS)) {
    const ask = `get${KINDS[typeof value]}Details`;
    found[name] = brief(await client[ask](name, value, context));
  }
  return found;
}

async function web({ url, token, worthless, strict }) {
  const told = {};
  const provider = (key, base = url) =>
    new OFREPWebProvider({ baseUrl: base, headers: [['X-API-Key', key]] });
  await Web.setContext({ targetingKey: 'user-1', plan: 'free' });
  await Web.setProviderAndWait(provider(token));
  told.free = await all(Web.getClient());
  // The same key, another attribute: the provider sends the tag that it has.
  await Web.setContext({ targetingKey: 'user-1', plan: 'pro' });
  told.pro = await all(Web.getClient());
  await Web.setContext({ targetingKey: 'user-1', plan: 'pro', other: 1 });
  told.again = await all(Web.getClient());
  await Web.setContext({});
  told.nobody = await all(Web.getClient());
  await Web.setProviderAndWait('worthless', provider(worthless)).catch(() => {});
  told.worthless = Web.getClient('worthless').providerStatus;
  await Web.setProviderAndWait('strict', provider(token, strict)).catch(() => {});
  told.limited = Web.getClient('strict').providerStatus;
  // It was told when to come back, and does not ask before that.
  await Web.setContext('strict', { targetingKey: 'user-2' });
  await Web.close();
  return told;
}

async function server({ url, token, worthless, strict }) {
  const told = {};
  const provider = (key, base = url) =>
    new OFREPProvider({ baseUrl: base, headers: [['Authorization', `Bearer ${key}`]] });
  await Server.setProviderAndWait(provider(token));
  told.free = await all(Server.getClient(), { targetingKey: 'user-1', plan: 'free' });
  told.pro = await all(Server.getClient(), { targetingKey: 'user-1', plan: 'pro' });
  told.nobody = await all(Server.getClient(), {});
  await Server.setProviderAndWait('worthless', provider(worthless));
  told.worthless = brief(await Server.getClient('worthless').getBooleanDetails('a.on', false));
  await Server.setProviderAndWait('strict', provider(token, strict));
  told.limited = [];
  for (let number = 0; number < 3; number += 1) {
    told.limited.push(brief(await Server.getClient('strict').getBooleanDetails('a.on', false)));
  }
  await Server.close();
  return told;
}

async function main() {
  const given = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));
  process.stdout.write(JSON.stringify({ server: await server(given), web: await web(given) }));
}

main().then(() => process.exit(0), (error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
