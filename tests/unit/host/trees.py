"""Small /proc trees: what a kernel would say."""

from pathlib import Path

# Linux 6.1 with 24 GiB, as Debian 12 sets it up, in a process started by systemd.
DEFAULTS = {
    "sys/fs/nr_open": "1048576",
    "sys/fs/file-max": "9223372036854775807",
    "sys/fs/epoll/max_user_watches": "5491511",
    "sys/vm/max_map_count": "65530",
    "sys/net/core/somaxconn": "4096",
    "sys/net/ipv4/tcp_max_syn_backlog": "2048",
    "sys/net/ipv4/tcp_mem": "287901\t383868\t575802",
    "sys/net/ipv4/tcp_rmem": "4096\t131072\t6291456",
    "sys/net/ipv4/tcp_wmem": "4096\t16384\t4194304",
    "sys/net/ipv4/ip_local_port_range": "32768\t60999",
    "sys/net/ipv4/ip_local_reserved_ports": "",
    "meminfo": "MemTotal:       25200000 kB\nMemFree:        1000000 kB\nMemAvailable:   24000000 kB\n",
    "self/limits": (
        "Limit                     Soft Limit           Hard Limit           Units     \n"
        "Max cpu time              unlimited            unlimited            seconds   \n"
        "Max open files            1024                 1048576              files     \n"
    ),
}


def proc_tree(directory: Path, **changes: str | None) -> Path:
    """Writes the tree of DEFAULTS, but for `changes`: by the file's last name, None for a file that is not there."""
    files = {name: changes.get(name.rpartition("/")[2].replace("-", "_"), text) for name, text in DEFAULTS.items()}
    netfilter = {name: text for name, text in changes.items() if name.startswith("nf_conntrack")}
    files |= {f"sys/net/netfilter/{name}": text for name, text in netfilter.items()}
    for name, text in files.items():
        if text is not None:
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text if text.endswith("\n") else text + "\n")
    return directory
