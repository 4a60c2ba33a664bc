// Send one signed request to a controller: `node signed_request.mjs METHOD URL [BODY]`.
// The password of root@sys comes from DAGENGINE_PASSWORD. Node.js 18 or newer, no packages.
import { constants, createCipheriv, createPublicKey, publicEncrypt, randomBytes } from "node:crypto";

function encryptHeader(publicKey, plain) {
  const key = createPublicKey({ key: Buffer.from(publicKey, "base64"), format: "der", type: "pkcs1" });
  const size = key.asymmetricKeyDetails.modulusLength / 8 - 11;
  const blocks = [];
  for (let at = 0; at < plain.length; at += size) {
    const block = plain.subarray(at, at + size);
    blocks.push(publicEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, block));
  }
  return Buffer.concat(blocks).toString("base64");
}

function encryptBody(keys, plain) {
  const cipher = createCipheriv("aes-128-cbc", keys.subarray(0, 16), keys.subarray(16));
  return Buffer.concat([cipher.update(plain), cipher.final()]).toString("base64");
}

const [method, url, body] = process.argv.slice(2);
const target = new URL(url);
const secret = await (await fetch(new URL("/api/v1/secret", target))).json();
const keys = randomBytes(32); // AES key and IV, new for each request
const header = {
  auth: process.env.DAGENGINE_PASSWORD,
  ts: String(Math.floor(Date.now() / 1000) + 60),
  uri: target.pathname + target.search,
  keys: keys.toString("base64"),
};
const response = await fetch(target, {
  method,
  headers: { "X-OCS-Header": encryptHeader(secret.data.public_key, Buffer.from(JSON.stringify(header))) },
  body: body ? encryptBody(keys, Buffer.from(body)) : undefined,
});
console.log(await response.text());
process.exitCode = response.ok ? 0 : 1;
