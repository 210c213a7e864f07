"""Signs calls to a hub as spec/signed-calls.md has it: a second implementation, which knows nothing of the Rust one.

As a program it makes one call and prints status and body:

    python signed_calls.py HOME METHOD PATH [BODY]

HOME is a folder that `chorion login` filled. As a module it is an authentication for `requests`.
"""

import base64
import hashlib
import json
import secrets
import sys
import time
from pathlib import Path

import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class Signer(requests.auth.AuthBase):
    """The person whose login lies in a folder."""

    def __init__(self, home):
        home = Path(home)
        config = json.loads((home / "config.json").read_text())
        keys = json.loads((home / config["key"]).read_text())
        self.hub = config["hub"]
        self.ca = str(home / config["ca"])
        self.key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(keys["signing_seed"]))
        public = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.key_id = hashlib.sha256(public).hexdigest()[:32]

    def __call__(self, request):
        body = request.body or b""
        if isinstance(body, str):
            body = body.encode()
            request.body = body
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        request.headers["Content-Digest"] = f"sha-256=:{digest}:"
        ours = sorted((n.lower(), v) for n, v in request.headers.items() if n.lower().startswith("chorion-"))
        covered = ['"@method"', '"@target-uri"', '"content-digest"'] + [f'"{name}"' for name, _ in ours]
        parameters = (
            f"({' '.join(covered)});created={int(time.time())};nonce=\"{secrets.token_hex(16)}\""
            f";keyid=\"{self.key_id}\";alg=\"ed25519\""
        )
        values = [request.method, request.url, f"sha-256=:{digest}:"]
        values += [v.decode("latin-1") if isinstance(v, bytes) else v for _, v in ours]
        lines = [f"{name}: {value}" for name, value in zip(covered, values)]
        base = "\n".join([*lines, f'"@signature-params": {parameters}'])
        signature = base64.b64encode(self.key.sign(base.encode("latin-1"))).decode()
        request.headers["Signature-Input"] = f"sig1={parameters}"
        request.headers["Signature"] = f"sig1=:{signature}:"
        return request


def main():
    home, method, path, *body = sys.argv[1:]
    signer = Signer(home)
    headers = {"Content-Type": "application/json"} if body else {}
    data = body[0].encode() if body else None
    answer = requests.request(
        method, signer.hub + path, data=data, headers=headers, auth=signer, verify=signer.ca, timeout=30
    )
    print(answer.status_code, answer.headers.get("content-type"))
    print(answer.text)


if __name__ == "__main__":
    main()
