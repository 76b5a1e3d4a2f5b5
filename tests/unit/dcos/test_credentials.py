"""Credentials from variables and files: their precedence, and the errors for contradictory ones."""

from __future__ import annotations

import json
import os

import pytest

from bgci import redaction
from bgci.dcos.credentials import (
    CREDENTIAL_VARIABLES,
    Password,
    ServiceAccount,
    Token,
    hide_credential_files,
    hide_credentials,
    read_credentials,
    without_credentials,
)
from bgci.errors import UsageError

KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0\n-----END PRIVATE KEY-----\n"
ACCOUNT = {"uid": "ci", "private_key": KEY, "scheme": "RS256"}


def test_without_variables_there_are_no_credentials():
    assert read_credentials({}) is None
    assert read_credentials(dict.fromkeys(CREDENTIAL_VARIABLES, "")) is None


def test_a_token_is_read_from_each_of_its_variables():
    assert read_credentials({"BGCI_TOKEN": " tok3n\n"}) == Token("tok3n", "BGCI_TOKEN")
    assert read_credentials({"DCOS_ACS_TOKEN": "tok3n"}) == Token("tok3n", "DCOS_ACS_TOKEN")


def test_credentials_of_bgci_take_precedence_over_those_of_dcos():
    environ = {"BGCI_USERNAME": "me", "BGCI_PASSWORD": "p4ss:'word'", "DCOS_ACS_TOKEN": "t"}
    assert read_credentials(environ) == Password("me", "p4ss:'word'")


def test_the_last_newline_of_a_password_file_is_removed(tmp_path):
    for text, wanted in [
        ("pa ss\n", "pa ss"),
        ("pass\r\n", "pass"),
        ("pass\n\n", "pass\n"),
        ("pass\r", "pass\r"),
        ("\ufeffpä", "pä"),
    ]:
        (tmp_path / "pw").write_text(text, encoding="utf-8", newline="")
        environ = {"BGCI_USERNAME": "me", "BGCI_PASSWORD_FILE": str(tmp_path / "pw")}
        assert read_credentials(environ) == Password("me", wanted)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ACCOUNT),
        json.dumps({**ACCOUNT, "login_endpoint": "https://leader.mesos/acs/api/v1/auth/login"}),
        json.dumps({**ACCOUNT, "private_key": KEY.replace("\n", "\\n")}),
        json.dumps({**ACCOUNT, "private_key": KEY.replace("\n", "\r\n")}),
        json.dumps(ACCOUNT).replace("\\n", "\n"),
        json.dumps({"uid": "ci", "private_key": KEY.strip()}),
    ],
    ids=["plain", "login endpoint", "escaped twice", "carriage returns", "real line breaks", "no scheme"],
)
@pytest.mark.parametrize(
    "name", ["BGCI_SERVICE_ACCOUNT", "BGCI_SERVICE_ACCOUNT_FILE", "DCOS_SERVICE_ACCOUNT_CREDENTIAL"]
)
def test_a_service_account_is_read_in_each_form(tmp_path, name, text):
    (tmp_path / "sa.json").write_text(text)
    found = read_credentials({name: str(tmp_path / "sa.json") if name.endswith("_FILE") else text})
    assert found == ServiceAccount("ci", KEY, name)


def test_a_service_account_is_read_from_the_variable_of_dcos(tmp_path):
    (tmp_path / "sa.json").write_text(json.dumps(ACCOUNT))
    environ = {"DCOS_SERVICE_ACCOUNT_CREDENTIAL": f"file://{tmp_path}/sa.json"}
    assert read_credentials(environ) == ServiceAccount("ci", KEY, "DCOS_SERVICE_ACCOUNT_CREDENTIAL")


def test_another_bgci_gets_the_same_credentials():
    for one in (Token("tok3n"), Password("me", "p4ss"), ServiceAccount("ci", KEY)):
        assert read_credentials(one.environment()) == one


SECRET = "s3cret-of-mine"


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"BGCI_TOKEN": SECRET, "BGCI_SERVICE_ACCOUNT": SECRET}, "BGCI_TOKEN and BGCI_SERVICE_ACCOUNT"),
        ({"BGCI_TOKEN": SECRET, "BGCI_TOKEN_FILE": SECRET}, "BGCI_TOKEN and BGCI_TOKEN_FILE"),
        ({"BGCI_TOKEN": SECRET, "BGCI_USERNAME": "me", "BGCI_PASSWORD": SECRET}, "BGCI_TOKEN and BGCI_USERNAME"),
        (
            {"BGCI_TOKEN": SECRET, "BGCI_PASSWORD": SECRET},
            "BGCI_PASSWORD is set without BGCI_USERNAME, beside BGCI_TOKEN",
        ),
        (
            {"BGCI_USERNAME": "me", "BGCI_PASSWORD": SECRET, "BGCI_PASSWORD_FILE": SECRET},
            "BGCI_PASSWORD and BGCI_PASSWORD_FILE",
        ),
        ({"BGCI_USERNAME": "me"}, "BGCI_USERNAME is set without a password"),
        ({"BGCI_PASSWORD": SECRET}, "BGCI_PASSWORD is set without BGCI_USERNAME"),
        (
            {"DCOS_ACS_TOKEN": SECRET, "DCOS_SERVICE_ACCOUNT_CREDENTIAL": SECRET},
            "DCOS_ACS_TOKEN and DCOS_SERVICE_ACCOUNT_CREDENTIAL",
        ),
        ({"BGCI_TOKEN": " \n"}, "BGCI_TOKEN contains only blanks"),
        ({"BGCI_TOKEN_FILE": SECRET}, "The file that BGCI_TOKEN_FILE names cannot be read: No such file"),
        ({"BGCI_SERVICE_ACCOUNT": SECRET}, "BGCI_SERVICE_ACCOUNT is not a service account: it is not a JSON object"),
        ({"BGCI_SERVICE_ACCOUNT": json.dumps({"private_key": SECRET})}, "it has no uid"),
        ({"BGCI_SERVICE_ACCOUNT": json.dumps({"uid": "ci", "private_key": SECRET})}, "its private_key is not PEM text"),
        ({"BGCI_SERVICE_ACCOUNT": json.dumps({**ACCOUNT, "scheme": "HS256"})}, "its scheme is not RS256"),
    ],
)
def test_contradictory_credentials_are_refused_with_the_variables_and_no_value(environ, said):
    with pytest.raises(UsageError) as caught:
        read_credentials(environ)
    assert said in caught.value.message
    assert caught.value.remedy
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_empty_credential_file_is_refused(tmp_path):
    (tmp_path / "token").write_text("\n")
    with pytest.raises(UsageError, match="BGCI_TOKEN_FILE names is empty"):
        read_credentials({"BGCI_TOKEN_FILE": str(tmp_path / "token")})


def test_every_secret_is_hidden_and_in_no_repr():
    for one in (Token("hidden-token"), Password("me", "hidden-password"), ServiceAccount("ci", KEY)):
        read = read_credentials(one.environment())
        assert "hidden-" not in repr(read)
        assert "MIIE" not in repr(read)
    shown = redaction.redacted("hidden-token hidden-password MIIEvQIBADANBgkqhkiG9w0 me ci")
    assert shown == "*** *** *** me ci"


@pytest.mark.parametrize("name", [name for name in CREDENTIAL_VARIABLES if name.endswith("_FILE")])
def test_the_secret_in_a_file_is_hidden_before_it_is_needed_and_a_pipe_is_not_consumed(tmp_path, name):
    value = f"in-the-file-of-{name}"
    text = json.dumps({**ACCOUNT, "private_key": value}) if "ACCOUNT" in name else value
    (tmp_path / "file").write_text(f"{text}\n")
    os.mkfifo(tmp_path / "pipe")
    hide_credential_files({name: str(tmp_path / "pipe")})
    hide_credential_files({name: str(tmp_path / "nothing")})
    assert redaction.redacted(value) == value
    hide_credential_files({name: str(tmp_path / "file")})
    assert redaction.redacted(value) == "***"


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "all_proxy"])
def test_the_password_of_a_proxy_is_hidden_encoded_and_decoded(variable):
    hide_credentials({variable: f"http://joe:{variable}%21pw@proxy.example.com:3128"})
    assert redaction.redacted(f"{variable}%21pw {variable}!pw joe proxy.example.com") == "*** *** joe proxy.example.com"


def test_a_test_program_gets_no_credential():
    environ = dict.fromkeys(CREDENTIAL_VARIABLES, "x") | {"PATH": "/bin", "BGCI_APP": "web"}
    assert without_credentials(environ) == {"PATH": "/bin", "BGCI_APP": "web"}
