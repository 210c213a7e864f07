"""A stand-in for Azure Key Vault and its sign-in service, on loopback over TLS, that can fail as they do.

Only tests use it: no program of ours is linked with it. It speaks what the public documentation says: the token by client
credentials, the challenge, keys (wrapKey, unwrapKey, encrypt, decrypt, get) by RSA-OAEP-256, secrets, and the clouds' own error bodies. A test
sets its state with POST /stand-in. That it is accepted by Azure's own SDK is tested too; that the clouds do the same is not shown.

    key_vault.py CERTIFICATE KEY      prints its port
"""

import base64
import json
import ssl
import sys
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
TENANT, APPLICATION, SECRET, NAME = "a-tenant", "an-application", "a secret", "customer"
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
    # What a test has set: disabled, deleted, expired, forbidden (acts), throttled, away, secret (a code of the tenant's), resource
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
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

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
            State.faults = asked
            self.answer(200, {"asked": State.asked, "tokens": len(State.tokens)})
        elif path[-2:] == ["v2.0", "token"]:
            self.token(path, dict(urllib.parse.parse_qsl(data.decode())))
        elif path[0] == "keys":
            self.key(path[1:], data)
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
        act = path[-1] if self.command == "POST" else "get"
        if not self.admits(act):
            return None
        if path[0] != NAME:
            return self.refuse(404, "KeyNotFound")
        if faults.get("deleted"):
            return self.refuse(409, "Conflict", "ObjectIsDeletedButRecoverable")
        rest = path[1:] if act == "get" else path[1:-1]
        version = rest[0] if rest else State.order[-1]
        if version not in State.versions:
            return self.refuse(404, "KeyNotFound")
        key = State.versions[version]
        kid = f"{self.base()}/keys/{NAME}/{version}"
        if act == "get":
            numbers = key.public_key().public_numbers()
            attributes = {"enabled": not faults.get("disabled"), "created": 1, "updated": 1}
            if faults.get("expired"):
                attributes["exp"] = int(time.time()) - 60
            whole = {"kid": kid, "kty": "RSA", "key_ops": ["wrapKey", "unwrapKey", "encrypt", "decrypt"],
                     "n": encode(numbers.n.to_bytes(256, "big")), "e": "AQAB"}
            return self.answer(200, {"key": whole, "attributes": attributes})
        if faults.get("disabled"):
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


State.rotate()
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
