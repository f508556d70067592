// Verify the signature file argv[2] by @sigstore/verify, and print the payload. argv[3] is a public key (PEM), or a
// trusted root (JSON): then argv[4] is the identity that must have signed, and argv[5] its issuer.
const fs = require("fs");
const crypto = require("crypto");
const { bundleFromJSON } = require("@sigstore/bundle");
const { TrustedRoot } = require("@sigstore/protobuf-specs");
const { Verifier, toSignedEntity, toTrustMaterial } = require("@sigstore/verify");

function byKey(pem) {
  const spki = crypto.createPublicKey(pem).export({ format: "der", type: "spki" });
  const hint = crypto.createHash("sha256").update(spki).digest("base64");
  const none = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };
  return new Verifier(toTrustMaterial(none, { [hint]: { rawBytes: spki } }), {
    tlogThreshold: 0,
    timestampThreshold: 0,
    ctlogThreshold: 0,
  });
}

const [signature, trust, identity, issuer] = process.argv.slice(2);
const bundle = bundleFromJSON(JSON.parse(fs.readFileSync(signature, "utf8")));
const text = fs.readFileSync(trust, "utf8");
const policy = identity && { subjectAlternativeName: identity, extensions: { issuer } };
const verifier = identity ? new Verifier(toTrustMaterial(TrustedRoot.fromJSON(JSON.parse(text)))) : byKey(text);
verifier.verify(toSignedEntity(bundle), policy);
process.stdout.write(bundle.content.dsseEnvelope.payload);
