"""What becomes of a benchmark's figures, all in one place.

`figure` (medians, ratios, targets) → `table` (figures that were measured together, as JSON) → `text` for the terminal,
`plots` on `bars` for the eye, `markdown` for the documentation. `report` is what a benchmark talks to.
"""
