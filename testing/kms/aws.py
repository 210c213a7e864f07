"""A stand-in for AWS KMS, STS and Secrets Manager, on loopback, that can fail as they do.

No shipped program is linked with it. It speaks what botocore's model and the public documentation say: the JSON protocol of KMS and Secrets
Manager, the Query protocol of STS, signatures (SigV4), key states, grants, external ids, the services' own error codes. That it is
accepted by boto3 is tested; that the clouds do the same is not shown. It needs nothing but Python: what it encrypts is opaque to its
callers, so a keyed stream and a keyed tag do.

    aws.py              prints its port, and serves
    aws.py PORT         prints what was asked of the one at that port, with the log that a customer would find in CloudTrail
    aws.py PORT JSON    sets its state

JSON is posted to /stand-in; it is {"faults": {…}} and {"make": ALIAS}, {"state": [ARN, STATE]}, {"revoke": [ARN, true]}, {"role": [ARN, EXTERNAL ID]}.
"""

import base64
import hashlib
import hmac
import json
import secrets
import sys
import time
import urllib.parse
import urllib.request
import uuid
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ACCOUNT, REGION = "123456789012", "eu-central-1"
# Who may ask, and with what they sign.
ACCESS_KEYS = {"AKIAIOSFODNN7EXAMPLE": "a secret"}
# How far a caller's clock may be from ours.
SKEW_SECONDS = 300
KMS, SECRETS = "kms.amazonaws.com", "secretsmanager.amazonaws.com"


class Refusal(Exception):
    """What a service says no with."""

    def __init__(self, code, message="said by the stand-in", status=400, headers=()):
        super().__init__(code)
        self.code, self.message, self.status, self.headers = code, message, status, headers


class State:
    keys = {}
    aliases = {}
    secrets = {}
    roles = {}
    # Temporary credentials: the access key's id, and its secret, its token, its end.
    sessions = {}
    # What a test has set: denied (operations), throttled, away, slow (seconds), cut, skew (seconds), revoked (the access key), expired
    faults = {}
    asked = []
    records = []


def now():
    return time.time() + State.faults.get("skew", 0)


class Key:
    def __init__(self, material=True):
        self.id = str(uuid.uuid4())
        self.arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{self.id}"
        self.state = "Enabled" if material else "PendingImport"
        self.origin = "AWS_KMS" if material else "EXTERNAL"
        self.secret = secrets.token_bytes(32)
        self.created = now()
        self.deleted_on = None
        # None: the policy lets the account in. A dictionary: only who has one of these grants.
        self.grants = None
        self.denied = False

    def metadata(self):
        data = {
            "KeyId": self.id, "Arn": self.arn, "AWSAccountId": ACCOUNT, "CreationDate": self.created, "Enabled": self.state == "Enabled",
            "Description": "", "KeyUsage": "ENCRYPT_DECRYPT", "KeyState": self.state, "Origin": self.origin, "KeyManager": "CUSTOMER",
            "KeySpec": "SYMMETRIC_DEFAULT", "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT", "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
            "MultiRegion": False,
        }
        if self.deleted_on:
            data["DeletionDate"] = self.deleted_on
        return data

    def stream(self, nonce, length):
        blocks = (hmac.digest(self.secret, b"stream" + nonce + n.to_bytes(4, "big"), "sha256") for n in range(length // 32 + 1))
        return b"".join(blocks)[:length]

    def tag(self, nonce, sealed, context):
        bound = json.dumps(context, sort_keys=True).encode()
        return hmac.digest(self.secret, b"tag" + nonce + len(bound).to_bytes(4, "big") + bound + sealed, "sha256")

    def encrypt(self, text, context):
        nonce = secrets.token_bytes(16)
        sealed = bytes(a ^ b for a, b in zip(text, self.stream(nonce, len(text))))
        return uuid.UUID(self.id).bytes + nonce + self.tag(nonce, sealed, context) + sealed

    def decrypt(self, blob, context):
        nonce, tag, sealed = blob[16:32], blob[32:64], blob[64:]
        if not hmac.compare_digest(tag, self.tag(nonce, sealed, context)):
            raise Refusal("InvalidCiphertextException")
        return bytes(a ^ b for a, b in zip(sealed, self.stream(nonce, len(sealed))))


def find(name):
    """A key by its ARN, its id or its alias."""
    last = name.rsplit(":", 1)[-1] if name.startswith("arn:") else name
    id = State.aliases.get(last) if last.startswith("alias/") else last.removeprefix("key/")
    if id not in State.keys:
        raise Refusal("NotFoundException", f"Key '{name}' does not exist")
    return State.keys[id]


def usable(key, operation):
    """The key, if what was done to it lets it be used."""
    if key.denied or key.grants == {} or (key.grants is not None and not any(operation in some for some in key.grants.values())):
        raise Refusal("AccessDeniedException", f"not authorized to perform: kms:{operation} on this resource because no policy allows it")
    if key.state == "Disabled":
        raise Refusal("DisabledException", f"{key.arn} is disabled.")
    if key.state != "Enabled":
        words = {"PendingDeletion": "is pending deletion", "PendingImport": "is pending import"}.get(key.state, "is unavailable")
        raise Refusal("KMSInvalidStateException", f"{key.arn} {words}.")
    return key


def decode(text):
    return base64.b64decode(text, validate=True)


def encode(data):
    return base64.b64encode(data).decode()


def plaintext(ask):
    text = decode(ask["Plaintext"])
    if not 1 <= len(text) <= 4096:
        raise Refusal("ValidationException", "1 validation error detected: Value at 'plaintext' failed to satisfy constraint")
    return text


def opened(ask, blob="CiphertextBlob", context="EncryptionContext", name="KeyId"):
    """The key that made a ciphertext, and what is inside."""
    blob = decode(ask[blob])
    found = State.keys.get(str(uuid.UUID(bytes=blob[:16]))) if len(blob) > 64 else None
    named = find(ask[name]) if ask.get(name) else found
    if found is None:
        raise Refusal("InvalidCiphertextException")
    if named is not found:
        raise Refusal("IncorrectKeyException")
    usable(found, "Decrypt")
    return found, found.decrypt(blob, ask.get(context) or {})


def create_key(ask):
    key = Key(material=ask.get("Origin", "AWS_KMS") != "EXTERNAL")
    State.keys[key.id] = key
    return {"KeyMetadata": key.metadata()}


def create_alias(ask):
    State.aliases[ask["AliasName"]] = find(ask["TargetKeyId"]).id
    return {}


def describe_key(ask):
    return {"KeyMetadata": find(ask["KeyId"]).metadata()}


def encrypt(ask):
    key = usable(find(ask["KeyId"]), "Encrypt")
    text = plaintext(ask)
    blob = key.encrypt(text, ask.get("EncryptionContext") or {})
    return {"CiphertextBlob": encode(blob), "KeyId": key.arn, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}


def decrypt(ask):
    key, text = opened(ask)
    return {"Plaintext": encode(text), "KeyId": key.arn, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}


def re_encrypt(ask):
    source, text = opened(ask, context="SourceEncryptionContext", name="SourceKeyId")
    key = usable(find(ask["DestinationKeyId"]), "Encrypt")
    blob = key.encrypt(text, ask.get("DestinationEncryptionContext") or {})
    return {"CiphertextBlob": encode(blob), "SourceKeyId": source.arn, "KeyId": key.arn}


def generate_data_key(ask):
    key = usable(find(ask["KeyId"]), "GenerateDataKey")
    text = secrets.token_bytes(ask.get("NumberOfBytes") or {"AES_128": 16}.get(ask.get("KeySpec"), 32))
    return {"CiphertextBlob": encode(key.encrypt(text, ask.get("EncryptionContext") or {})), "Plaintext": encode(text), "KeyId": key.arn}


def set_state(state):
    def act(ask):
        key = find(ask["KeyId"])
        if key.state == "PendingDeletion" and state != "Cancelled":
            raise Refusal("KMSInvalidStateException", f"{key.arn} is pending deletion.")
        # Who cancels a deletion gets a key that is disabled.
        key.state, key.deleted_on = ("Disabled" if state == "Cancelled" else state), None
        if state == "PendingDeletion":
            key.deleted_on = now() + 86400 * ask.get("PendingWindowInDays", 30)
            return {"KeyId": key.arn, "DeletionDate": key.deleted_on, "KeyState": state}
        return {"KeyId": key.arn} if state == "Cancelled" else {}

    return act


def create_grant(ask):
    key, id = find(ask["KeyId"]), uuid.uuid4().hex
    key.grants = (key.grants or {}) | {id: ask["Operations"]}
    return {"GrantId": id, "GrantToken": uuid.uuid4().hex}


def revoke_grant(ask):
    key = find(ask["KeyId"])
    if ask["GrantId"] not in (key.grants or {}):
        raise Refusal("NotFoundException")
    del key.grants[ask["GrantId"]]
    return {}


def secret(ask):
    named = ask["SecretId"]
    found = next((one for one in State.secrets.values() if named in (one["Name"], one["ARN"])), None)
    if found is None:
        raise Refusal("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
    return found


def create_secret(ask):
    if ask["Name"] in State.secrets:
        raise Refusal("ResourceExistsException")
    arn = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{ask['Name']}-{secrets.token_hex(3)}"
    made = {"ARN": arn, "Name": ask["Name"], "VersionId": ask.get("ClientRequestToken") or str(uuid.uuid4())}
    State.secrets[ask["Name"]] = made | {"SecretString": ask["SecretString"], "deleted": False}
    return made


def get_secret(ask):
    found = secret(ask)
    if found["deleted"]:
        raise Refusal("InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion.")
    return {name: found[name] for name in ("ARN", "Name", "VersionId", "SecretString")} | {"VersionStages": ["AWSCURRENT"]}


def delete_secret(ask):
    found = secret(ask)
    if ask.get("ForceDeleteWithoutRecovery"):
        del State.secrets[found["Name"]]
    else:
        found["deleted"] = True
    return {"ARN": found["ARN"], "Name": found["Name"], "DeletionDate": now()}


def restore_secret(ask):
    found = secret(ask)
    found["deleted"] = False
    return {"ARN": found["ARN"], "Name": found["Name"]}


OPERATIONS = {
    "TrentService": (KMS, {
        "CreateKey": create_key, "CreateAlias": create_alias, "DescribeKey": describe_key, "Encrypt": encrypt, "Decrypt": decrypt,
        "ReEncrypt": re_encrypt, "GenerateDataKey": generate_data_key, "DisableKey": set_state("Disabled"), "EnableKey": set_state("Enabled"),
        "ScheduleKeyDeletion": set_state("PendingDeletion"), "CancelKeyDeletion": set_state("Cancelled"), "CreateGrant": create_grant,
        "RevokeGrant": revoke_grant,
    }),
    "secretsmanager": (SECRETS, {
        "CreateSecret": create_secret, "GetSecretValue": get_secret, "DeleteSecret": delete_secret, "RestoreSecret": restore_secret,
    }),
}


def session(form):
    """Temporary credentials of a role, as STS gives them."""
    role = form["RoleArn"]
    wanted = State.roles.get(role, form.get("ExternalId"))
    if wanted != form.get("ExternalId") or State.faults.get("role_denied"):
        raise Refusal("AccessDenied", f"not authorized to perform: sts:{form['Action']} on resource: {role}", 403)
    id, secret_key, token = "ASIA" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30), secrets.token_urlsafe(60)
    end = now() + int(form.get("DurationSeconds", 3600))
    State.sessions[id] = (secret_key, token, end)
    until = datetime.fromtimestamp(end, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    assumed = f"{role.replace(':iam:', ':sts:').replace(':role/', ':assumed-role/')}/{form['RoleSessionName']}"
    return (
        f"<Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret_key}</SecretAccessKey>"
        f"<SessionToken>{token}</SessionToken><Expiration>{until}</Expiration></Credentials>"
        f"<AssumedRoleUser><AssumedRoleId>AROA:{form['RoleSessionName']}</AssumedRoleId><Arn>{assumed}</Arn></AssumedRoleUser>"
    )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, data, kind="application/x-amz-json-1.1", headers=()):
        cut = State.faults.get("cut") and not self.path.startswith("/stand-in")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("x-amzn-RequestId", self.request_id)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        # The connection breaks in the middle of what was promised.
        self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.close_connection = True

    def do_GET(self):
        self.request_id = str(uuid.uuid4())
        body = {"asked": State.asked, "Records": State.records, "secrets": len(State.secrets)}
        self.answer(200, json.dumps(body).encode(), "application/json")

    def do_POST(self):
        self.request_id = str(uuid.uuid4())
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/stand-in":
            return self.answer(200, json.dumps(told(json.loads(data))).encode(), "application/json")
        faults = State.faults
        if faults.get("slow"):
            time.sleep(faults["slow"])
        if self.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
            return self.query(data)
        service, _, operation = self.headers.get("X-Amz-Target", "").partition(".")
        source, acts = OPERATIONS.get(service, (None, {}))
        State.asked.append(operation)
        error, said = None, {}
        try:
            if faults.get("away"):
                raise Refusal("KMSInternalException" if source == KMS else "InternalServiceError", status=500)
            if faults.get("throttled"):
                raise Refusal("ThrottlingException", "Rate exceeded", headers=[("Retry-After", "2")])
            self.is_signed(data, {KMS: "kms", SECRETS: "secretsmanager"}.get(source, ""))
            if operation not in acts:
                raise Refusal("UnknownOperationException")
            if operation in faults.get("denied", []):
                raise Refusal("AccessDeniedException", f"not authorized to perform: {operation}")
            ask = json.loads(data or b"{}")
            said = acts[operation](ask)
            if ask.get("DryRun"):
                raise Refusal("DryRunOperationException", "the request would have succeeded", 412)
        except Refusal as refusal:
            error = refusal
        except (KeyError, ValueError, TypeError):
            error = Refusal("ValidationException")
        self.record(source, operation, data, error)
        if error is None:
            return self.answer(200, json.dumps(said).encode())
        body = {"__type": error.code, "message": error.message}
        return self.answer(error.status, json.dumps(body).encode(), headers=error.headers)

    def record(self, source, operation, data, error):
        """What CloudTrail would have of it: no text, no ciphertext."""
        try:
            ask = json.loads(data or b"{}")
        except ValueError:
            ask = {}
        names = {"KeyId": "keyId", "EncryptionContext": "encryptionContext", "SecretId": "secretId", "Name": "name"}
        entry = {
            "eventVersion": "1.11", "eventTime": datetime.fromtimestamp(now(), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "eventSource": source, "eventName": operation, "awsRegion": REGION, "requestID": self.request_id, "eventID": str(uuid.uuid4()),
            "requestParameters": {mine: ask[theirs] for theirs, mine in names.items() if theirs in ask},
            "recipientAccountId": ACCOUNT, "eventType": "AwsApiCall",
        }
        if error:
            entry |= {"errorCode": error.code.removesuffix("Exception"), "errorMessage": error.message}
        State.records.append(entry)

    def is_signed(self, data, service):
        """Judges the signature, as AWS's Signature Version 4 says."""
        given = self.headers.get("Authorization") or ""
        if not given.startswith("AWS4-HMAC-SHA256 "):
            raise Refusal("MissingAuthenticationTokenException", status=403)
        parts = dict(part.strip().split("=", 1) for part in given.removeprefix("AWS4-HMAC-SHA256 ").split(","))
        id, day, region, named, _ = parts["Credential"].split("/")
        token = self.headers.get("X-Amz-Security-Token")
        if State.faults.get("revoked") or (id not in ACCESS_KEYS and id not in State.sessions):
            raise Refusal("UnrecognizedClientException", "The security token included in the request is invalid.")
        if id in ACCESS_KEYS:
            secret_key = ACCESS_KEYS[id]
        else:
            secret_key, own, end = State.sessions[id]
            if own != token:
                raise Refusal("UnrecognizedClientException", "The security token included in the request is invalid.")
            if end <= now() or State.faults.get("expired"):
                raise Refusal("ExpiredTokenException", "The security token included in the request is expired")
        date = self.headers["X-Amz-Date"]
        asked = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()
        if abs(asked - now()) > SKEW_SECONDS:
            words = f"Signature expired: {date} is now earlier than" if asked < now() else f"Signature not yet current: {date} is still later than"
            raise Refusal("InvalidSignatureException", f"{words} what this service takes")
        names = parts["SignedHeaders"].split(";")
        lines = "".join(f"{name}:{' '.join(self.headers.get(name, '').split())}\n" for name in names)
        request = "\n".join(["POST", "/", "", lines, ";".join(names), hashlib.sha256(data).hexdigest()])
        scope = f"{day}/{region}/{named}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = ("AWS4" + secret_key).encode()
        for part in (day, region, named, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        right = hmac.new(key, text.encode(), "sha256").hexdigest()
        if named != service or not hmac.compare_digest(right, parts["Signature"]):
            raise Refusal("InvalidSignatureException", "The request signature we calculated does not match the signature you provided.")

    def query(self, data):
        """STS: a form in, XML out."""
        form = dict(urllib.parse.parse_qsl(data.decode()))
        action = form.get("Action", "")
        State.asked.append(action)
        try:
            if State.faults.get("away"):
                raise Refusal("InternalFailure", status=500)
            if action == "AssumeRoleWithWebIdentity":
                if not form.get("WebIdentityToken"):
                    raise Refusal("InvalidIdentityToken")
            else:
                self.is_signed(data, "sts")
            if action == "GetCallerIdentity":
                inner = f"<Arn>arn:aws:iam::{ACCOUNT}:user/chorion</Arn><UserId>AIDA</UserId><Account>{ACCOUNT}</Account>"
            elif action in ("AssumeRole", "AssumeRoleWithWebIdentity"):
                inner = session(form)
            else:
                raise Refusal("InvalidAction")
        except Refusal as refusal:
            code = refusal.code.removesuffix("Exception")
            xml = (
                f'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>{code}</Code>'
                f"<Message>{refusal.message}</Message></Error><RequestId>{self.request_id}</RequestId></ErrorResponse>"
            )
            return self.answer(refusal.status, xml.encode(), "text/xml")
        xml = (
            f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>{inner}</{action}Result>'
            f"<ResponseMetadata><RequestId>{self.request_id}</RequestId></ResponseMetadata></{action}Response>"
        )
        return self.answer(200, xml.encode(), "text/xml")


def told(asked):
    """What a test says to the stand-in."""
    if "faults" in asked:
        State.faults = asked["faults"]
    if "state" in asked:
        arn, state = asked["state"]
        if state == "Deleted":
            del State.keys[find(arn).id]
        else:
            find(arn).state = state
    if "revoke" in asked:
        arn, denied = asked["revoke"]
        find(arn).denied = denied
    if "role" in asked:
        arn, external_id = asked["role"]
        State.roles[arn] = external_id
    if "make" in asked:
        key = Key()
        State.keys[key.id] = key
        State.aliases[f"alias/{asked['make']}"] = key.id
        return {"arn": key.arn}
    return {}


def main():
    if len(sys.argv) > 1:
        url, told = f"http://127.0.0.1:{sys.argv[1]}/stand-in", sys.argv[2].encode() if len(sys.argv) > 2 else None
        with urllib.request.urlopen(url, data=told) as answer:
            print(answer.read().decode())
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
