"""Tests of the load test's parts.

Locust, when it is imported, makes Python's sockets and threads gevent's. Not in a process that has other tests.
"""

import os

os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
import locust  # noqa: F401

del os.environ["LOCUST_SKIP_MONKEY_PATCH"]
