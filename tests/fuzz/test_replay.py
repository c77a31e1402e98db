"""Every input that fuzzing has kept, read again through the codecs as they are: each target's oracle still holds."""

import pytest

from tests.fuzz.coverage import corpus
from tests.fuzz.coverage.build import TARGETS, target
from tests.fuzz.test_framer_parsers import assert_all_see_the_same
from tests.unit.wire.framing import HEADER, read

FRAMER_HEAD_BYTES = 8  # see targets/framer.pyx


@pytest.mark.parametrize("name", TARGETS)
def test_kept_inputs_still_pass(name: str) -> None:
    inputs = corpus.read(name)
    assert len(inputs) >= 20, "run `make fuzz` for it"
    run = target(name).run
    for data in inputs:
        try:
            run(data)
        except AssertionError as error:
            pytest.fail(f"{data!r}: {error}")


def test_every_parser_sees_the_same_elements_in_the_framers_inputs() -> None:
    """Also lxml's libxml2, which is newer than Debian's, and ejabberd's parser, which the fuzzer cannot ask."""
    for data in corpus.read("framer"):
        for stream in (data[FRAMER_HEAD_BYTES:], HEADER + data[FRAMER_HEAD_BYTES:]):
            ends = [0, *(end for _, end in read([stream]).events)]
            assert_all_see_the_same(stream[: ends[-1]])
