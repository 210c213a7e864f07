"""What schemathesis needs to know of our calls: how they are signed, and what an unsigned one must get.

CHORION_HOME names the folder of a login; without it calls go unsigned, and every one that is not on the open list must be refused
with 401 and a problem document.
"""

import os
import sys
from pathlib import Path

import schemathesis

sys.path.insert(0, str(Path(__file__).parent))
from signed_calls import Signer  # noqa: E402

HOME = os.environ.get("CHORION_HOME")
# Stands in spec/unsigned.md.
OPEN = set(os.environ.get("CHORION_OPEN", "").split())

if HOME:
    schemathesis.auth.set_from_requests(Signer(HOME))


@schemathesis.check
def refusals_are_problem_documents(ctx, response, case):
    """Whatever is refused says why, in the form that the document promises."""
    if response.status_code >= 400:
        kind = response.headers.get("content-type", [""])[0]
        assert kind == "application/problem+json", f"{response.status_code} as {kind}"
        problem = response.json()
        assert problem["status"] == response.status_code
        assert problem["code"] and problem["title"] and problem["request_id"]


@schemathesis.check
def unsigned_calls_are_refused(ctx, response, case):
    """Nothing below the prefix answers without a signature."""
    if not HOME and case.operation.path not in OPEN:
        assert response.status_code == 401, f"{case.method} {case.path} answered {response.status_code}"
