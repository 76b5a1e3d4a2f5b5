"""Names of apps, revisions, jobs and files."""

from __future__ import annotations

import pytest

from bgci.appdef.names import app_slug, artifact_names, check_revision, job_ids, parse_app, slug, template_candidates
from bgci.errors import InvalidError


@pytest.mark.parametrize(
    ("text", "app_id"),
    [
        ("web", "/web"),
        ("/web", "/web"),
        ("team/web", "/team/web"),
        ("/team/web", "/team/web"),
        ("team.web", "/team/web"),
        ("/team/web.v2", "/team/web.v2"),
        ("a--b", "/a--b"),
    ],
)
def test_every_spelling_of_an_app_gives_the_same_id(text: str, app_id: str) -> None:
    assert parse_app(text) == app_id
    assert parse_app(app_id) == app_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "Web",
        "we_b",
        "-web",
        "web-",
        "/team//web",
        "/web/",
        "..",
        "/team/..",
        "web\n",
        "/team/tasks",
        "wéb",
        "a b",
    ],
)
def test_an_illegal_app_id_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_app(text)
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["1", "v1.2.3", "1.0_rc-1", "A", "a" * 63, "9f2c1d"])
def test_a_legal_revision_is_unchanged(text: str) -> None:
    assert check_revision(text) == text


@pytest.mark.parametrize("text", ["", ".1", "1.", "-1", "1-", "a/b", "a b", "a" * 64, "1\n", "../x"])
def test_an_illegal_revision_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        check_revision(text)


@pytest.mark.parametrize(
    ("text", "revision"),
    [
        ("1.4.2", "1.4.2"),
        ("v1.4.2-3-gabc1234", "v1.4.2-3-gabc1234"),  # git describe
        ("refs/tags/v1.4.2", "v1.4.2"),
        ("1.4.2+build.5", "1.4.2-build.5-4656b3"),
        ("feature/Log in", "feature-Log-in-7172ef"),
        ("refs/heads/feature/Log in", "feature-Log-in-7172ef"),
        ("v1.4.2-dirty-", "v1.4.2-dirty-bb93cf"),
        ("日本", "r-cf2abf"),
    ],
)
def test_slug_maps_any_text_to_a_legal_revision(text: str, revision: str) -> None:
    assert slug(text) == revision
    assert check_revision(slug(text)) == slug(slug(text)) == revision


def test_slug_never_maps_two_texts_to_one_revision() -> None:
    texts = ["a/b", "a b", "a-b", "a//b", "a+b", "x" * 64, "x" * 65, "x" * 63 + "/"]
    assert len({slug(text) for text in texts}) == len(texts)


def test_a_refused_revision_comes_with_the_form_to_paste() -> None:
    with pytest.raises(InvalidError) as caught:
        check_revision("1.4.2+build.5")
    assert "--revision 1.4.2-build.5-4656b3" in caught.value.remedy


def test_jobs_are_named_as_bg_deploy_named_them() -> None:
    assert job_ids("/testapp", "5") == {
        "canary": "testapp-5-deploy-single-canary",
        "promote": "testapp-5-deploy-canary-completely",
        "rollback": "testapp-5-rollback-single-canary",
    }


def test_a_job_id_has_no_character_that_metronome_refuses() -> None:
    assert job_ids("/team/web", "V1._2--RC")["canary"] == "team.web-v1-2-rc-deploy-single-canary"


def test_h30_an_app_in_a_folder_has_flat_file_names() -> None:
    assert app_slug("/team/web") == "team.web"
    assert artifact_names("/team/web", "V1.2") == {
        "definition": "team.web-V1.2-new-app-definition.json",
        "canary": "team.web-V1.2-deploy-single-canary.json",
        "promote": "team.web-V1.2-deploy-canary-completely.json",
        "rollback": "team.web-V1.2-rollback-single-canary.json",
    }


def test_a_template_for_the_revision_takes_precedence_over_the_apps_template() -> None:
    assert template_candidates("/web", "7") == [
        "web.7.template.json",
        "web.7.template.yaml",
        "web.template.json",
        "web.template.yaml",
    ]


def test_the_bare_name_is_the_second_choice_for_an_app_in_a_folder() -> None:
    candidates = template_candidates("/team/web", "7")
    assert candidates[0] == "team.web.7.template.json"
    assert candidates[4] == "web.7.template.json"
    assert len(candidates) == 8
