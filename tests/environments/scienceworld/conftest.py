"""JVMs that live for seconds."""

import pytest


@pytest.fixture(autouse=True, scope="session")
def quick_compiler():
    """Compile quickly rather than well: a JVM of the tests ends before good code has paid."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")
        yield
