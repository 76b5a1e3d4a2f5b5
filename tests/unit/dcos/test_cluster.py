"""From URLs to clients."""

from __future__ import annotations

import pytest

from bgci.dcos.cluster import connect
from bgci.dcos.credentials import Token
from bgci.errors import DeniedError, UnavailableError, UsageError

VERSION = "/dcos-metadata/dcos-version.json"


@pytest.mark.parametrize("variant", ["open", "enterprise"])
def test_a_dcos_cluster_is_recognised_without_credentials(stub, variant):
    stub.json(VERSION, {"version": "2.0.0", "dcos-variant": variant})
    cluster = connect(cluster_url=stub.url + "/", credentials=Token("t"))
    assert (cluster.variant, cluster.version) == (variant, "2.0.0")
    assert "authorization" not in stub.asked[0].headers
    assert cluster.marathon.http.base_url == f"{stub.url}/service/marathon"
    assert cluster.metronome.http.base_url == f"{stub.url}/service/metronome"
    assert cluster.task_log is not None
    assert not cluster.metronome.available()
    assert stub.asked[1].headers["authorization"] == "token=t"


def test_given_service_urls_take_precedence_over_those_of_the_cluster(stub, other):
    stub.json(VERSION, {"version": "1.10.0"})
    cluster = connect(cluster_url=stub.url, marathon_url=f"{other.url}/m", metronome_url=f"{other.url}/j")
    assert cluster.variant == "unknown"
    assert cluster.marathon.http.base_url == f"{other.url}/m"
    assert cluster.metronome.http.base_url == f"{other.url}/j"


def test_a_plain_marathon_gets_no_request_before_it_is_needed(stub):
    cluster = connect(marathon_url=stub.url)
    assert (cluster.variant, cluster.version) == ("plain", "")
    assert (cluster.metronome, cluster.task_log, cluster.http) == (None, None, None)
    assert not stub.asked


def test_a_url_of_another_service_is_refused_with_one_message(stub):
    with pytest.raises(UnavailableError, match="is not a DC/OS cluster") as caught:
        connect(cluster_url=stub.url)
    assert "--marathon-url" in caught.value.remedy


def test_a_login_portal_in_front_of_the_cluster_is_named(stub, answer):
    stub.tell("GET", VERSION, answer(200, "<html>Please log in to the network</html>", "text/html"))
    with pytest.raises(UnavailableError) as caught:
        connect(cluster_url=stub.url)
    assert caught.value.remedy == f"Is {stub.url} the URL of DC/OS?"


def test_a_wrong_marathon_path_on_dcos_is_denied_by_name(stub, answer):
    stub.json(VERSION, {"version": "2.0.0"})
    stub.tell("GET", "/service/marathon/v2/apps", answer(401, "<html>", "text/html"))
    with pytest.raises(DeniedError, match="Marathon asks for a login"):
        connect(cluster_url=stub.url).marathon.group_apps("web")


def test_a_missing_url_is_a_usage_error():
    with pytest.raises(UsageError):
        connect()
