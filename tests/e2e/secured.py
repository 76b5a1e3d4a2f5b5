"""A lab whose sandbox is a secured DC/OS: with accounts, permissions and secrets that the tests choose.

Commands run in it as the superuser, by token, unless a test gives them credentials."""

from __future__ import annotations

from dataclasses import dataclass

from administrator import Administrator

from e2e.lab import Json, Lab

CREDENTIALS = ("TOKEN", "USERNAME", "PASSWORD", "SERVICE_ACCOUNT", "DCOS_")


@dataclass
class SecuredLab(Administrator, Lab):
    """A lab, and its administrator."""

    @property
    def url(self) -> str:  # type: ignore[override]
        return str(self.where["cluster_url"])

    @property
    def ca_cert(self) -> str:  # type: ignore[override]
        """The path of the CA's certificate."""
        return str(self.where["ca_cert"])

    @property
    def credentials(self) -> str:  # type: ignore[override]
        return str(self.where["iam"])

    @property
    def options(self) -> Json:
        return {"headers": {"Authorization": f"token={self.token}"}, "verify": self.ca_cert}

    @property
    def marathon_url(self) -> str:
        return f"{self.url}/service/marathon"

    @property
    def metronome_url(self) -> str:
        return f"{self.url}/service/metronome"

    def environment(self, **more: str) -> dict[str, str]:
        given = any(part in name for name in more for part in CREDENTIALS)
        own = {"BGCI_CA_CERT": self.ca_cert, **({} if given else {"BGCI_TOKEN": self.token})}
        return super().environment(**(own | more))
