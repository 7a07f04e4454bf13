// Starts emulate's GitHub on a free port of 127.0.0.1 and mints the bot's tokens on it, once for each
// line of standard input; the one before is closed.
//
//     node serve.mjs FOLDER_OF_NODE_MODULES
//
// A line is JSON: {seed, app, permissions: {NAME: {PERMISSION: LEVEL}}}; it is answered with
// {url, tokens: {NAME: TOKEN}}. The process ends when standard input does, so nothing is left behind
// by tests that are killed.
import { createSign, generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const entry = join(process.argv[2], "emulate", "dist", "api.js");
const { createEmulator } = await import(pathToFileURL(entry));
const { privateKey } = generateKeyPairSync("rsa", {
  modulusLength: 2048,
  privateKeyEncoding: { type: "pkcs1", format: "pem" },
  publicKeyEncoding: { type: "pkcs1", format: "pem" },
});

let running;
for await (const line of createInterface({ input: process.stdin })) {
  await running?.close();
  console.log(JSON.stringify(await start(JSON.parse(line))));
}
process.exit(0);

async function start({ seed, app, permissions }) {
  seed.github.apps = [{ ...app, private_key: privateKey }];
  running = await createEmulator({ service: "github", port: 0, hostname: "127.0.0.1", seed });
  const url = running.url.replace("localhost", "127.0.0.1");
  const tokens = {};
  for (const [name, wanted] of Object.entries(permissions)) {
    const at = `${url}/app/installations/${app.installations[0].installation_id}/access_tokens`;
    const answer = await fetch(at, {
      method: "POST",
      headers: { Authorization: `Bearer ${signed(app.app_id)}` },
      body: JSON.stringify({ permissions: wanted }),
    });
    const text = await answer.text();
    if (answer.status !== 201) throw new Error(`no token for ${name}: ${answer.status} ${text}`);
    tokens[name] = JSON.parse(text).token;
  }
  return { url, tokens };
}

function signed(issuer) {
  const now = Math.floor(Date.now() / 1000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = part({ iat: now - 30, exp: now + 300, iss: issuer });
  const text = `${part({ alg: "RS256", typ: "JWT" })}.${claims}`;
  return `${text}.${createSign("RSA-SHA256").update(text).sign(privateKey, "base64url")}`;
}
