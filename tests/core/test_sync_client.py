"""The client for sync code works in the caller's connection, and names what is missing where it cannot."""

from __future__ import annotations

import pytest
from executing import Probe

from jobs_exec import SyncClient
from jobs_exec.errors import CapabilityMissing


def test_a_backend_that_takes_no_connection_is_named_with_the_client_that_needs_none() -> None:
    with SyncClient.open(host=Probe().host) as client, pytest.raises(CapabilityMissing, match=r"memory.*use Client"):
        client.enqueue(org_id="acme", type="work", allow_unregistered=True, connection=object())
