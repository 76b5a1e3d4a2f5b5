"""Runs real marathon-lb replicas beside a sandbox: ``marathon_lb.py`` of a checkout, its head with our paths.

The caller provides the checkout of mesosphere/marathon-lb; its ``venv/bin/python`` needs marathon-lb's requirements.
Each replica has a separate process id namespace, as in a container (``unshare``, as root): its `pidof` finds no others.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from pathlib import Path

HEAD = """\
global
  log {home}/requests.sock local0
  spread-checks 5
  max-spread-checks 15000
  maxconn 2000
  no strict-limits
  stats socket {home}/haproxy.sock expose-fd listeners
  server-state-file global
  server-state-base {home}/
  lua-load {checkout}/getpids.lua
  lua-load {checkout}/getconfig.lua
  lua-load {home}/signal.lua
defaults
  load-server-state-from-file global
  log               global
  option            dontlog-normal
  retries                   3
  backlog               10000
  maxconn                2000
  timeout connect          3s
  timeout client          30s
  timeout server          30s
  timeout tunnel        3600s
  timeout http-keep-alive  1s
  timeout http-request    15s
  timeout queue           30s
  timeout tarpit          60s
  option            dontlognull
  option            http-server-close
  option            redispatch
{more}listen stats
  bind {address}:{port}
  balance
  mode http
  stats enable
  monitor-uri /_haproxy_health_check
  acl getpid path /_haproxy_getpids
  http-request use-service lua.getpids if getpid
  acl getconfig path /_haproxy_getconfig
  http-request use-service lua.getconfig if getconfig
  acl signalmlbhup path /_mlb_signal/hup
  http-request use-service lua.signalmlbhup if signalmlbhup
"""
FRONTEND = """
frontend {{backend}}
  bind {address}:{{servicePort}}{{sslCert}}{{bindOptions}}
  mode {{mode}}
  log-format "%ci:%cp %b/%s %bi:%bp %si:%sp %TR/%Tw/%Tc/%Tr/%Ta %ST %B %tsc %ac/%fc/%bc/%sc/%rc %pid %{{{{+Q}}}}r"
"""
LUA = """\
core.register_service("signalmlbhup", "http", function(applet)
  io.popen("kill -HUP 1"):close()
  applet:set_status(200)
  applet:add_header("content-length", "0")
  applet:start_response()
end)
"""
RELOAD = """\
#!/bin/bash
cd HOME
if [ -e haproxy.pid ]; then
  PYTHON -c 'import socket; s = socket.socket(socket.AF_UNIX); s.connect("haproxy.sock")
s.sendall(b"show servers state\\n"); print(s.makefile().read(), end="")' > global
  kill -USR2 "$(cat haproxy.pid)"
else
  touch global
  PATH=$PATH:/usr/sbin setsid haproxy -W -f haproxy.cfg > haproxy.log 2>&1 &
  echo $! > haproxy.pid
fi
"""


class RealMarathonLb:
    """One replica on a separate address; ``url`` is its statistics port."""

    def __init__(self, checkout: Path, home: Path, address: str, marathon_url: str, more: list[str]) -> None:
        self.home = home
        home.mkdir(parents=True)
        port, appid = free_port(address), free_port(address)
        self.url = f"http://{address}:{port}"
        python = str(checkout / "venv" / "bin" / "python")
        (home / "signal.lua").write_text(LUA)
        reload = home / "reload.sh"
        reload.write_text(RELOAD.replace("HOME", str(home)).replace("PYTHON", python))
        reload.chmod(0o755)
        extra = "".join(f"  {line}\n" for line in more)
        values = {"home": home, "checkout": checkout, "address": address, "port": port, "more": extra}
        environment = {
            **os.environ,
            "HAPROXY_HEAD": HEAD.format(**values),
            "HAPROXY_HTTP_FRONTEND_APPID_HEAD": f"\nfrontend appid\n  bind {address}:{appid}\n  mode http\n",
            "HAPROXY_FRONTEND_HEAD": FRONTEND.format(address=address),
        }
        # Not in the path: with a "haproxy.service" marathon-lb would not use --command.
        options = ["--group", "*", "--haproxy-config", str(home / "haproxy.cfg"), "--command", str(reload), "--sse"]
        options += ["--health-check", "--dont-bind-http-https", "--skip-validation", "--syslog-socket", "/dev/null"]
        alone = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        command = [*alone, python, "marathon_lb.py", "--marathon", marathon_url, *options]
        with (home / "lb.log").open("wb") as log:
            self.process = subprocess.Popen(command, cwd=checkout, env=environment, stdout=log, stderr=log)

    def wait(self) -> None:
        """Until its HAProxy answers."""
        host, _, port = self.url.rpartition("//")[2].partition(":")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
                return
            time.sleep(0.1)
        raise AssertionError((self.home / "lb.log").read_text()[-3000:])

    def stop(self) -> None:
        self.process.kill()  # and all that it has started
        self.process.wait()


def free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
