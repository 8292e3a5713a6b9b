"""The same server and environment as for downloads."""

from tests.system.downloads.conftest import running, site

__all__ = ["running", "site"]
