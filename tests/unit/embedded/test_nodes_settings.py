"""What a node says of where clients connect."""

import socket

from megaphone.embedded.nodes_settings import addresses_of


def test_a_port_that_the_kernel_chose_is_told() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as chosen,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as v6,
    ):
        configured = ["*:5222", "127.0.0.1:0", "[::1]:0", "127.0.0.1:10"]
        listeners = [(1, chosen.fileno()), (2, v6.fileno())]
        assert addresses_of(configured, listeners) == (
            "*:5222",
            f"127.0.0.1:{chosen.getsockname()[1]}",
            f"[::1]:{v6.getsockname()[1]}",
            "127.0.0.1:10",
        )
        assert chosen.getsockname()  # they are still open
