"""All rows of the table of bad input that clients can send, in the order of the page."""

from tests.adversity import rows_header, rows_limits, rows_slow, rows_tls, rows_upstream, rows_xml
from tests.adversity.table import Row, Section

SECTIONS: tuple[Section, ...] = (
    *rows_header.SECTIONS,
    *rows_xml.SECTIONS,
    *rows_tls.SECTIONS,
    *rows_slow.SECTIONS,
    *rows_limits.SECTIONS,
    *rows_upstream.SECTIONS,
)
ROWS: tuple[Row, ...] = tuple(row for section in SECTIONS for row in (*section.rows, *section.also))
