"""The base id in its folder identifies an app, not the deployment group (hazards 51 and 52)."""

from __future__ import annotations

import pytest

from bgci.engine.ownership import Claim, Member, base_id, conflict, folder, ours, same_group


@pytest.mark.parametrize(
    ("app_id", "label", "expected"),
    [
        ("/web-blue", None, "/web"),
        ("/team/web-green", "", "/team/web"),
        ("/web", None, "/web"),
        ("/greenhouse-green", None, "/greenhouse"),
        ("/evergreen", None, "/evergreen"),
        ("/shop-v1", "/shop", "/shop"),
        ("/shop-v1", "shop", "/shop"),
        ("/tb/web-blue", "/ta/web", "/tb/web"),  # no release claims an app of another folder
        ("/web-blue", "/team/web", "/web"),
        ("/web-blue", "/", "/web"),
    ],
)
def test_base_id_is_the_label_in_the_apps_own_folder_or_the_id_without_its_colour(
    app_id: str, label: str | None, expected: str
) -> None:
    assert base_id(app_id, label) == expected


def test_folder_of_an_id_is_its_path_without_the_name() -> None:
    assert [folder(one) for one in ("/web", "/team/web", "/a/b/c")] == ["/", "/team", "/a/b"]


def member(app_id: str, group: str = "web", label: str | None = None) -> Member:
    return Member(app_id, base_id(app_id, label), group)


def test_h51_another_app_of_the_group_is_a_conflict_with_both_names_and_the_remedies() -> None:
    found = conflict([member("/testapp-green", "testapp")], Claim("/web", "testapp"))
    assert found is not None
    for part in ("/testapp-green", "app /testapp", "/web", "HAPROXY_DEPLOYMENT_GROUP=testapp"):
        assert part in found.message
    for part in ("different deployment group", "bgci doctor --app web --adopt", "--replaces /testapp"):
        assert part in found.remedy


def test_h51_an_app_of_the_same_name_in_another_folder_is_another_app() -> None:
    found = conflict([member("/ta/web-green"), member("/tb/web-blue")], Claim("/ta/web", "web"))
    assert found is not None
    assert "/tb/web-blue" in found.message
    assert "folder /tb" in found.message


def test_h51_a_spelling_of_the_group_with_a_slash_is_the_same_group() -> None:
    assert conflict([member("/other-blue", "/web")], Claim("/web", "web")) is not None


def test_h51_without_a_definition_the_group_of_our_own_apps_counts() -> None:
    members = [member("/web-blue"), member("/other-green")]
    assert conflict(members, Claim("/web", "")) is not None
    assert ours(members, Claim("/web", "")) == [members[0]]


def test_an_earlier_name_that_the_user_gave_is_the_same_app() -> None:
    claim = Claim("/web", "web", replaces="/testapp")
    assert conflict([member("/testapp-blue")], claim) is None
    assert ours([member("/testapp-blue")], claim)


def test_h52_a_colour_in_another_group_is_a_conflict_that_names_both_groups() -> None:
    found = conflict([member("/web-blue", "web")], Claim("/web", "web-shop"))
    assert found is not None
    assert "'web'" in found.message
    assert "'web-shop'" in found.message


def test_h52_an_app_of_our_name_without_a_group_needs_adoption() -> None:
    found = conflict([member("/web", "")], Claim("/web", "web"))
    assert found is not None
    assert "bgci doctor --app web --adopt" in found.remedy


def test_our_own_two_colours_in_one_group_are_not_a_conflict() -> None:
    assert conflict([member("/web-blue", "/web"), member("/web-green", "web")], Claim("/web", "web")) is None


def test_an_app_of_another_group_is_ignored() -> None:
    assert conflict([member("/other-blue", "other")], Claim("/web", "web")) is None


def test_apps_without_a_group_are_not_in_the_same_one() -> None:
    assert same_group("web", "/web")
    assert not same_group("", "")


def test_h52_without_a_definition_no_group_of_our_own_apps_is_another_one() -> None:
    """An emergency rollback would be refused."""
    assert conflict([member("/web-blue", "web")], Claim("/web", "")) is None


@pytest.mark.parametrize(("others", "verb", "have"), [(1, "is", "both have"), (2, "are", "all have")])
def test_h51_each_app_of_another_name_is_named(others: int, verb: str, have: str) -> None:
    found = conflict([member(f"/other-{n}") for n in range(others)], Claim("/web", "web"))
    assert found is not None
    assert f"{verb} in the deployment group of /web" in found.message
    assert f"): {have} the label" in found.message
    assert all(f"/other-{n} " in found.message for n in range(others))
