"""Types of the compiled start-tag writer."""

KEEP: object

def stamp(
    stanza: bytes,
    *,
    to: object = ...,
    from_: object = ...,
    type_: object = ...,
    id_: object = ...,
    declarations: bytes = b"",
) -> bytes: ...
def prefix_declarations(element: bytes) -> list[bytes]: ...
def add_child(element: bytes, child: bytes) -> bytes: ...
