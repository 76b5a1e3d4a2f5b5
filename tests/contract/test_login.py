"""Logins at a secured cluster, and the use of its tokens."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import requests
from administrator import API, key_pair, login_token

from contract.client import Sandbox, until
from contract.secured import Secured, of_sandbox

COOKIE = "dcos-acs-auth-cookie"
PASSWORD = "p:ä ß\"'\\$x"


@pytest.fixture
def account(secured: Secured, name: str) -> dict[str, Any]:
    """The credential of a service account without any permission."""
    return secured.service_account(name)


def claims(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def anonymous(secured: Secured, path: str, **options: Any) -> requests.Response:
    return requests.get(secured.url + path, verify=secured.ca_cert, timeout=20, **options)


def test_a_user_gets_a_token_in_the_body_and_as_cookies(secured: Secured, name: str) -> None:
    secured.user(name, PASSWORD)
    reply = secured.post_login({"uid": name, "password": PASSWORD})
    token = reply.json()["token"]
    assert (reply.status_code, reply.cookies[COOKIE]) == (200, token)
    info = json.loads(base64.b64decode(reply.cookies["dcos-acs-info-cookie"].strip('"')))
    assert info == {"uid": name, "description": "of a test", "is_remote": False}
    assert "HttpOnly" in reply.headers["Set-Cookie"]
    assert claims(token)["uid"] == name
    assert claims(token)["exp"] > time.time() + 86400


def test_a_token_is_signed_by_the_clusters_published_key(secured: Secured) -> None:
    [key] = anonymous(secured, f"{API}/auth/jwks").json()["keys"]
    assert jwt.decode(secured.token, jwt.PyJWK(key).key, algorithms=["RS256"])["uid"] == secured.superuser["uid"]


def test_a_service_account_gets_a_token_for_a_signed_login(secured: Secured, account: dict[str, Any]) -> None:
    assert claims(secured.login(account))["uid"] == account["uid"]
    without_exp = secured.post_login({"uid": account["uid"], "token": login_token(account)})
    assert without_exp.status_code == 200


def test_a_service_account_can_choose_the_lifetime_of_its_token(secured: Secured, account: dict[str, Any]) -> None:
    body = {"uid": account["uid"], "token": login_token(account)}
    assert "exp" not in claims(secured.post_login({**body, "exp": 0}).json()["token"])
    until_then = int(time.time()) + 77
    assert claims(secured.post_login({**body, "exp": until_then}).json()["token"])["exp"] == until_then


def test_a_user_cannot_choose_the_lifetime_of_a_token(secured: Secured, name: str) -> None:
    body = secured.user(name)
    assert "exp" in claims(secured.post_login({**body, "exp": 0}).json()["token"])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"uid": "alice"},
        {"uid": "alice", "password": "secret", "token": "x"},
        {"password": "secret"},
        {"uid": "", "password": "secret"},
        {"uid": "alice", "password": ""},
        {"uid": "alice", "password": 5},
        {"uid": "alice", "token": "x", "exp": "soon"},
        [],
    ],
)
def test_a_malformed_login_is_a_bad_request(secured: Secured, body: Any) -> None:
    reply = secured.post_login(body)
    assert reply.status_code == 400
    assert reply.json().keys() == {"title", "description", "code"}


def refused(secured: Secured, body: Any) -> None:
    reply = secured.post_login(body)
    assert (reply.status_code, reply.headers["WWW-Authenticate"]) == (401, "acsjwt")
    assert (reply.json()["code"], reply.json()["description"]) == ("ERR_INVALID_CREDENTIALS", "Invalid credentials.")
    assert not reply.cookies


def test_wrong_passwords_are_refused(secured: Secured, name: str) -> None:
    secured.user(name)
    refused(secured, {"uid": name, "password": "another password"})
    refused(secured, {"uid": f"{name}-unknown", "password": "a password"})
    refused(secured, {"uid": name, "token": jwt.encode({"uid": name}, key_pair()[0], algorithm="RS256")})


def test_wrong_service_logins_are_refused(secured: Secured, account: dict[str, Any]) -> None:
    uid = account["uid"]
    stranger = {"uid": uid, "private_key": key_pair()[0]}
    unsigned = jwt.encode({"uid": uid}, None, algorithm="none")
    shared = jwt.encode({"uid": uid}, "a secret of thirty-two characters", algorithm="HS256")
    of_another = login_token({**account, "uid": "somebody-else"})
    expired = login_token(account, exp=int(time.time()) - 60)
    for token in (login_token(stranger), unsigned, shared, of_another, expired, "no token", login_token(account)[:-9]):
        refused(secured, {"uid": uid, "token": token})
    refused(secured, {"uid": uid, "password": "a password"})


@pytest.mark.sandbox_only
def test_each_attempt_is_counted(secured: Secured, name: str) -> None:
    body = secured.user(name)
    for password in ("wrong one", "wrong two"):
        secured.post_login({**body, "password": password})
    secured.login(body)
    assert secured.logins(name) == (1, 2)


def test_the_kinds_of_login_are_public(secured: Secured) -> None:
    providers = anonymous(secured, f"{API}/auth/providers").json()
    kinds = {name: provider["authentication-type"] for name, provider in providers.items()}
    expected = {"dcos-users": "dcos-uid-password", "dcos-services": "dcos-uid-servicekey"}
    assert expected.items() <= kinds.items()


def test_logout_deletes_the_cookie(secured: Secured) -> None:
    reply = anonymous(secured, f"{API}/auth/logout")
    assert reply.status_code == 200
    assert f'{COOKIE}="";' in reply.headers["Set-Cookie"]


def test_a_token_is_taken_from_the_header_or_else_from_the_cookie(secured: Secured) -> None:
    path, token = "/metadata", secured.token

    def status(authorization: str = "", cookie: str = "") -> int:
        headers = {"Authorization": authorization} if authorization else {}
        return anonymous(secured, path, headers=headers, cookies={COOKIE: cookie} if cookie else {}).status_code

    assert status(f"token={token}") == 200
    assert status(f"Bearer {token}") == 200
    assert status(cookie=token) == 200
    assert status("token=none", cookie=token) == 401
    assert status(f"Basic {token}") == 401
    assert status() == 401


def test_without_a_login_admin_router_answers_in_html(secured: Secured) -> None:
    for path in ("/service/marathon/v2/apps", "/service/none", "/secrets/v1/store", "/mesos/state-summary"):
        reply = anonymous(secured, path)
        assert (reply.status_code, reply.headers["WWW-Authenticate"]) == (401, "acsjwt")
        assert reply.headers["Content-Type"].startswith("text/html")


def test_a_token_signed_with_another_key_is_refused(secured: Secured) -> None:
    forged = jwt.encode({"uid": secured.superuser["uid"]}, key_pair()[0], algorithm="RS256")
    assert secured.request("GET", "/metadata", token=forged).status_code == 401


def test_the_token_of_a_removed_account_is_refused(secured: Secured) -> None:
    person = secured.person()
    assert person.gets("GET", "/metadata") == 200
    secured.request("DELETE", f"{API}/users/{person.uid}")
    assert person.gets("GET", "/metadata") == 401


@pytest.mark.sandbox_only
def test_an_expired_token_is_refused_until_the_next_login(server: Callable[..., Sandbox]) -> None:
    cluster = of_sandbox(server("--secured", "--token-life", "2"))
    assert cluster.request("GET", "/metadata").status_code == 200
    until(lambda: cluster.request("GET", "/metadata").status_code == 401)
    assert cluster.request("GET", "/metadata", token=cluster.login(cluster.superuser)).status_code == 200
