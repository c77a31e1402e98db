"""Keeps what pytest has collected out of the garbage collector's sight.

Thirteen thousand tests are a million objects that stay until the end. To look for garbage among them is in vain while
they are collected, and makes each full collection later on tens of times as slow, those that tests ask for included.
"""

import gc
from collections.abc import Iterator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Whatever is there at the end counts as permanent; what tests make is collected as ever."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()
