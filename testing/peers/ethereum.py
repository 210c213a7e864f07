"""Recovers signers with eth-account: reads a JSON list of {"message": hex} or {"typed": document}, each with "signature": hex.

Prints one address per line. It is the judge of `identity`'s signatures, and knows nothing of our code.
"""

import json
import sys

from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data

for case in json.load(sys.stdin):
    if "message" in case:
        signable = encode_defunct(hexstr=case["message"])
    else:
        signable = encode_typed_data(full_message=case["typed"])
    print(Account.recover_message(signable, signature=case["signature"]))
