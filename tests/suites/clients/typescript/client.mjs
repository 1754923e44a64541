// A client on the TypeScript SDK: signs in with the SDK's own OAuth support, lists the tools, calls some.
//
//   node client.mjs v1|v2 legacy|modern URL SIGN_INS CALLS
//
// CALLS is JSON, a list of [tool, arguments]. Each sign-in is a new client that registers, and knows nothing of
// the earlier ones. The program writes one JSON object per line: {"authorize": URL} when the user's browser is
// wanted, then it reads the address to which the browser is sent back; {"session": {...}} after each sign-in.
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';

const [line, protocol, url, signIns, callsText] = process.argv.slice(2);
const calls = JSON.parse(callsText);
const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

// The two release lines differ in their import paths and in the arguments that finish a sign-in.
async function load() {
  if (line === 'v2') {
    const sdk = await import('@modelcontextprotocol/client');
    return {
      Client: sdk.Client,
      Transport: sdk.StreamableHTTPClientTransport,
      UnauthorizedError: sdk.UnauthorizedError,
      options: { versionNegotiation: { mode: protocol === 'modern' ? { pin: '2026-07-28' } : 'legacy' } },
      finish: (transport, parameters) => transport.finishAuth(parameters),
    };
  }
  if (protocol === 'modern') throw new Error('release line 1 of the SDK does not know revision 2026-07-28');
  const { Client } = await import('@modelcontextprotocol/sdk/client/index.js');
  const { StreamableHTTPClientTransport } = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
  const { UnauthorizedError } = await import('@modelcontextprotocol/sdk/client/auth.js');
  return {
    Client,
    Transport: StreamableHTTPClientTransport,
    UnauthorizedError,
    options: {},
    finish: (transport, parameters) => transport.finishAuth(parameters.get('code')),
  };
}

// Keeps in memory what the SDK asks to keep.
class Provider {
  redirectUrl = 'http://127.0.0.1:33421/callback';
  clientMetadata = {
    client_name: 'Behalf TypeScript client',
    redirect_uris: [this.redirectUrl],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
  };
  signIns = 0;
  state = () => (this.expected = randomUUID());
  clientInformation = () => this.client;
  saveClientInformation = (client) => { this.client = client; };
  tokens = () => this.kept;
  saveTokens = (tokens) => { this.kept = tokens; };
  // Release line 1 of the SDK asks to forget tokens that the server answers with `invalid_grant`.
  invalidateCredentials = (scope) => { if (scope === 'all' || scope === 'tokens') this.kept = undefined; };
  saveCodeVerifier = (verifier) => { this.verifier = verifier; };
  codeVerifier = () => this.verifier;
  saveDiscoveryState = (state) => { this.discovery = state; };
  discoveryState = () => this.discovery;
  redirectToAuthorization = (address) => {
    this.signIns += 1;
    say({ authorize: address.href });
  };

  // Returns the parameters of the redirect. The SDK does not check `state`, so this client does.
  async callback() {
    const { value } = await input.next();
    const parameters = new URL(value).searchParams;
    if (parameters.get('state') !== this.expected) throw new Error('the redirect carries another state');
    return parameters;
  }
}

async function session(sdk) {
  const provider = new Provider();
  let client;
  let transport;
  const connect = async () => {
    transport = new sdk.Transport(new URL(url), { authProvider: provider });
    client = new sdk.Client({ name: 'behalf-typescript-client', version: '1.0.0' }, sdk.options);
    await client.connect(transport);
  };
  // A step-up is a second sign-in in the middle of a call; a third one would be a loop.
  const signedIn = async (operation) => {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await operation();
      } catch (error) {
        if (!(error instanceof sdk.UnauthorizedError) || attempt === 2) throw error;
        await sdk.finish(transport, await provider.callback());
      }
    }
  };

  await signedIn(connect);
  const { tools } = await signedIn(() => client.listTools());
  const results = [];
  for (const [tool, parameters] of calls) {
    const result = await signedIn(() => client.callTool({ name: tool, arguments: parameters }));
    const text = result.content.map((part) => part.text ?? '').join('\n');
    results.push({ isError: result.isError === true, text });
  }
  await client.close();
  say({
    session: {
      signIns: provider.signIns,
      scope: provider.kept?.scope ?? '',
      tools: tools.map((tool) => tool.name),
      results,
    },
  });
}

const sdk = await load();
for (let number = 0; number < Number(signIns); number += 1) await session(sdk);
process.exit(0);
