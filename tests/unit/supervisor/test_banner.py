"""The start-up text, literally."""

from megaphone.config.schema import Config, Domain, Listen, Upstream
from megaphone.supervisor.banner import banner
from megaphone.supervisor.listeners import Bound


def test_the_whole_banner() -> None:
    config = Config(
        listen=(
            Listen(address=":5222"),
            Listen(address=":5223", tls="direct", proxy_protocol_from=("10.0.0.0/8", "::1/128")),
            Listen(address="127.0.0.1:5224", tls="none", web=("websocket", "chat")),
        ),
        domain=(Domain(name="example.org", upstreams=("a", "b")), Domain(name="example.net", upstreams=("b",))),
        upstream=(Upstream(name="a", address="10.0.0.1:5222"), Upstream(name="b", address="unix:/run/b.sock")),
    )
    bound = [
        Bound(0, "0.0.0.0:5222", ()),
        Bound(0, "[::]:5222", ()),
        Bound(1, "0.0.0.0:5223", ()),
        Bound(2, "127.0.0.1:5224", ()),
    ]
    text = banner(config, bound, version="1.2.3", pid=42, workers=4, config_path="/etc/m.toml", admin="127.0.0.1:9280")
    assert (
        text
        == """\
Megaphone 1.2.3, pid 42, 4 workers
  config   /etc/m.toml
  listen   0.0.0.0:5222  STARTTLS required
  listen   [::]:5222  STARTTLS required
  listen   0.0.0.0:5223  direct TLS, PROXY protocol from 10.0.0.0/8, ::1/128
  listen   127.0.0.1:5224  plain, no TLS, HTTP for websocket, chat
  domain   example.org -> a (10.0.0.1:5222), b (unix:/run/b.sock)
  domain   example.net -> b (unix:/run/b.sock)
  admin    http://127.0.0.1:9280/  /metrics  /health/live  /health/ready
  control  /run/megaphone/admin.sock"""
    )


def test_what_is_switched_off_is_not_mentioned() -> None:
    text = banner(Config(), [], version="1.2.3", pid=42, workers=1, config_path="m.toml", admin="")
    assert "1 worker\n" in text
    assert "admin" not in text.replace("admin.sock", "")
