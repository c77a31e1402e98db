"""Steers new connections away from workers that cannot take them, while their listening sockets stay open.

The kernel spreads connections over all sockets of a SO_REUSEPORT group, also over that of a worker which is draining or
being replaced; there they would wait for its successor. A classic BPF program on the group (socket(7),
SO_ATTACH_REUSEPORT_CBPF) chooses among the others instead. It returns the number of a socket, counted in the order in
which they began to listen, which is the order of the workers:

    A = random() % (workers - excluded);  for each excluded worker, ascending:  if A >= it: A += 1;  return A
"""

import array
import socket
import struct
from collections.abc import Collection, Sequence
from typing import Final

_ATTACH: Final = 51  # SO_ATTACH_REUSEPORT_CBPF, Linux 4.5
_DETACH: Final = 68  # SO_DETACH_REUSEPORT_BPF, Linux 5.3

# linux/filter.h and linux/bpf_common.h
_LOAD_WORD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_MODULO: Final = 0x94  # BPF_ALU | BPF_MOD | BPF_K
_ADD: Final = 0x04  # BPF_ALU | BPF_ADD | BPF_K
_JUMP_IF_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN_A: Final = 0x16  # BPF_RET | BPF_A
_RANDOM: Final = 0xFFFFF000 + 56  # SKF_AD_OFF + SKF_AD_RANDOM

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


def program(workers: int, excluded: Collection[int]) -> list[Instruction]:
    """The program that chooses one of `workers` sockets at random, but none of the `excluded`; not all may be."""
    instructions = [(_LOAD_WORD, 0, 0, _RANDOM), (_MODULO, 0, 0, workers - len(excluded))]
    for worker in sorted(excluded):
        instructions += [(_JUMP_IF_AT_LEAST, 0, 1, worker), (_ADD, 0, 0, 1)]
    return [*instructions, (_RETURN_A, 0, 0, 0)]


def steer_away(sockets: Sequence[socket.socket], excluded: Collection[int]) -> bool:
    """Keeps new connections away from these sockets of one group, numbered from 0; False when the kernel cannot.

    With none or all of them excluded the kernel chooses among all again.
    """
    try:
        if not excluded or len(excluded) == len(sockets):
            sockets[0].setsockopt(socket.SOL_SOCKET, _DETACH, 0)
        else:
            code = b"".join(struct.pack("=HBBI", *each) for each in program(len(sockets), excluded))
            filters = array.array("B", code)  # must live until the kernel has copied it
            address, length = filters.buffer_info()
            sockets[0].setsockopt(socket.SOL_SOCKET, _ATTACH, struct.pack("HP", length // 8, address))
    except FileNotFoundError:
        return True  # nothing was attached, so there is nothing to detach
    except OSError:
        return False
    return True
