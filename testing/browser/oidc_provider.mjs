// A real OpenID provider on loopback, over TLS: panva's oidc-provider with its own login and consent pages. On SIGUSR2 it
// signs with a new key and forgets the old one.
//
//   node oidc_provider.mjs PORT KEY CERT CLIENT SECRET REDIRECT      (packages from target/browser)
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:https";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [port, key, cert, client_id, client_secret, redirect] = process.argv.slice(2);
const require = createRequire(join(process.env.CHORION_BROWSER_PACKAGES, "package.json"));
const { Provider } = await import(pathToFileURL(require.resolve("oidc-provider")).href);

function start() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const jwk = { ...privateKey.export({ format: "jwk" }), kid: randomUUID(), use: "sig", alg: "RS256" };
  return new Provider(`https://127.0.0.1:${port}`, {
    clients: [{
      client_id, client_secret, redirect_uris: [redirect], response_types: ["code"], grant_types: ["authorization_code"],
    }],
    jwks: { keys: [jwk] },
    pkce: { required: () => true },
    cookies: { keys: ["only for this test"] },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  }).callback();
}

let answer = start();
process.on("SIGUSR2", () => { answer = start(); });
createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (request, response) => answer(request, response))
  .listen(Number(port), "127.0.0.1", () => console.log("ready"));
