// Verify the signature file argv[2] with the public key (PEM) argv[3] by @sigstore/verify, and print the payload.
const fs = require("fs");
const crypto = require("crypto");
const { bundleFromJSON } = require("@sigstore/bundle");
const { Verifier, toSignedEntity, toTrustMaterial } = require("@sigstore/verify");

const pem = fs.readFileSync(process.argv[3], "utf8");
const spki = crypto.createPublicKey(pem).export({ format: "der", type: "spki" });
const hint = crypto.createHash("sha256").update(spki).digest("base64");
const none = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };
const bundle = bundleFromJSON(JSON.parse(fs.readFileSync(process.argv[2], "utf8")));
const verifier = new Verifier(toTrustMaterial(none, { [hint]: { rawBytes: spki } }), {
  tlogThreshold: 0,
  timestampThreshold: 0,
  ctlogThreshold: 0,
});
verifier.verify(toSignedEntity(bundle));
process.stdout.write(bundle.content.dsseEnvelope.payload);
