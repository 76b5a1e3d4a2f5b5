"""The login: once, when it is needed; renewed in time; not repeated after a refusal."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from bgci import redaction
from bgci.dcos.cluster import connect
from bgci.dcos.credentials import Password, ServiceAccount, Token
from bgci.dcos.http import Http
from bgci.dcos.login import PATH, Login, PlainLogin
from bgci.errors import DeniedError, UnavailableError, UsageError

NOW = 1_700_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def keys() -> dict[str, str]:
    """One key in both forms, and its public half."""

    def openssl(*words: str, given: str = "") -> str:
        return subprocess.run(["openssl", *words], input=given, text=True, capture_output=True, check=True).stdout

    pkcs8 = openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
    return {
        "PKCS#8": pkcs8,
        "PKCS#1": openssl("rsa", "-traditional", given=pkcs8),
        "public": openssl("pkey", "-pubout", given=pkcs8),
        "EC": openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
        "passphrase": openssl("pkey", "-aes128", "-passout", "pass:abcd", given=pkcs8),
    }


def issued(number: int, end: float | None = None) -> str:
    claims = {"uid": "me", "number": number} | ({} if end is None else {"exp": end})
    return jwt.encode(claims, "k" * 32, algorithm="HS256")


@pytest.fixture
def http(stub, clock) -> Callable[..., Http]:
    """The session of a client that logs in with these credentials."""

    def make(credentials: Any, variant: str = "enterprise") -> Http:
        bare = Http(stub.url, backoff=0.01, name="DC/OS")
        return Http(stub.url, backoff=0.01, name="Marathon", auth=Login(credentials, bare, clock, variant=variant))

    stub.json("/x", {"ok": True})
    return make


def logins(stub: Any) -> list[Any]:
    return [asked.body for asked in stub.asked if asked.path == PATH]


def sent(stub: Any) -> list[str | None]:
    """What authenticated the requests other than logins."""
    return [asked.headers.get("authorization") for asked in stub.asked if asked.path != PATH]


def test_a_token_is_sent_unchanged(stub, http):
    http(Token("t0ken")).get("/x")
    assert sent(stub) == ["token=t0ken"]
    assert logins(stub) == []


def test_without_credentials_there_is_no_login(stub, http):
    http(None).get("/x")
    assert sent(stub) == [None]
    assert len(stub.asked) == 1


def test_h26_a_password_of_any_characters_logs_in_once_at_the_first_request(stub, http):
    password = "a:b\"c'd\\e é €{}"
    client = http(Password("me", password))
    assert stub.asked == []
    stub.json(PATH, {"token": issued(1)}, method="POST")
    client.get("/x")
    client.below("/x", name="Other").get("")
    assert logins(stub) == [{"uid": "me", "password": password}]
    assert sent(stub) == [f"token={issued(1)}"] * 2
    assert "authorization" not in stub.asked[0].headers


@pytest.mark.parametrize("form", ["PKCS#8", "PKCS#1"])
def test_h25_a_service_account_proves_itself_for_five_minutes(stub, http, keys, form):
    stub.json(PATH, {"token": issued(1)}, method="POST")
    http(ServiceAccount("ci", keys[form])).get("/x")
    (body,) = logins(stub)
    assert body["uid"] == "ci"
    assert jwt.get_unverified_header(body["token"])["alg"] == "RS256"
    claims = jwt.decode(body["token"], keys["public"], algorithms=["RS256"], options={"verify_exp": False})
    assert claims == {"uid": "ci", "exp": NOW + 300}
    for secret in (body["token"], issued(1)):
        assert redaction.redacted(f"it is {secret}.") == "it is ***."


@pytest.mark.parametrize("key", ["EC", "passphrase", "damaged"])
def test_a_key_that_cannot_sign_is_a_usage_error_and_not_shown(stub, http, keys, key):
    pem = keys.get(key) or keys["PKCS#8"].replace("M", "N", 5)
    with pytest.raises(UsageError, match="BGCI_SERVICE_ACCOUNT is not an RSA key") as caught:
        http(ServiceAccount("ci", pem)).get("/x")
    assert caught.value.__cause__ is None
    assert stub.asked == []


def test_wrong_credentials_are_tried_once_and_never_again(stub, http, answer):
    body = {"title": "Unauthorized", "description": "Invalid credentials.", "code": "ERR_INVALID_CREDENTIALS"}
    stub.tell("POST", PATH, answer(401, body))
    client = http(Password("me", "wr0ng"))
    for one in (client, client.below("/y"), client):
        with pytest.raises(DeniedError, match="refuses the login of user me: Invalid credentials"):
            one.get("/x")
    assert len(stub.asked) == 1
    assert not client._auth.renew()


@pytest.mark.parametrize("status", [400, 403, 404])
def test_any_other_refusal_is_final_too(stub, http, answer, status, keys):
    stub.tell("POST", PATH, answer(status, "<html>no</html>", "text/html"))
    client = http(ServiceAccount("ci", keys["PKCS#8"]))
    for _ in range(2):
        with pytest.raises(DeniedError, match="refuses the login of service account ci") as caught:
            client.get("/x")
    assert "clock" in caught.value.remedy
    assert len(stub.asked) == 1


def test_a_login_that_fails_temporarily_is_retried(stub, http, answer):
    stub.tell("POST", PATH, answer(503), answer(cut=True), answer(502), answer(200, {"token": issued(1)}))
    assert http(Password("me", "pass")).get("/x") == {"ok": True}
    assert len(logins(stub)) == 4


def test_a_failing_login_is_unavailable_and_its_message_mentions_no_change(stub, http, answer):
    for status in (503, 500):
        stub.tell("POST", PATH, answer(status))
        with pytest.raises(UnavailableError) as caught:
            http(Password("me", "pass")).get("/x")
        assert "carried out" not in caught.value.message


@pytest.mark.parametrize("body", [{}, [], {"token": ""}, None])
def test_an_answer_without_a_token_is_unavailable(stub, http, body):
    stub.json(PATH, body, method="POST")
    with pytest.raises(UnavailableError, match="answers without a token"):
        http(Password("me", "pass")).get("/x")


def test_a_token_is_renewed_a_minute_before_it_expires(stub, http, clock, answer):
    tokens = [issued(1, NOW + 3600), issued(2, NOW + 7200)]
    stub.tell("POST", PATH, *(answer(200, {"token": token}) for token in tokens))
    client = http(Password("me", "pass"))
    for clock.now in (NOW, NOW + 3539, NOW + 3541):
        client.get("/x")
    assert sent(stub) == [f"token={token}" for token in (tokens[0], tokens[0], tokens[1])]


def test_a_token_of_a_short_life_is_renewed_in_its_last_quarter(stub, http, clock, answer):
    stub.tell("POST", PATH, *(answer(200, {"token": issued(n, NOW + 4 * n)}) for n in (1, 2)))
    client = http(Password("me", "pass"))
    for clock.now in (NOW, NOW + 2.9, NOW + 3.1):
        client.get("/x")
    assert len(logins(stub)) == 2


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "a.W10.c", "a.eyJleHAiOiBudWxsfQ.c"])
def test_a_token_without_an_expiry_is_used_until_a_401(stub, http, clock, token):
    stub.json(PATH, {"token": token}, method="POST")
    client = http(Password("me", "pass"))
    for clock.now in (NOW, NOW + 1_000_000):
        client.get("/x")
    assert len(logins(stub)) == 1


def test_a_clock_far_ahead_does_not_log_in_for_every_request(stub, http, clock):
    stub.json(PATH, {"token": issued(1, NOW - 3600)}, method="POST")
    client = http(Password("me", "pass"))
    for _ in range(3):
        client.get("/x")
    assert len(logins(stub)) == 1


@pytest.mark.parametrize("method", ["get", "post", "put", "delete"])
def test_an_expired_token_is_renewed_and_the_request_repeated(stub, http, clock, answer, method):
    stub.tell("POST", PATH, *(answer(200, {"token": issued(n)}) for n in (1, 2)))
    client = http(Password("me", "pass"))
    client.get("/x")
    clock.now += 100
    stub.tell(method.upper(), "/y", answer(401, "<html>401</html>", "text/html"), answer(200, {"done": 1}))
    assert getattr(client, method)("/y") == {"done": 1}
    assert sent(stub) == [f"token={issued(n)}" for n in (1, 1, 2)]


def test_a_request_refused_with_a_fresh_token_is_not_repeated(stub, http, clock, answer):
    stub.json(PATH, {"token": issued(1)}, method="POST")
    stub.tell("GET", "/y", answer(401, "<html>401</html>", "text/html"))
    client = http(Password("me", "pass"))
    for _ in range(3):
        with pytest.raises(DeniedError, match="asks for a login"):
            client.get("/y")
    assert len(logins(stub)) == 1
    clock.now += 100
    with pytest.raises(DeniedError, match="asks for a login"):
        client.get("/y")
    assert (len(logins(stub)), len(sent(stub))) == (2, 5)


def test_an_account_that_is_removed_during_a_wait_is_denied(stub, http, clock, answer):
    stub.tell("POST", PATH, answer(200, {"token": issued(1)}), answer(401, {"description": "Invalid credentials."}))
    client = http(Password("me", "pass"))
    client.get("/x")
    clock.now += 100
    stub.tell("GET", "/x", answer(401))
    for _ in range(3):
        with pytest.raises(DeniedError, match="Invalid credentials"):
            client.get("/x")
    assert len(logins(stub)) == 2


def test_a_login_requested_by_another_origin_renews_no_token(stub, other, http, answer, clock):
    stub.json(PATH, {"token": issued(1)}, method="POST")
    client = http(Password("me", "pass"))
    client.get("/x")
    clock.now += 100
    stub.tell("GET", "/a", answer(302, headers={"Location": f"{other.url}/a"}))
    other.tell("GET", "/a", answer(401))
    with pytest.raises(DeniedError):
        client.get("/a")
    assert len(logins(stub)) == 1
    assert "authorization" not in other.asked[0].headers


def test_a_refused_token_is_reported_with_its_expiry(stub, http, answer):
    stub.tell("GET", "/x", answer(401))
    with pytest.raises(DeniedError) as caught:
        http(Token(issued(1, NOW - 60), "DCOS_ACS_TOKEN")).get("/x")
    assert "The token of DCOS_ACS_TOKEN is refused: it ended at 2023-11-14 22:12 UTC." in caught.value.remedy
    assert len(stub.asked) == 1


def test_a_cluster_that_asks_for_a_login_is_reported_with_the_variables_to_set(stub, http, answer):
    stub.tell("GET", "/x", answer(401, "<html>", "text/html", headers={"WWW-Authenticate": "oauthjwt"}))
    with pytest.raises(DeniedError) as caught:
        http(None, "open").get("/x")
    assert "dcos config show core.dcos_acs_token" in caught.value.remedy


@pytest.mark.parametrize(("variant", "named"), [("enterprise", True), ("open", False)])
def test_a_403_names_the_permission_that_is_missing(stub, http, answer, variant, named):
    path = "/service/marathon/v2/apps/team/web"
    stub.tell("PUT", path, answer(403, {"message": "Not Authorized to perform this action!"}))
    with pytest.raises(DeniedError, match="Not Authorized") as caught:
        http(Token("t"), variant).put(path, json={"instances": 2})
    assert ("dcos:service:marathon:marathon:services:/team update" in caught.value.message) is named


def test_a_403_of_the_router_names_the_route(stub, http, answer):
    stub.tell("GET", "/service/metronome/v1/jobs", answer(403, "<html>403</html>", "text/html"))
    with pytest.raises(DeniedError, match="dcos:adminrouter:service:metronome full"):
        http(Token("t")).get("/service/metronome/v1/jobs")


# -- a plain Marathon --------------------------------------------------------------------------------------------------


def test_a_plain_marathon_gets_basic_authentication(stub):
    stub.json("/v2/info", {})
    connect(marathon_url=stub.url, credentials=Password("me", "a:b é")).marathon.http.get("/v2/info")
    (header,) = sent(stub)
    kind, _, encoded = header.partition(" ")
    assert (kind, base64.b64decode(encoded).decode()) == ("Basic", "me:a:b é")
    assert redaction.redacted(header) == "Basic ***"


def test_a_plain_marathon_gets_a_token_as_bearer(stub):
    stub.json("/v2/info", {})
    connect(marathon_url=stub.url, credentials=Token("t0ken")).marathon.http.get("/v2/info")
    assert sent(stub) == ["Bearer t0ken"]


def test_a_service_account_for_a_plain_marathon_is_refused():
    with pytest.raises(UsageError, match="has no service accounts"):
        connect(marathon_url="https://marathon", credentials=ServiceAccount("ci", "-----BEGIN PRIVATE KEY-----"))


def test_a_name_with_a_colon_cannot_be_sent():
    with pytest.raises(UsageError, match="colon"):
        PlainLogin(Password("a:b", "pass"))


@pytest.mark.parametrize(
    ("credentials", "said"), [(None, "Set BGCI_USERNAME"), (Password("a", "b"), "credentials belong to this Marathon")]
)
def test_a_plain_marathon_that_refuses_is_reported_with_the_variables_to_set(stub, answer, credentials, said):
    stub.tell("GET", "/v2/info", answer(401, {"message": "Unauthorized"}))
    with pytest.raises(DeniedError, match="asks for a login") as caught:
        connect(marathon_url=stub.url, credentials=credentials).marathon.http.get("/v2/info")
    assert said in caught.value.remedy
    assert "--cluster-url" in caught.value.remedy
    assert len(stub.asked) == 1
