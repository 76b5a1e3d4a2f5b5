"""Virtual addresses (VIPs) that DC/OS gives to ports by labels, and whether they survive a change of colour.

dcos-net reads each label of a port whose key begins with ``VIP`` or ``vip``, and skips a value that it cannot read
(dcos-net: dcos_l4lb_mesos_poller). A VIP does not contain the app's id: two apps with the same value share it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from bgci.appdef.app_definition import as_list, as_mapping, port_table
from bgci.appdef.findings import Finding, at
from bgci.appdef.names import COLOURS

# The keys that the user interface shows (dcos-ui: constants/Networking.ts), and their other spellings.
_MEANT = re.compile(r"(?:vip|VIP)(?:_?[0-9]+)?")
_COLOUR_WORD = re.compile(rf"(?<![a-z0-9])(?:{'|'.join(COLOURS)})(?![a-z0-9])|[{{}}]|\$\(", re.IGNORECASE)


@dataclass(frozen=True)
class Vip:
    """A virtual address. ``name``: the text before the port, as written; ``path``: of its label."""

    path: str
    value: str
    name: str
    port: int  # 0 if dcos-net skips it

    @property
    def is_address(self) -> bool:
        """Whether it is an IP address, which does not depend on a colour or an id."""
        try:
            ip_address(self.name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return True

    def names_a_colour(self, app_id: str) -> bool:
        """Whether the name contains a colour that the app's own id and folders do not contain."""
        if self.is_address:
            return False
        parts, own = self.name.lstrip("/").split("/"), app_id.lstrip("/").split("/")
        while parts and own and parts[0] == own[0]:
            del parts[0], own[0]
        rest = "/".join(parts)
        return _COLOUR_WORD.search(rest.removeprefix(own[0]) if own else rest) is not None


def vips(definition: Mapping[str, Any]) -> list[Vip]:
    """The VIPs of a definition or of a running app, in the order of its ports."""
    path, key, table = port_table(definition)
    found = [vip for index, entry in enumerate(table if key else ()) for vip in _of_port(at(path, index), entry)]
    discovery = as_mapping(as_mapping(definition.get("ipAddress")).get("discovery"))  # the legacy form
    for index, entry in enumerate(as_list(discovery.get("ports"))):
        found += _of_port(f"$.ipAddress.discovery.ports[{index}]", entry)
    return found


def _of_port(path: str, entry: Any) -> Iterator[Vip]:
    for key, value in as_mapping(as_mapping(entry).get("labels")).items():
        if not key.startswith(("VIP", "vip")) or not isinstance(value, str):
            continue
        name, _, port = value.rpartition(":")
        number = int(port) if re.fullmatch(r"[0-9]{1,5}", port) and name.strip("/ ") else 0
        if number or _MEANT.fullmatch(key):
            yield Vip(at(f"{path}.labels", key), value, name, number if number <= 65535 else 0)


def check_vips(definition: Mapping[str, Any], app_id: str) -> Iterator[Finding]:
    """Findings of values that are not VIPs, and of names with a colour, which the next release removes."""
    for vip in vips(definition):
        if not vip.port:
            message = f"is {vip.value!r}, which DC/OS ignores: it is not a name or an address with a port"
            yield Finding(vip.path, message, f"Write {f'{app_id}:80'!r}, or an address such as '10.1.2.3:80'")
        elif vip.names_a_colour(app_id):
            message = f"is {vip.value!r}, a name that changes with the colour: after the next release its consumers "
            remedy = f"Write {f'{app_id}:{vip.port}'!r}, which both colours share"
            yield Finding(vip.path, f"{message}would find nothing", remedy)
