"""Container images: an agent can pull each of them, but for those of a registry whose name ends in ``.invalid``.

DNS never knows such a name (RFC 2606).
"""

from __future__ import annotations


class PullError(Exception):
    """The agent cannot pull the image: the text of its status update after ``Failed to launch container: ``."""


def pull(image: str, *, by_docker: bool) -> None:
    """Raises PullError, with the words of Docker's client or of Mesos' own containerizer (mesos: docker/docker.cpp
    ``Docker::pull``, uri/fetchers/docker.cpp)."""
    registry = image.partition("/")[0].partition(":")[0]
    if not registry.endswith(".invalid"):
        return
    if not by_docker:
        raise PullError(f"Failed to perform 'curl': curl: (6) Could not resolve host: {registry}")
    daemon = f'Error response from daemon: Get "https://{registry}/v2/": dial tcp: lookup {registry}: no such host'
    command = f"docker -H unix:///var/run/docker.sock pull {image}"
    raise PullError(f"Failed to run '{command}': exited with status 1; stderr='{daemon}\n'")
