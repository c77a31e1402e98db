"""How numbers, units, names, targets and verdicts are written, the same in every table and plot."""

from tests.bench.report.figure import Figure, Target

NAMES = {
    "megaphone": "Megaphone",
    "openssl": "Megaphone, records in OpenSSL",
    "haproxy": "HAProxy",
    "prosody": "Prosody",
    "link": "Megaphone, 2 links",
    "direct mode": "Megaphone, direct mode",
    "tcp": "Megaphone, TCP",
    "link tcp": "Megaphone, 2 links, TCP",
    "link websocket": "Megaphone, 2 links, WebSocket",
}
TIMES = "\N{MULTIPLICATION SIGN}"
UNITS = {"us": "µs", "1/s": "/s", "1": "", "x": TIMES}  # others stay as they are
VERDICTS = {True: "met", False: "missed", None: "not measured"}


def name(party: str) -> str:
    """The proper name of who was measured."""
    return NAMES.get(party, party)


def number(value: float, digits: int) -> str:
    """With separators; from 1,000 on with three digits that mean something, for no figure here repeats better."""
    if not value:
        return "0"
    if abs(value) >= 1_000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.{digits}f}"


def quantity(value: float, figure: Figure) -> str:
    """Number and unit."""
    return with_unit(number(value, figure.digits), figure.unit)


def with_unit(text: str, unit: str) -> str:
    """A number that is written already, and its unit."""
    unit = UNITS.get(unit, unit)
    return f"{text}{unit}" if unit.startswith("/") else f"{text} {unit}".rstrip()


def ratio(value: float) -> str:
    """With about three digits."""
    if value < 0.1:
        return f"{value:.2g}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def target(of: Target, figure: Figure) -> str:
    """Such as "at most 3 KiB", "at most 1.2 times HAProxy" with a sign, or "at least 150,000/s"."""
    bound = "at most" if of.at_most else "at least"
    limit = f"{of.limit:,g}" if of.limit < 1_000 else f"{of.limit:,.0f}"
    if of.of == "ratio":
        return f"{bound} {limit} {TIMES} {name(of.peer or figure.peer)}"
    return f"{bound} {with_unit(limit, figure.unit)}" if of.limit else "none"


def verdict(of: Target, figure: Figure) -> str:
    """Whether the target is met."""
    return VERDICTS[figure.met(of)]
