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


def walk(ask):
    """What a customer and a hub do, step by step: each with what it came to, so that two servers can be laid side by side."""
    from botocore.exceptions import ClientError

    kms, common = client(ask), {
        "region_name": REGION, "endpoint_url": ask["endpoint"],
        "aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "a secret",
    }
    store, sts = boto3.client("secretsmanager", **common), boto3.client("sts", **common)
    came = []

    def step(name, act):
        try:
            done = act()
        except ClientError as error:
            came.append([name, error.response["Error"]["Code"]])
            return {}
        came.append([name, "done"])
        return done

    key = step("create", kms.create_key)["KeyMetadata"]["KeyId"]
    other = kms.create_key()["KeyMetadata"]["KeyId"]
    context, text = {"chorion:org": "one"}, b"k" * 32
    step("alias", lambda: kms.create_alias(AliasName="alias/walked", TargetKeyId=key))
    blob = step("encrypt by alias", lambda: kms.encrypt(KeyId="alias/walked", Plaintext=text, EncryptionContext=context))["CiphertextBlob"]
    opened = step("decrypt", lambda: kms.decrypt(KeyId=key, CiphertextBlob=blob, EncryptionContext=context))
    assert opened["Plaintext"] == text
    step("decrypt without naming the key", lambda: kms.decrypt(CiphertextBlob=blob, EncryptionContext=context))
    step("decrypt for another context", lambda: kms.decrypt(CiphertextBlob=blob, EncryptionContext={"chorion:org": "two"}))
    step("decrypt what was changed", lambda: kms.decrypt(CiphertextBlob=blob[:-1] + bytes([blob[-1] ^ 1]), EncryptionContext=context))
    step("decrypt with another key", lambda: kms.decrypt(KeyId=other, CiphertextBlob=blob, EncryptionContext=context))
    step("encrypt too much", lambda: kms.encrypt(KeyId=key, Plaintext=b"k" * 4097))
    moved = step("re-encrypt", lambda: kms.re_encrypt(
        CiphertextBlob=blob, SourceEncryptionContext=context, DestinationKeyId=other, DestinationEncryptionContext=context,
    ))
    again = kms.decrypt(KeyId=other, CiphertextBlob=moved["CiphertextBlob"], EncryptionContext=context)
    assert again["Plaintext"] == text
    made = step("data key", lambda: kms.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=context))
    assert len(made["Plaintext"]) == 32
    step("dry run", lambda: kms.encrypt(KeyId=key, Plaintext=text, DryRun=True))
    step("no such key", lambda: kms.describe_key(KeyId="00000000-0000-4000-8000-000000000000"))

    def refused(state):
        shown = kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"]
        step(f"decrypt, {state} ({shown})", lambda: kms.decrypt(CiphertextBlob=blob, EncryptionContext=context))

    step("disable", lambda: kms.disable_key(KeyId=key))
    refused("disabled")
    step("enable", lambda: kms.enable_key(KeyId=key))
    refused("enabled")
    step("schedule deletion", lambda: kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7))
    refused("to be deleted")
    step("cancel deletion", lambda: kms.cancel_key_deletion(KeyId=key))
    refused("deletion cancelled")
    empty = step("create without material", lambda: kms.create_key(Origin="EXTERNAL"))["KeyMetadata"]["KeyId"]
    step("encrypt without material", lambda: kms.encrypt(KeyId=empty, Plaintext=text))
    granted = step("grant", lambda: kms.create_grant(
        KeyId=other, GranteePrincipal="arn:aws:iam::123456789012:role/hub", Operations=["Encrypt", "Decrypt"],
    ))["GrantId"]
    step("encrypt by grant", lambda: kms.encrypt(KeyId=other, Plaintext=text))
    step("revoke the grant", lambda: kms.revoke_grant(KeyId=other, GrantId=granted))
    step("encrypt, grant revoked", lambda: kms.encrypt(KeyId=other, Plaintext=text))

    place = step("keep a secret", lambda: store.create_secret(Name="chorion/salt", SecretString="salt"))["ARN"]
    assert step("read it", lambda: store.get_secret_value(SecretId=place))["SecretString"] == "salt"
    step("delete it", lambda: store.delete_secret(SecretId=place))
    step("read what is deleted", lambda: store.get_secret_value(SecretId=place))
    step("restore it", lambda: store.restore_secret(SecretId=place))
    step("read it again", lambda: store.get_secret_value(SecretId=place))
    step("destroy it", lambda: store.delete_secret(SecretId=place, ForceDeleteWithoutRecovery=True))
    step("read what is destroyed", lambda: store.get_secret_value(SecretId=place))

    step("who am I", sts.get_caller_identity)
    role = {"RoleArn": "arn:aws:iam::123456789012:role/chorion", "RoleSessionName": "walk"}
    given = step("assume a role", lambda: sts.assume_role(**role, ExternalId="org-1"))["Credentials"]
    temporary = boto3.client("kms", **common | {
        "aws_access_key_id": given["AccessKeyId"], "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    })
    # moto puts a role into an account of its own only if it is in another; this one is in the same.
    step("ask with it", lambda: temporary.describe_key(KeyId=other))
    wrong = boto3.client("kms", **common | {"aws_secret_access_key": "another"})
    step("ask with a wrong secret", lambda: wrong.describe_key(KeyId=other))
    return came


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
    if ask.get("walk"):
        return azure_walk(keys, lambda key: CryptographyClient(key, credential, verify_challenge_resource=False))
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


def azure_walk(keys, crypto):
    """What a customer does to a key in its vault, each step with what it came to."""
    from azure.core.exceptions import HttpResponseError
    from azure.keyvault.keys.crypto import KeyWrapAlgorithm

    came = []

    def step(name, act):
        try:
            done = act()
        except HttpResponseError as error:
            came.append([name, error.error.code if error.error else str(error.status_code)])
            return None
        came.append([name, "done"])
        return done

    algorithm = KeyWrapAlgorithm.rsa_oaep_256
    key = step("get", lambda: keys.get_key("customer"))
    wrapped = step("wrap", lambda: crypto(key.id).wrap_key(algorithm, b"k" * 64)).encrypted_key
    assert step("unwrap", lambda: crypto(key.id).unwrap_key(algorithm, wrapped)).key == b"k" * 64
    step("delete", lambda: keys.begin_delete_key("customer", _polling_interval=0.05).wait())
    step("get what is deleted", lambda: keys.get_key("customer"))
    step("unwrap with what is deleted", lambda: crypto(key.id).unwrap_key(algorithm, wrapped))
    assert step("look at what is deleted", lambda: keys.get_deleted_key("customer")).scheduled_purge_date
    step("recover", lambda: keys.begin_recover_deleted_key("customer", _polling_interval=0.05).wait())
    step("unwrap again", lambda: crypto(key.id).unwrap_key(algorithm, wrapped))
    step("delete again", lambda: keys.begin_delete_key("customer", _polling_interval=0.05).wait())
    step("purge", lambda: keys.purge_deleted_key("customer"))
    step("recover what is purged", lambda: keys.begin_recover_deleted_key("customer", _polling_interval=0.05).wait())
    step("unwrap with what is purged", lambda: crypto(key.id).unwrap_key(algorithm, wrapped))
    return came


ask = json.load(sys.stdin)
acts = {act.__name__: act for act in [create, encrypt, decrypt, disable, enable, delete, walk, sign, azure]}
json.dump(acts[ask["do"]](ask), sys.stdout)
