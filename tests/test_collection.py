"""What pytest collected costs nothing when garbage is looked for, and garbage is looked for."""

import gc
import weakref


class Knot:
    """It refers to itself."""

    def __init__(self) -> None:
        self.self = self


def test_what_was_collected_is_out_of_sight() -> None:
    assert gc.is_tracked(Knot)
    assert not any(each is Knot for each in gc.get_objects())


def test_what_tests_make_is_collected() -> None:
    assert gc.isenabled()
    knot = weakref.ref(Knot())
    gc.collect()
    assert knot() is None
