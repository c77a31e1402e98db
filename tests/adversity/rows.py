"""All rows of the table of bad input that clients can send, in the order of the page."""

from tests.adversity import rows_limits, rows_sockets, rows_upstream, rows_xml
from tests.adversity.table import Row, Section

SECTIONS: tuple[Section, ...] = (
    *rows_xml.SECTIONS,
    *rows_sockets.SECTIONS,
    *rows_limits.SECTIONS,
    *rows_upstream.SECTIONS,
)
ROWS: tuple[Row, ...] = tuple(row for section in SECTIONS for row in (*section.rows, *section.also))
