"""The clouds' own SDKs as judges of our clients: one question on standard input, the answer on standard output.

What our client of AWS KMS wraps, boto3 opens, and the other way round; requests are signed by botocore and compared with ours. The same
with Azure's SDK and Key Vault.
"""

import base64
import json
import random
import string
import sys

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

REGION = "eu-central-1"


def client(ask):
    return boto3.client(
        "kms",
        region_name=REGION,
        endpoint_url=ask["endpoint"],
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="a secret",
    )


def encode(data):
    return base64.b64encode(data).decode()


def create(ask):
    kms = client(ask)
    made = kms.create_key(Description="a customer's")["KeyMetadata"]
    kms.create_alias(AliasName="alias/customer", TargetKeyId=made["KeyId"])
    return {"arn": made["Arn"]}


def encrypt(ask):
    done = client(ask).encrypt(
        KeyId=ask["key"], Plaintext=base64.b64decode(ask["plaintext"]), EncryptionContext=ask["context"]
    )
    return {"blob": encode(done["CiphertextBlob"])}


def decrypt(ask):
    done = client(ask).decrypt(
        KeyId=ask["key"], CiphertextBlob=base64.b64decode(ask["blob"]), EncryptionContext=ask["context"]
    )
    return {"plaintext": encode(done["Plaintext"])}


def disable(ask):
    # moto 5.2.5 fails on an ARN here.
    client(ask).disable_key(KeyId=ask["key"].rpartition("/")[2])
    return {}


def enable(ask):
    client(ask).enable_key(KeyId=ask["key"].rpartition("/")[2])
    return {}


def delete(ask):
    client(ask).schedule_key_deletion(KeyId=ask["key"].rpartition("/")[2], PendingWindowInDays=7)
    return {}


def sign(ask):
    """Random requests of the one form that we make, each with botocore's signature."""
    chance = random.Random(1)

    def word(letters, least, most):
        return "".join(chance.choice(letters) for _ in range(chance.randint(least, most)))

    signed = []
    for number in range(ask["count"]):
        service = chance.choice(["kms", "sts", "secretsmanager"])
        region = chance.choice(["eu-central-1", "us-gov-west-1", "ap-southeast-2"])
        host = f"{service}.{region}.amazonaws.com"
        keys = {
            "id": "AKIA" + word(string.ascii_uppercase + string.digits, 16, 16),
            "secret": word(string.ascii_letters + string.digits + "+/", 40, 40),
        }
        body = word(string.printable, 0, 400)
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": word(string.ascii_letters, 1, 30)}
        if number % 3 == 0:
            headers["x-amz-security-token"] = word(string.ascii_letters + "+/=", 1, 900)
        if number % 5 == 0:
            headers["x-amz-meta"] = "  two   spaces  " + word(string.ascii_letters, 0, 9)
        request = AWSRequest("POST", f"https://{host}/", data=body.encode(), headers=dict(headers))
        SigV4Auth(Credentials(keys["id"], keys["secret"]), service, region).add_auth(request)
        covered = [[name, value] for name, value in headers.items()]
        date = request.headers["X-Amz-Date"]
        covered += [["host", host], ["x-amz-date", date]]
        signed.append(
            keys
            | {
                "service": service,
                "region": region,
                "body": body,
                "headers": covered,
                "date": date,
                "authorization": request.headers["Authorization"],
            }
        )
    return signed


def azure(ask):
    from azure.identity import ClientSecretCredential
    from azure.keyvault.keys import KeyClient
    from azure.keyvault.keys.crypto import CryptographyClient, KeyWrapAlgorithm

    host = f"localhost:{ask['port']}"
    credential = ClientSecretCredential(
        "a-tenant", "an-application", "a secret", authority=f"https://{host}", disable_instance_discovery=True
    )
    keys = KeyClient(f"https://{host}", credential, verify_challenge_resource=False)
    newest = keys.get_key("customer")
    version = ask.get("version") or newest.properties.version
    crypto = CryptographyClient(
        f"https://{host}/keys/customer/{version}", credential, verify_challenge_resource=False
    )
    algorithm = KeyWrapAlgorithm.rsa_oaep_256
    if ask.get("blob"):
        return {"plaintext": encode(crypto.unwrap_key(algorithm, base64.b64decode(ask["blob"])).key)}
    wrapped = crypto.wrap_key(algorithm, base64.b64decode(ask["plaintext"])).encrypted_key
    return {"blob": encode(wrapped), "version": version}


ask = json.load(sys.stdin)
acts = {act.__name__: act for act in [create, encrypt, decrypt, disable, enable, delete, sign, azure]}
json.dump(acts[ask["do"]](ask), sys.stdout)
