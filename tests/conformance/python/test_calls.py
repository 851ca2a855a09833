"""These tests show every call of the services."""

from pathlib import Path

import pytest
from ropewalk.v1 import admin_pb2, consumer_pb2, producer_pb2

METHODS = [
    method.name
    for module in (admin_pb2, consumer_pb2, producer_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
SOURCES = [path.read_text() for path in Path(__file__).parent.glob("*.py")]


@pytest.mark.parametrize("method", METHODS)
def test_a_call_is_shown(method):
    calls = f".{method}(", f".{method}.with_call("
    assert any(call in source for source in SOURCES for call in calls)
