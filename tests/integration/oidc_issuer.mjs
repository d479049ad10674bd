// A real OpenID Connect provider, oidc-provider, whose clients get JWTs in their own name for an audience they ask for.
// node oidc_issuer.mjs NODE_MODULES PORT ALGORITHM: keys are new with each start; says when it listens.
import { createServer } from 'node:http';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { pathToFileURL } from 'node:url';
const [, , modules, port, algorithm] = process.argv;
const { default: Provider } = await import(pathToFileURL(`${modules}/oidc-provider/lib/index.js`));

function key(alg) {
  const pair = alg.startsWith('ES') ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...pair.privateKey.export({ format: 'jwk' }), kid: randomUUID(), alg, use: 'sig' };
}

const isVerified = { alice: true, bob: false, dora: 'true' }; // and of carla nothing is said
const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys: algorithm === 'RS256' ? [key('RS256')] : [key(algorithm), key('RS256')] },
  clients: ['alice', 'bob', 'carla', 'dora'].map(name => ({ client_id: name, client_secret: `${name}-secret`, grant_types: ['client_credentials'],
    redirect_uris: [], response_types: [], token_endpoint_auth_method: 'client_secret_post' })),
  extraTokenClaims: (_, token) => ({ preferred_username: token.clientId, email: `${token.clientId}@example.org`,
    ...(token.clientId in isVerified && { email_verified: isVerified[token.clientId] }) }),
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => ({ scope: '', audience: resource.replace('urn:', ''), accessTokenTTL: 3600,
        accessTokenFormat: 'jwt', jwt: { sign: { alg: algorithm } } }),
    },
  },
});
createServer(provider.callback()).listen(Number(port), '127.0.0.1', () => console.log('listens'));
