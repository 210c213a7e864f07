"""A stand-in for Azure Key Vault and its sign-in service, on loopback over TLS, that can fail as they do.

Only tests use it: no program of ours is linked with it. It speaks what the public documentation says: the token by client
credentials (a secret, or an assertion that a certificate's key signed), the challenge, keys (wrapKey, unwrapKey, encrypt, decrypt, get) by
RSA-OAEP-256, a key of a managed HSM by AES key wrap, soft deletion, recovery and purging, secrets, and the clouds' own error bodies. A test sets
its state with POST /stand-in. That it is accepted by Azure's own SDK is tested too; that the clouds do the same is not shown.

    key_vault.py CERTIFICATE KEY [APPLICATION'S CERTIFICATE]      prints its port
"""

import base64
import json
import os
import ssl
import sys
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
TENANT, APPLICATION, SECRET, NAME = "a-tenant", "an-application", "a secret", "customer"
# A key of a managed HSM, which wraps by AES.
HSM, HSM_VERSION = "customer-hsm", "0" * 32
# How far an assertion's clock may be from ours.
SKEW_SECONDS = 300
DOMAIN = "vault.stand-in.test"


def encode(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class State:
    versions = {}
    order = []
    tokens = set()
    asked = []
    secrets = {}
    # None, "soft" or "purged": as calls of the vault made it.
    deleted = None
    hsm = os.urandom(32)
    # What a test has set: disabled, exists (as deleted), expired, old (version: disabled), forbidden (acts), throttled, away, slow (seconds),
    # cut, skew (seconds), revoked (tokens), secret (a code of the tenant's), resource
    faults = {}

    @classmethod
    def rotate(cls):
        version = uuid.uuid4().hex
        cls.versions[version] = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        cls.order.append(version)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers=()):
        data = json.dumps(body).encode() if body is not None else b""
        cut = State.faults.get("cut") and not self.path.startswith("/stand-in")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        # The connection breaks in the middle of what was promised.
        self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.close_connection = True

    def refuse(self, status, code, inner=None, headers=()):
        error = {"code": code, "message": "said by the stand-in"}
        if inner:
            error["innererror"] = {"code": inner}
        self.answer(status, {"error": error}, headers)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_GET(self):
        self.serve()

    def do_POST(self):
        self.serve()

    def do_PUT(self):
        self.serve()

    def do_DELETE(self):
        self.serve()

    def serve(self):
        data = self.body()
        path = urllib.parse.urlsplit(self.path).path.strip("/").split("/")
        if path == ["stand-in"]:
            asked = json.loads(data)
            if asked.pop("rotate", False):
                State.rotate()
            State.deleted = asked.pop("deleted", None)
            State.faults = asked
            if asked.get("revoked"):
                State.tokens.clear()
            self.answer(200, {"asked": State.asked, "tokens": len(State.tokens)})
            return
        if State.faults.get("slow"):
            time.sleep(State.faults["slow"])
        if path[-2:] == ["v2.0", "token"]:
            self.token(path, dict(urllib.parse.parse_qsl(data.decode())))
        elif path[0] == "keys":
            self.key(path[1:], data)
        elif path[0] == "deletedkeys":
            self.deleted_key(path[1:])
        elif path[0] == "secrets":
            self.secret(path[1:], data)
        elif path[-1] == "openid-configuration" or path[-1] == "instance":
            self.discover(path)
        else:
            self.refuse(404, "NotFound")

    def base(self):
        return f"https://{self.headers['Host']}"

    def discover(self, path):
        login = f"{self.base()}/{TENANT}"
        self.answer(200, {
            "issuer": f"{login}/v2.0", "token_endpoint": f"{login}/oauth2/v2.0/token",
            "authorization_endpoint": f"{login}/oauth2/v2.0/authorize",
            "tenant_discovery_endpoint": f"{login}/v2.0/.well-known/openid-configuration", "metadata": [],
        })

    def token(self, path, form):
        code = State.faults.get("secret")
        if path[0] != TENANT:
            code = 90002
        elif form.get("client_id") != APPLICATION:
            code = 700016
        elif form.get("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
            code = code or self.asserted(form.get("client_assertion", ""))
        elif form.get("client_secret") != SECRET:
            code = code or 7000215
        if code:
            return self.answer(401, {
                "error": "invalid_client", "error_description": f"AADSTS{code}: said by the stand-in",
                "error_codes": [code], "trace_id": "t", "correlation_id": "c",
            })
        token = uuid.uuid4().hex
        State.tokens.add(token)
        self.answer(200, {"token_type": "Bearer", "expires_in": 3600, "ext_expires_in": 3600, "access_token": token})

    def asserted(self, assertion):
        """Judges what an application signed with its certificate's key; the code of what is wrong."""
        signed, _, signature = assertion.rpartition(".")
        header, claims = (json.loads(decode(part)) for part in signed.split("."))
        if header.get("alg") != "PS256" or APPLICATION_CERTIFICATE is None:
            return 700027
        if header.get("x5t#S256") != encode(APPLICATION_CERTIFICATE.fingerprint(hashes.SHA256())):
            return 700027
        try:
            APPLICATION_CERTIFICATE.public_key().verify(decode(signature), signed.encode(), PSS, hashes.SHA256())
        except InvalidSignature:
            return 700027
        if claims["iss"] != APPLICATION or claims["sub"] != APPLICATION or not claims["jti"]:
            return 700021
        if not claims["aud"].endswith(f"/{TENANT}/oauth2/v2.0/token"):
            return 700023
        moment = time.time() + State.faults.get("skew", 0)
        if not claims["nbf"] - SKEW_SECONDS <= moment < claims["exp"] + SKEW_SECONDS:
            return 700024
        return None

    def deleted_key(self, path):
        """A key that is deleted can be had back until it is purged."""
        act = path[1] if len(path) > 1 else {"GET": "getdeleted", "DELETE": "purge"}.get(self.command, "")
        if not self.admits(act):
            return None
        if path[0] != NAME or State.deleted != "soft":
            return self.refuse(404, "KeyNotFound")
        if act == "purge":
            State.deleted = "purged"
            return self.answer(204, None)
        if act == "recover":
            State.deleted = None
        return self.deleted_answer()

    def deleted_answer(self):
        moment = int(time.time())
        self.answer(200, self.whole(State.order[-1]) | {
            "recoveryId": f"{self.base()}/deletedkeys/{NAME}", "deletedDate": moment, "scheduledPurgeDate": moment + 90 * 86400,
        })

    def whole(self, version):
        """A key as the vault describes it."""
        faults, kid = State.faults, f"{self.base()}/keys/{NAME}/{version}"
        numbers = State.versions[version].public_key().public_numbers()
        attributes = {"enabled": not faults.get("disabled"), "created": 1, "updated": 1, "recoveryLevel": "Recoverable+Purgeable"}
        if faults.get("expired"):
            attributes["exp"] = int(time.time()) - 60
        key = {"kid": kid, "kty": "RSA", "key_ops": ["wrapKey", "unwrapKey", "encrypt", "decrypt"],
               "n": encode(numbers.n.to_bytes(256, "big")), "e": "AQAB"}
        return {"key": key, "attributes": attributes}

    def hsm_key(self, act, data):
        kid = f"{self.base()}/keys/{HSM}/{HSM_VERSION}"
        if act == "get":
            key = {"kid": kid, "kty": "oct-HSM", "key_ops": ["wrapKey", "unwrapKey"]}
            attributes = {"enabled": not State.faults.get("disabled"), "created": 1, "updated": 1, "recoveryLevel": "Recoverable"}
            return self.answer(200, {"key": key, "attributes": attributes})
        if State.faults.get("disabled"):
            return self.refuse(403, "Forbidden", "KeyDisabled")
        asked = json.loads(data)
        if asked.get("alg") != "A256KW" or act not in ("wrapkey", "unwrapkey"):
            return self.refuse(400, "BadParameter")
        try:
            work = aes_key_wrap if act == "wrapkey" else aes_key_unwrap
            value = work(State.hsm, decode(asked["value"]))
        except (ValueError, InvalidUnwrap):
            return self.refuse(400, "BadParameter")
        return self.answer(200, {"kid": kid, "value": encode(value)})

    def admits(self, act):
        """Whether the call goes on; what keeps it from that is answered."""
        faults = State.faults
        State.asked.append(act)
        if faults.get("away"):
            self.refuse(503, "ServiceUnavailable")
            return False
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token not in State.tokens:
            login = faults.get("login") or f"https://login.{DOMAIN}:{self.server.server_port}/{TENANT}"
            resource = faults.get("resource") or f"https://{DOMAIN}"
            challenge = f'Bearer authorization="{login}", resource="{resource}"'
            self.refuse(401, "Unauthorized", headers=[("WWW-Authenticate", challenge)])
            return False
        if faults.get("throttled"):
            self.refuse(429, "Throttled", headers=[("Retry-After", "2")])
            return False
        if act in faults.get("forbidden", []):
            self.refuse(403, "Forbidden", "ForbiddenByPolicy")
            return False
        return True

    def secret(self, path, data):
        act = {"PUT": "setsecret", "GET": "getsecret", "DELETE": "deletesecret"}.get(self.command)
        if not act or not self.admits(act):
            return act or self.refuse(404, "NotFound")
        if act == "setsecret":
            version = uuid.uuid4().hex
            State.secrets.setdefault(path[0], {})[version] = json.loads(data)["value"]
            value = State.secrets[path[0]][version]
        else:
            versions = State.secrets.get(path[0], {})
            version = path[1] if len(path) > 1 else next(reversed(versions), None)
            if version not in versions:
                return self.refuse(404, "SecretNotFound")
            value = versions[version]
            if act == "deletesecret":
                del State.secrets[path[0]]
        self.answer(200, {"id": f"{self.base()}/secrets/{path[0]}/{version}", "value": value,
                          "attributes": {"enabled": True}})

    def key(self, path, data):
        faults = State.faults
        act = {"POST": path[-1], "GET": "get", "DELETE": "delete"}.get(self.command, "")
        if not self.admits(act):
            return None
        if path[0] == HSM:
            return self.hsm_key(act, data)
        if path[0] != NAME or State.deleted:
            return self.refuse(404, "KeyNotFound")
        if faults.get("exists"):
            return self.refuse(409, "Conflict", "ObjectIsDeletedButRecoverable")
        if act == "delete":
            State.deleted = "soft"
            return self.deleted_answer()
        rest = path[1:] if act == "get" else path[1:-1]
        version = rest[0] if rest else State.order[-1]
        if version not in State.versions:
            return self.refuse(404, "KeyNotFound")
        key = State.versions[version]
        kid = f"{self.base()}/keys/{NAME}/{version}"
        if act == "get":
            return self.answer(200, self.whole(version))
        if faults.get("disabled") or (faults.get("old") and version != State.order[-1]):
            return self.refuse(403, "Forbidden", "KeyDisabled")
        asked = json.loads(data)
        if asked.get("alg") != "RSA-OAEP-256":
            return self.refuse(400, "BadParameter")
        value = decode(asked["value"])
        try:
            if act in ("wrapkey", "encrypt"):
                if faults.get("expired"):
                    return self.refuse(403, "Forbidden", "KeyNotYetValidOrExpired")
                value = key.public_key().encrypt(value, OAEP)
            elif act in ("unwrapkey", "decrypt"):
                value = key.decrypt(value, OAEP)
            else:
                return self.refuse(404, "NotFound")
        except (ValueError, InvalidSignature):
            return self.refuse(400, "BadParameter")
        self.answer(200, {"kid": kid, "value": encode(value)})


APPLICATION_CERTIFICATE = None
if len(sys.argv) > 3:
    with open(sys.argv[3], "rb") as file:
        APPLICATION_CERTIFICATE = x509.load_pem_x509_certificate(file.read())
State.rotate()
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
