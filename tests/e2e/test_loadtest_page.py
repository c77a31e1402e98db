"""Locust's own web page, filled in and watched by a real browser, against the embedded service."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.chromium import Chromium
from tests.servers.embedded import Embedded
from tests.servers.model import DOMAIN
from tests.servers.process import LOOPBACK, Process, answers_http, free_port

ROOT = Path(__file__).parents[2]
# `LOADTEST_PAGE_SESSIONS=5000 LOADTEST_PAGE_SCREENSHOT=page.png` makes the picture of the documentation.
SESSIONS = int(os.environ.get("LOADTEST_PAGE_SESSIONS", "1000"))
USERS = 5
